// Fills the page and its charts from the server's stream of states.  Text is only ever set as text.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const number = (value, digits = 4) =>
    typeof value !== "number" ? String(value ?? "–") :
    Number.isInteger(value) ? value.toLocaleString("en") :
    value.toLocaleString("en", { maximumSignificantDigits: digits });

  function cell(kind, text, name) {
    const made = document.createElement(kind);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  function fill(body, rows) {
    body.replaceChildren(...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(...cells);
      return row;
    }));
  }

  function table(body, section, rows, make) {
    if (!rows) return;
    at(section).hidden = rows.length === 0;
    fill(at(body), rows.map(make));
  }

  function counts(state) {
    const shown = { ...state.counts };
    if (typeof state.rate === "number") shown["a second"] = state.rate;
    for (const [kind, count] of Object.entries(state.errors ?? {})) shown[kind] = count;
    at("counts").replaceChildren(...Object.entries(shown).map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(cell("dt", name), cell("dd", number(value)));
      return pair;
    }));
  }

  // Bokeh draws null as a zero in some glyphs, NaN as a gap in all.
  const column = (values) => values.map((value) => value ?? NaN);

  let sources = new Map();
  function draw(state) {
    for (const [part, source] of sources) {
      const columns = state[part];
      if (!columns) continue;
      const data = {};
      for (const name of Object.keys(source.data)) data[name] = column(columns[name] ?? []);
      source.data = data;
    }
  }

  const SHARES = (x) => `${number((1 - 1 / x) * 100, 7)} %`;
  const TIMES = (x) => new Date(x).toISOString().slice(0, 19).replace("T", " ");
  const X = { log: SHARES, datetime: TIMES, linear: number };
  const TABLES = [...document.querySelectorAll("details[data-part]")];

  // The table behind a chart has the same columns, the newest first, and is filled while it is open.
  function figures(details) {
    const { part, x, axis, columns } = details.dataset;
    const shown = last?.[part];
    if (!shown || !details.open) return;
    const order = shown[x].map((_, i) => i);
    if (axis !== "log") order.reverse();
    fill(details.querySelector("tbody"), order.map((i) =>
      [cell("td", X[axis](shown[x][i])), ...columns.split(" ").map((name) => cell("td", number(shown[name][i])))]));
  }

  let updates = 0;
  let last;
  function show(state) {
    document.documentElement.dataset.updates = String(++updates);
    document.documentElement.dataset.version = String(state.version);
    const progress = state.progress;
    at("progress").hidden = !progress;
    if (progress) {
      at("progress").value = progress.share;
      at("doing").textContent =
        `${progress.phase}, ${progress.number} of ${progress.phases}` +
        (state.stretch ? `: ${state.stretch} (${state.asked}${state.warming ? ", warming up" : ""})` : "") +
        (state.ended ? "" : `; ${Math.round(progress.remaining_s)} s left`);
    } else if (state.doing) {
      at("doing").textContent = state.doing;
    }
    at("status").textContent = state.ended ? state.ended : (state.status ?? "Running.");
    if (state.verdict) at("status").className = `verdict ${state.verdict.replaceAll(" ", "-")}`;
    if (state.counts) counts(state);
    table("table", "now", state.table, ([name, ...rest]) =>
      [cell("th", name), ...rest.map((value) => cell("td", number(value), "number"))]);
    table("alerts", "alerting", state.alerts, (alert) =>
      [cell("td", alert.state, alert.state), cell("td", alert.name), cell("td", alert.since), cell("td", alert.text, "said")]);
    table("metrics", "judged", state.metrics, (metric) =>
      [cell("td", metric.phase), cell("td", metric.name), cell("td", metric.value, "number"),
       cell("td", metric.target, "number"), cell("td", metric.verdict, `verdict ${metric.verdict.replaceAll(" ", "-")}`)]);
    draw(state);
    last = state;
    TABLES.forEach(figures);
  }

  const LONGEST_PAUSE_MS = 30000;
  let pause = 1000;

  // A run that has ended is over; a monitor may come back at its place, and so may whoever cannot be reached.
  function follow() {
    const stream = new EventSource("stream");
    stream.onmessage = (event) => {
      pause = 1000;
      show(JSON.parse(event.data));
    };
    stream.onerror = () => {
      stream.close();
      const over = last?.ended;
      if (over && document.documentElement.dataset.kind === "run") return;
      if (!over) {
        at("status").textContent = "The connection is lost; what is below is the last that was seen. Trying again.";
      }
      setTimeout(follow, pause);
      pause = Math.min(LONGEST_PAUSE_MS, pause * 2);
    };
  }

  async function begin() {
    const { items, colours } = await (await fetch("charts.json")).json();
    const paint = painter(colours);
    for (const item of items) {
      await Bokeh.embed.embed_item(item);
    }
    for (const doc of Bokeh.documents) {
      for (const item of items) {
        const part = item.target_id.slice("chart-".length);
        const source = doc.get_model_by_name(part);
        if (!source) continue;
        sources.set(part, source);
        const [plot] = doc.roots();
        const reset = () => [plot.x_range, plot.y_range].forEach((range) => range.reset());
        document.querySelector(`[data-reset="${part}"]`).addEventListener("click", reset);
      }
      paint(doc);
    }
    paint.changed(() => Bokeh.documents.forEach(paint));
    TABLES.forEach((details) => details.addEventListener("toggle", () => figures(details)));
    follow();
  }
  begin().catch((error) => { at("status").textContent = `The charts cannot be drawn: ${error}`; });
})();
