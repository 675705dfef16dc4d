// window.perfsuite, and what goes on once a second.

/** @param {Record<string, any>} options */
function configure(options) {
  catchUp();
  const { thresholds: limits = {}, ...rest } = options;
  for (const [name, value] of Object.entries(limits)) {
    if (!(name in RULES.thresholds)) throw new TypeError(`perfsuite.configure: no threshold ${name}; there are ${Object.keys(RULES.thresholds).join(", ")}`);
    if (!(typeof value === "number" && value >= 0)) throw new TypeError(`perfsuite.configure: threshold ${name} is a number of 0 or more`);
  }
  for (const name of Object.keys(rest)) {
    if (!(name in settings)) throw new TypeError(`perfsuite.configure: no option ${name}; there are thresholds, ${Object.keys(settings).join(", ")}`);
    if (/^on[A-Z]|^isAudio$|^asks$/.test(name) && rest[name] !== null && typeof rest[name] !== "function") {
      throw new TypeError(`perfsuite.configure: ${name} is a function`);
    }
  }
  for (const [name, value] of Object.entries(limits)) {
    thresholds[name] = value;
    fixed.add(name);
  }
  Object.assign(settings, rest);
  if (settings.panel) showPanel();
  else hidePanel();
}

let ticks = 0;

function tick() {
  catchUp();
  const began = now();
  const seen = sample();
  check(seen);
  reconnectIfLong();
  ticks += 1;
  if (ticks % 2 === 0) draw(); // drawing is most of what the monitor costs a page that is idle
  spent(began);
}

hookSockets();
hookAudio();
hookErrors();
setInterval(tick, 1000);

Object.defineProperty(window, "perfsuite", {
  configurable: true,
  value: Object.freeze({
    version: 1,
    logs,
    analyze,
    clear,
    configure,
    audioChunkReceived,
    audioChunkProcessed,
    /** The report of logs that were downloaded before. */
    report: reportOf,
    /** The page has interrupted a response itself. */
    interrupted() {
      catchUp();
      const newest = newestSocket && newestSocket.deref();
      interrupt((newest && watchedOf.get(newest)) || null, "page");
    },
  }),
});

// The panel is the top page's; frames have the rest, and their own logs.
if (window.top !== window) settings.panel = false;
if (document.currentScript && document.currentScript.dataset.panel === "none") settings.panel = false;
if (document.body) showPanel();
else listen.call(document, "DOMContentLoaded", showPanel, { once: true });
