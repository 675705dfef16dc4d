// What happens when a limit is passed: warnings, clean-up, interruption; once a second, and as things come.

/** @type {Record<string, number>} The limits in force, by the rules' names. */
const thresholds = {};
for (const [name, row] of Object.entries(RULES.thresholds)) thresholds[name] = row.value;

/** Limits that the page has set: these are not adapted.  @type {Set<string>} */
const fixed = new Set();

/** What the page may choose (perfsuite.configure). */
const settings = {
  /** @type {Function | null} ({ids, count}): drop these audio chunks. */ onCleanup: null,
  /** @type {Function | null} ({reason, socket}): stop the response. */ onInterrupt: null,
  /** @type {Function | null} ({reason, url, protocols, attempt, conversation, socket}): connect again. */ onReconnect: null,
  /** @type {Function | null} ({safeguard, message, state}) */ onWarning: null,
  /** @type {Function | null} (kind, data): is this received message an audio chunk? */ isAudio: null,
  /** @type {Function | null} (kind, data, direction): does this message ask for a response? */ asks: null,
  /** Limits follow the network and the memory that are seen. */ adapt: true,
  /** A plain WebSocket that drops is opened again, with the page's handlers. */ autoReconnect: false,
  /** @type {number | null} Reconnect a conversation that has lasted this long, once it is quiet. */ reconnectAfterMs: null,
  /** Whether the buttons are shown. */ panel: true,
};

/** Calls what the page has registered; what it throws is reported as the page's own error.
 * @param {Function | null} callback @param {object} argument */
function tell(callback, argument) {
  if (!callback) return undefined;
  try {
    return callback(argument);
  } catch (error) {
    reportError(error);
    return undefined;
  }
}

/** @param {string} safeguard @param {string} message @param {object} [more] */
function warn(safeguard, message, more = {}) {
  const seen = { ...state(), ...more };
  session.totals.warnings += 1;
  session.event("warning", { safeguard, message, state: seen });
  console.warn(`[perfsuite] ${message}`, seen);
  tell(settings.onWarning, { safeguard, message, state: seen });
}

/** Ends a socket's response, or says that there is something to interrupt: the page's way, or the protocol's where the
 * socket speaks one that has a word for it.  A plain socket is sent nothing that its server may not understand,
 * and none is asked to cancel what is over.
 * @param {Watched | null} watched @param {string} reason */
function interrupt(watched, reason) {
  session.totals.interruptions += 1;
  session.event("interruption", { reason, ...(watched ? { socket: watched.id } : {}) });
  const under = Boolean(watched && watched.response);
  if (watched) endResponse(watched, reason);
  if (reason === "page" || reason === "dropped") return;
  const socket = watched && watched.socket.deref();
  if (settings.onInterrupt) {
    tell(settings.onInterrupt, { reason, socket });
  } else if (socket && under && watched.structured && socket.readyState === 1) {
    socket.send('{"type":"response.cancel"}');
  }
}

let lastCleanup = -Infinity;
const AGAIN_MS = 30000;

/** Gives up the chunks that wait; when they pile up again within half a minute, interrupts what sends them. */
function cleanUp() {
  const ids = [...waiting.keys()];
  const message = `Audio chunk cleanup: ${ids.length} chunks waited, the limit is ${thresholds.audioChunks}`;
  warn("audioChunkCleanup", message);
  session.event("cleanup", { count: ids.length });
  dropChunks();
  tell(settings.onCleanup, { ids, count: ids.length });
  const again = now() - lastCleanup < AGAIN_MS;
  lastCleanup = now();
  if (again) {
    const newest = newestSocket && newestSocket.deref();
    interrupt((newest && watchedOf.get(newest)) || null, "automatic");
    lastCleanup = -Infinity;
  }
}

/** A message that the page is still processing, or has taken too long over.  @param {Message} message @param {number} took */
function eventTooSlow(message, took) {
  catchUp();
  message.flagged = true;
  const { kind, bytes, socket } = entryOf(message);
  session.totals.slowEvents += 1;
  warn("eventProcessingTimeout", `Event processing timeout: a ${kind} message took ${FORMS.s(took)} so far`, {
    kind, bytes, socket, sinceMs: whole(took),
    waiting: [...processing].slice(0, 10).map((other) => ({ kind: entryOf(other).kind, sinceMs: whole(now() - other.began) })),
  });
}

/** When each repeated warning may come next.  @type {Record<string, number>} */
const silentUntil = {};

/** @param {string} name @param {number} pauseMs */
function mayWarn(name, pauseMs) {
  if (now() < (silentUntil[name] ?? -Infinity)) return false;
  silentUntil[name] = now() + pauseMs;
  return true;
}

/** What looks at many samples, and at what changes slowly, does so every so many seconds. */
const SELDOM = 5;
let checks = 0;

