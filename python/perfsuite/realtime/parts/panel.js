// The three buttons, the report and the live graphs, in a shadow root of their own: no markup is parsed and no inline style is
// set, so neither a strict Content Security Policy nor Trusted Types stand in the way.

const STYLE = `
:host { all: initial; contain: layout style; position: fixed; right: 8px; bottom: 8px; z-index: 2147483647; color-scheme: light dark;
  font: 12px/1.4 system-ui, sans-serif; max-width: min(46ch, calc(100vw - 16px)); }
section { background: #ffffff; color: #1b1b1b; border: 1px solid #767676; border-radius: 6px; padding: 6px; }
.buttons { display: flex; flex-wrap: wrap; gap: 4px; }
button { font: inherit; color: inherit; background: #ececec; border: 1px solid #767676; border-radius: 4px; padding: 2px 8px; cursor: pointer; }
button:focus-visible, pre:focus-visible { outline: 2px solid #0b57d0; outline-offset: 1px; }
.graphs { display: grid; grid-template-columns: 1fr 1fr; gap: 2px 8px; margin: 4px 0 0; }
svg { width: 100%; height: 24px; display: block; }
polyline { fill: none; stroke: #0b57d0; stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.over polyline { stroke: #b3261e; }
.over p { color: #b3261e; font-weight: 600; }
p { margin: 0; }
pre { margin: 6px 0 0; max-height: 40vh; overflow: auto; white-space: pre-wrap; font: 11px/1.4 ui-monospace, monospace; }
pre:empty { display: none; }
@media (prefers-color-scheme: dark) {
  section { background: #1b1b1b; color: #f1f1f1; border-color: #8c8c8c; }
  button { background: #333333; border-color: #8c8c8c; }
  polyline { stroke: #8ab4f8; }
  .over polyline { stroke: #f2b8b5; } .over p { color: #f2b8b5; }
}`;

const GRAPHS = [
  { title: "Message latency", field: "processingMs", form: "ms", limit: "latencyMs" },
  { title: "Audio chunks", field: "audioChunksCount", form: "count", limit: "audioChunks" },
  { title: "WebSocket buffer", field: "wsBufferedAmount", form: "bytes", limit: "wsBufferedBytes" },
  { title: "Heap", field: "usedJSHeapSize", form: "mb", limit: "heapBytes" },
];
const SHOWN = 60;
const SVG = "http://www.w3.org/2000/svg";

/** @type {{host: HTMLElement, report: HTMLElement, graphs: {figure: HTMLElement, svg: Element, line: Element, text: HTMLElement}[]} | null} */
let panel = null;

/** @param {string} name @param {Record<string, string>} [attributes] @param {(Node | string)[]} [children] */
function element(name, attributes = {}, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function download() {
  const text = JSON.stringify(logs());
  const stamp = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "_");
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = /** @type {HTMLAnchorElement} */ (element("a", { href: url, download: `perfsuite-logs-${stamp}.json` }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

/** The report, which is shown too.  @returns {string} */
function analyze() {
  const taken = logs();
  const began = now();
  const text = reportOf(taken);
  if (panel) panel.report.textContent = text;
  spent(began);
  return text;
}

function clear() {
  catchUp();
  session = new Session();
  waiting.clear();
  processing.clear();
  recently = [];
  lastProcessed = -Infinity;
  lastCleanup = -Infinity;
  for (const name of Object.keys(silentUntil)) delete silentUntil[name];
  for (const socket of open) {
    const watched = watchedOf.get(socket);
    if (watched) {
      watched.response = null;
      watched.last = { received: null, sent: null };
    }
  }
  if (panel) panel.report.textContent = "";
}

function showPanel() {
  if (panel || !settings.panel || !document.body) return;
  const began = now();
  const host = document.createElement("perfsuite-monitor");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
  const button = (/** @type {string} */ text, /** @type {() => void} */ action) => {
    const made = element("button", { type: "button" }, [text]);
    listen.call(made, "click", action);
    return made;
  };
  const graphs = GRAPHS.map(({ title }) => {
    const line = document.createElementNS(SVG, "polyline");
    const svg = document.createElementNS(SVG, "svg");
    for (const [key, value] of [["viewBox", `0 0 ${SHOWN - 1} 24`], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) {
      svg.setAttribute(key, value);
    }
    svg.append(line);
    const text = element("p", {}, [title]);
    return { figure: element("div", {}, [text, svg]), svg, line, text };
  });
  const report = element("pre", { "data-perfsuite": "report", tabindex: "0", role: "region", "aria-label": "Performance report", "aria-live": "polite" });
  root.append(
    element("section", { "aria-label": "Performance monitor" }, [
      element("div", { class: "buttons" }, [
        button("Download Logs", download),
        button("Analyze Performance", analyze),
        button("Clear Logs", clear),
      ]),
      element("div", { class: "graphs", "data-perfsuite": "graphs" }, graphs.map((graph) => graph.figure)),
      report,
    ]),
  );
  document.body.append(host);
  panel = { host, report, graphs };
  draw();
  spent(began);
}

function hidePanel() {
  if (panel) panel.host.remove();
  panel = null;
}

/** The last minute of each graph; red over its limit. */
function draw() {
  if (!panel || document.visibilityState === "hidden") return;
  if (!panel.host.isConnected && document.body) document.body.append(panel.host); // a page that has replaced its body
  const samples = session.samples.last(SHOWN);
  GRAPHS.forEach(({ title, field, form, limit }, index) => {
    const { figure, line, text } = /** @type {NonNullable<typeof panel>} */ (panel).graphs[index];
    /** @type {(number | null)[]} */
    const values = samples.map((one) => one[field]);
    const top = Math.max(1e-9, ...values.map((value) => value ?? 0));
    const points = values.map((value, x) => (value === null ? "" : `${SHOWN - values.length + x},${whole(23 - (22 * value) / top)}`));
    line.setAttribute("points", points.filter(Boolean).join(" "));
    const known = values.filter((value) => value !== null);
    const last = known.length ? known[known.length - 1] : null;
    text.textContent = `${title}: ${written(form, last)}`;
    figure.className = last !== null && last > thresholds[limit] ? "over" : "";
  });
}