/** @param {any} seen the sample of this second */
function check(seen) {
  for (const socket of open) {
    const watched = watchedOf.get(socket);
    const response = watched && watched.response;
    if (response && now() - response.last > thresholds.responseMs) {
      session.totals.responseTimeouts += 1;
      warn("responseTimeout", `Response timeout: the server was silent for ${FORMS.s(now() - response.last)}`, {
        socket: watched.id, firstSeen: response.entry.timeToFirstResponseMs !== null,
      });
      interrupt(watched, "timeout");
    }
  }
  for (const message of processing) {
    const took = now() - message.began;
    if (!message.flagged && took > thresholds.eventProcessingMs) eventTooSlow(message, took);
  }
  const used = seen.usedJSHeapSize;
  if (used !== null && used > thresholds.heapBytes && mayWarn("memoryUsage", 30000)) {
    warn("memoryUsage", `Memory usage: ${FORMS.mb(used)} of heap in use, the limit is ${FORMS.mb(thresholds.heapBytes)}`);
  }
  const mean = recently.reduce((sum, value) => sum + value, 0) / RULES.recent;
  if (recently.length === RULES.recent && mean > thresholds.latencyMs && mayWarn("latency", 10000)) {
    warn("latency", `Message latency: the last ${RULES.recent} messages took ${FORMS.ms(mean)} on average`);
  }
  checks += 1;
  if (checks % SELDOM) return;
  foresee();
  if (settings.adapt) adapt(seen);
}

const FORESEEN = [
  { figure: "audioGrowth", limit: "audioChunks" },
  { figure: "processingGrowthMs", limit: "latencyMs" },
  { figure: "wsBufferedGrowth", limit: "wsBufferedBytes" },
  { figure: "heapGrowth", limit: "heapBytes" },
];
const AHEAD_MS = 60000;

/** Early warnings: what has risen steadily in its last thirty samples and would pass its limit within the next minute. */
function foresee() {
  const samples = session.samples.last(10 * RULES.growth.samples);
  for (const { figure, limit } of FORESEEN) {
    const rule = /** @type {any} */ (RULES.growth.figures)[figure];
    const lately = samples.filter((one) => one[rule.field] !== null).slice(-RULES.growth.samples);
    const rise = growth(lately, { ...rule, ratio: 1 }); // what matters is where it leads
    if (!rise) continue;
    const level = lately[lately.length - 1][rule.field];
    const took = ((lately[lately.length - 1].t - lately[0].t) * 2) / 3;
    if (level < thresholds[limit] * 0.3 || level > thresholds[limit] || took <= 0) continue;
    if (level + (rise / took) * AHEAD_MS > thresholds[limit] && mayWarn(figure, AHEAD_MS)) {
      const form = RULES.thresholds[limit].form;
      const message = `Early warning: ${rule.field} rises steadily and would pass ${FORMS[form](thresholds[limit])} within a minute`;
      warn("earlyWarning", message, { field: rule.field, level });
    }
  }
}

/** Time to the first response, smoothed as TCP smooths round trips. */
const pace = { count: 0, mean: 0, deviation: 0 };

/** @param {number} firstMs */
function notePace(firstMs) {
  if (!pace.count) {
    pace.mean = firstMs;
    pace.deviation = firstMs / 2;
  } else {
    pace.deviation += (Math.abs(firstMs - pace.mean) - pace.deviation) / 4;
    pace.mean += (firstMs - pace.mean) / 8;
  }
  pace.count += 1;
}

/** @param {any} seen */
function adapt(seen) {
  const base = (/** @type {string} */ name) => RULES.thresholds[name].value;
  const connection = /** @type {any} */ (navigator).connection;
  // A slow network gets more time, up to three times the limit; never less than the limit.
  const expected = pace.count < 3 ? 0 : pace.mean + 4 * pace.deviation;
  const network = connection && connection.rtt > 500 ? 4 * connection.rtt : 0;
  set("responseMs", Math.min(3 * base("responseMs"), Math.max(base("responseMs") + network, expected)));
  // Where memory is short, fewer chunks may wait, and the warning comes before the browser gives up.
  const most = heap("jsHeapSizeLimit");
  if (most !== null && seen.usedJSHeapSize !== null) {
    const free = 1 - seen.usedJSHeapSize / most;
    set("audioChunks", Math.round(base("audioChunks") * (free < 0.1 ? 0.25 : free < 0.25 ? 0.5 : 1)));
    set("heapBytes", Math.min(base("heapBytes"), Math.round(most * 0.8)));
  }
}

/** Puts an adapted limit in force; small changes are not worth an entry in the logs.
 * @param {string} name @param {number} value */
function set(name, value) {
  if (fixed.has(name) || Math.abs(value - thresholds[name]) < 0.1 * thresholds[name]) return;
  session.event("adapted", { message: name, from: thresholds[name], to: value });
  thresholds[name] = value;
}
