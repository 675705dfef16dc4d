// perfsuite's browser monitor.  Made of parts/*.js and rules.json by parts/assemble.py: change those.
// It defines window.perfsuite: logs, analyze, clear, configure, audioChunkReceived, audioChunkProcessed, interrupted.
(() => {
"use strict";
if (/** @type {any} */ (window).perfsuite) return; // loaded before
/** @type {Rules} */
const RULES = {"version":1,"thresholds":{"audioChunks":{"value":100,"form":"count"},"responseMs":{"value":10000,"form":"s"},"eventProcessingMs":{"value":5000,"form":"s"},"heapBytes":{"value":524288000,"form":"mb"},"latencyMs":{"value":500,"form":"ms"},"averageProcessingMs":{"value":100,"form":"ms"},"firstResponseMs":{"value":3000,"form":"s"},"wsBufferedBytes":{"value":1048576,"form":"mb"},"eventQueue":{"value":50,"form":"count"},"audioGapMs":{"value":2000,"form":"s"},"longTaskShare":{"value":0.1,"form":"percent"},"costShare":{"value":0.01,"form":"percent"},"audioGrowth":{"value":10,"form":"count"},"processingGrowthMs":{"value":20,"form":"ms"},"wsBufferedGrowth":{"value":65536,"form":"mb"},"heapGrowth":{"value":20971520,"form":"mb"}},"recent":10,"sharesFromMs":10000,"growth":{"samples":30,"figures":{"audioGrowth":{"field":"audioChunksCount","of":"median","ratio":1.5},"processingGrowthMs":{"field":"processingMs","of":"median","ratio":1.5},"wsBufferedGrowth":{"field":"wsBufferedAmount","of":"median","ratio":1.5},"heapGrowth":{"field":"usedJSHeapSize","of":"min","ratio":1.2}}},"metrics":[{"label":"Average Processing Time","figure":"averageProcessingMs","form":"ms"},{"label":"Maximum Processing Time","figure":"maximumProcessingMs","form":"ms"},{"label":"Audio Latency Trend","figure":"audioLatencies","form":"trend"},{"label":"Message Latency Trend","figure":"messageLatencies","form":"trend"},{"label":"Audio Chunks Accumulation","figure":"audioChunksCount","form":"count"},{"label":"WebSocket Buffered Amount","figure":"wsBufferedAmount","form":"bytes"},{"label":"Event Queue Size","figure":"eventQueueSize","form":"count"},{"label":"Time to First Response","figure":"timeToFirstResponseMs","form":"ms"},{"label":"Interruption Count","figure":"interruptions","form":"count"},{"label":"Total Errors","figure":"errors","form":"count"}],"issues":[{"id":"audio-accumulation","figure":"audioChunksPeak","form":"count","over":"audioChunks","text":"Audio chunks accumulate: {value} waited at once (limit {limit}).","recommendation":"Release audio chunks once they are played or decoded, and register onCleanup to drop those that come too late."},{"id":"audio-growth","figure":"audioGrowth","form":"count","over":"audioGrowth","text":"Growing audio chunks: audioChunksCount rises steadily, by {value} over the session.","recommendation":"Audio arrives faster than it is processed: find what delays decoding or playing, or ask the server for less at a time."},{"id":"audio-gaps","figure":"audioGapMs","form":"s","over":"audioGapMs","text":"Gaps in audio processing: chunks waited {value} while none was processed (limit {limit}).","recommendation":"Keep decoding and scheduling of audio off the main thread (AudioWorklet), and schedule chunks ahead."},{"id":"slow-processing","figure":"averageProcessingMs","form":"ms","over":"averageProcessingMs","text":"Slow processing: a message takes {value} on average (limit {limit}).","recommendation":"Do less in each message handler: batch updates of the page, and move work to a worker."},{"id":"latency-growth","figure":"processingGrowthMs","form":"ms","over":"processingGrowthMs","text":"Increasing message latencies: processing takes {value} longer at the end of the session than at its beginning.","recommendation":"Look for work that grows with the conversation, and reconnect after extended conversations (reconnectAfterMs, onReconnect)."},{"id":"event-timeout","figure":"slowEvents","form":"count","over":0,"text":"Event processing timeout: {value} of the messages took longer than {eventProcessingMs} to process.","recommendation":"See the warnings' detailed state for the message that was being processed, and give what it waits for a deadline."},{"id":"event-queue","figure":"eventQueuePeak","form":"count","over":"eventQueue","text":"Slow consumer: {value} messages waited unprocessed at once (limit {limit}).","recommendation":"Process messages as fast as they come: coalesce those that supersede one another, and apply backpressure to the server."},{"id":"websocket-buffer","figure":"wsBufferedPeak","form":"mb","over":"wsBufferedBytes","text":"WebSocket buffer: {value} were unsent at once (limit {limit}).","recommendation":"Monitor backpressure: hold messages back while bufferedAmount is high."},{"id":"websocket-buffer-growth","figure":"wsBufferedGrowth","form":"mb","over":"wsBufferedGrowth","text":"WebSocket buffer growth: wsBufferedAmount rises steadily, by {value} over the session.","recommendation":"Implement flow control: send no faster than the connection takes it, and lower the bit rate of what is sent."},{"id":"response-timeout","figure":"responseTimeouts","form":"count","over":0,"text":"Silent server: {value} of the responses stayed silent for more than {responseMs} and were marked as interrupted.","recommendation":"Check the server's load and the network; let the page cancel and ask again (onInterrupt)."},{"id":"slow-response","figure":"timeToFirstResponseMs","form":"s","over":"firstResponseMs","text":"Slow first response: {value} on average (limit {limit}).","recommendation":"Shorten what is sent as context, and check the server's time to its first token."},{"id":"dropped-socket","figure":"uncleanCloses","form":"count","over":0,"text":"Dropped connection: {value} of the WebSockets closed without a farewell.","recommendation":"Reconnect and restore the conversation's context (onReconnect); check proxies for idle time-outs."},{"id":"errors","figure":"errors","form":"count","over":0,"text":"Errors: {value} in the session.","recommendation":"See the errors among the logs' events, the first one first."},{"id":"heap","figure":"heapPeak","form":"mb","over":"heapBytes","text":"Memory usage: the heap reached {value} (limit {limit}).","recommendation":"Take a heap snapshot, and drop old audio and messages of the conversation."},{"id":"heap-growth","figure":"heapGrowth","form":"mb","over":"heapGrowth","text":"Memory leak: usedJSHeapSize rises steadily, by {value} over the session.","recommendation":"Check for retained references (listeners, buffers, messages kept whole) and implement cleanup."},{"id":"long-tasks","figure":"longTaskShare","form":"percent","over":"longTaskShare","text":"Blocked page: tasks of more than 50 ms take {value} of the time (limit {limit}).","recommendation":"Split long tasks, or move them to a worker."},{"id":"monitor-cost","figure":"costShare","form":"percent","over":"costShare","text":"The monitor itself takes {value} of the page's time (limit {limit}).","recommendation":"Read the figures with care: message rates this high are beyond what the monitor is made for."}]};

// What is said of logs: figures, issues, the report.  Pure; README.md beside monitor.js is the contract, and Python's
// analysis gives the same text for the same logs.

/** @typedef {{count: number, sum: number, max: number}} Spread */
/** rules.json.
 * @typedef {{version: number, recent: number, sharesFromMs: number, thresholds: Record<string, {value: number, form: string}>,
 *   growth: {samples: number, figures: Record<string, {field: string, of: string, ratio: number}>},
 *   metrics: {label: string, figure: string, form: string}[],
 *   issues: {id: string, figure: string, form: string, over: string | number, text: string, recommendation: string}[]}} Rules */

/** One decimal: 12.34 → "12.3".  @param {number} value */
function tenths(value) {
  const whole = Math.floor(value * 10 + 0.5);
  return `${Math.floor(whole / 10)}.${whole % 10}`;
}

/** How a figure is written.  @type {Record<string, (value: any) => string>} */
const FORMS = {
  ms: (value) => `${tenths(value)}ms`,
  s: (value) => `${tenths(value / 1000)} s`,
  count: (value) => String(Math.floor(value + 0.5)),
  bytes: (value) => String(Math.floor(value + 0.5)),
  mb: (value) => `${tenths(value / 1048576)} MB`,
  percent: (value) => `${tenths(value * 100)} %`,
  trend: (values) => `${values.map(tenths).join(", ")}ms`,
};

/** @param {string} form @param {any} value */
function written(form, value) {
  return value === null || (form === "trend" && !value.length) ? "not measured" : FORMS[form](value);
}

/** @param {number[]} values @param {string} of */
function centre(values, of) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  if (of === "min") return sorted[0];
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** By how much a field of the samples rises steadily; 0 when it does not, null when there are too few.
 * @param {any[]} samples @param {{field: string, of: string, ratio: number}} rule */
function growth(samples, rule) {
  const values = samples.map((sample) => sample[rule.field]).filter((value) => value !== null);
  const n = values.length;
  if (n < RULES.growth.samples) return null;
  const cuts = [0, Math.floor(n / 3), Math.floor((2 * n) / 3), n];
  const [a, b, c] = [0, 1, 2].map((i) => centre(values.slice(cuts[i], cuts[i + 1]), rule.of));
  return a < b && b < c && c >= rule.ratio * a ? c - a : 0;
}

/** Every figure that the rules name.  @param {any} logs @returns {Record<string, any>} */
function figuresOf(logs) {
  const { totals, samples } = logs;
  const last = samples.length ? samples[samples.length - 1] : null;
  /** @param {Spread} spread */
  const mean = (spread) => (spread.count ? spread.sum / spread.count : null);
  /** @param {Spread} spread */
  const max = (spread) => (spread.count ? spread.max : null);
  /** @param {any[]} entries */
  const recent = (entries) =>
    entries.map((entry) => entry.processingMs).filter((value) => value !== null).slice(-RULES.recent);
  /** @type {Record<string, any>} */
  const figures = {
    averageProcessingMs: mean(totals.processingMs),
    maximumProcessingMs: max(totals.processingMs),
    audioLatencies: recent(logs.audio),
    messageLatencies: recent(logs.messages.filter((/** @type {any} */ entry) => entry.direction === "received")),
    audioChunksCount: last && last.audioChunksCount,
    wsBufferedAmount: last && last.wsBufferedAmount,
    eventQueueSize: last && last.eventQueueSize,
    timeToFirstResponseMs: mean(totals.timeToFirstResponseMs),
    audioChunksPeak: totals.peaks.audioChunksCount,
    wsBufferedPeak: totals.peaks.wsBufferedAmount,
    eventQueuePeak: totals.peaks.eventQueueSize,
    heapPeak: totals.peaks.usedJSHeapSize,
    audioGapMs: max(totals.audioGapMs),
    longTaskShare: logs.session.durationMs >= RULES.sharesFromMs ? totals.longTaskMs / logs.session.durationMs : null,
    costShare: logs.cost.share,
  };
  for (const name of ["interruptions", "errors", "slowEvents", "responseTimeouts", "uncleanCloses"]) {
    figures[name] = totals[name];
  }
  for (const [name, rule] of Object.entries(RULES.growth.figures)) figures[name] = growth(samples, rule);
  return figures;
}

/** The issues of some logs, in the rules' order: what is wrong and what to do.
 * @param {any} logs @param {Record<string, any>} figures */
function issuesOf(logs, figures) {
  /** @param {string} name */
  const limit = (name) => logs.thresholds[name] ?? RULES.thresholds[name].value;
  const found = [];
  for (const issue of RULES.issues) {
    const over = typeof issue.over === "number" ? issue.over : limit(issue.over);
    const value = figures[issue.figure];
    if (value === null || !(value > over)) continue;
    const text = issue.text.replace(/\{(\w+)\}/g, (_, /** @type {string} */ name) => {
      if (name === "value") return written(issue.form, value);
      const named = name === "limit" ? String(issue.over) : name;
      return written(RULES.thresholds[named].form, limit(named));
    });
    found.push({ id: issue.id, text, recommendation: issue.recommendation });
  }
  return found;
}

/** The document's report, line for line.  @param {any} logs */
function reportOf(logs) {
  const figures = figuresOf(logs);
  const issues = issuesOf(logs, figures);
  /** @param {string[]} lines */
  const listed = (lines) => (lines.length ? lines.map((line) => `- ${line}`) : ["- None"]);
  return [
    "Performance Analysis Report",
    logs.session.ended,
    "",
    "Metrics:",
    ...RULES.metrics.map((row) => `- ${row.label}: ${written(row.form, figures[row.figure])}`),
    "",
    "Issues Detected:",
    ...listed(issues.map((issue) => issue.text)),
    "",
    "Recommendations:",
    ...listed(issues.map((issue) => issue.recommendation)),
  ].join("\n");
}

// What is kept of a session: bounded lists, exact totals, and what the monitor itself costs.

const now = () => performance.now();

/** A list that keeps its last entries and counts those that made room. */
class Ring {
  /** @param {number} capacity */
  constructor(capacity) {
    this.capacity = capacity;
    /** @type {any[]} */
    this.entries = [];
    this.oldest = 0;
    this.dropped = 0;
  }

  /** @param {any} entry */
  push(entry) {
    if (this.entries.length < this.capacity) {
      this.entries.push(entry);
    } else {
      this.entries[this.oldest] = entry;
      this.oldest = (this.oldest + 1) % this.capacity;
      this.dropped += 1;
    }
  }

  /** The last n entries, oldest first.  @param {number} [n] */
  last(n = this.entries.length) {
    const { length } = this.entries;
    const taken = Math.min(n, length);
    return Array.from({ length: taken }, (_, i) => this.entries[(this.oldest + length - taken + i) % length]);
  }
}

const CAPACITY = { messages: 2000, audio: 2000, responses: 500, samples: 3600, events: 500 };

/** @returns {Spread} */
const spread = () => ({ count: 0, sum: 0, max: 0 });

/** @param {Spread} into @param {number} value */
function add(into, value) {
  into.count += 1;
  into.sum += value;
  if (value > into.max) into.max = value;
}

const whole = (/** @type {number} */ value) => Math.round(value * 1000) / 1000; // to the microsecond, in the logs

/** A session's logs while it goes on; Clear Logs begins another. */
class Session {
  constructor() {
    this.id = Array.from({ length: 4 }, () => Math.floor(Math.random() * 65536).toString(16).padStart(4, "0")).join("");
    this.began = now();
    this.started = new Date();
    this.messages = new Ring(CAPACITY.messages);
    this.audio = new Ring(CAPACITY.audio);
    this.responses = new Ring(CAPACITY.responses);
    this.samples = new Ring(CAPACITY.samples);
    this.events = new Ring(CAPACITY.events);
    this.cost = { ms: 0, calls: 0 };
    this.totals = {
      messagesReceived: 0, messagesSent: 0, bytesReceived: 0, bytesSent: 0,
      processingMs: spread(),
      audioChunksReceived: 0, audioChunksProcessed: 0, audioChunksCleaned: 0,
      audioProcessingMs: spread(), audioGapMs: spread(),
      responses: 0, timeToFirstResponseMs: spread(), responseTimeouts: 0, interruptions: 0,
      errors: 0, warnings: 0, slowEvents: 0, uncleanCloses: 0, reconnections: 0, longTasks: 0, longTaskMs: 0,
      peaks: { audioChunksCount: 0, wsBufferedAmount: 0, eventQueueSize: 0, usedJSHeapSize: /** @type {number | null} */ (null) },
    };
    /** Since the sample before. */
    this.lately = { processing: spread(), audio: spread(), messages: 0 };
  }

  /** Since it began; a clock that a test sets back does not make it negative.  @param {number} [at] */
  time(at = looking ?? now()) {
    return Math.max(0, whole(at - this.began));
  }

  /** @param {string} name @param {object} [more] */
  event(name, more = {}) {
    catchUp(); // what came before stands before it
    this.events.push({ t: this.time(), name, ...more });
  }
}

let session = new Session();

/** Adds the time since ``began`` to what the monitor costs.  @param {number} began @param {number} [times] for how many calls */
function spent(began, times = 1) {
  session.cost.ms += Math.max(0, now() - began) * times;
  session.cost.calls += times;
}

const ONE_IN = 8;

/** The same of what comes with each message, and is nothing but short: reading the clock would be the most of it, so one in
 * eight, by chance, stands for all.  @param {number} began */
function spentBriefly(began) {
  if (Math.random() * ONE_IN < 1) spent(began, ONE_IN);
}

/** Bytes of heap: in use, and at most; null where the browser does not tell.  @param {"usedJSHeapSize" | "jsHeapSizeLimit"} name */
function heap(name) {
  const memory = /** @type {any} */ (performance).memory;
  const bytes = memory && memory[name];
  return typeof bytes === "number" && bytes > 0 ? bytes : null;
}

/** The state now, in the document's names. */
function state() {
  let buffered = 0;
  for (const socket of open) buffered += socket.bufferedAmount || 0;
  const newest = newestSocket && newestSocket.deref();
  return {
    audioChunksCount: waiting.size,
    wsBufferedAmount: buffered,
    readyState: newest ? newest.readyState : null,
    eventQueueSize: processing.size,
    usedJSHeapSize: heap("usedJSHeapSize"),
  };
}

/** Keeps the state, and the peaks.  @returns the sample */
function sample() {
  const { lately, totals } = session;
  const seen = state();
  const peaks = totals.peaks;
  peaks.wsBufferedAmount = Math.max(peaks.wsBufferedAmount, seen.wsBufferedAmount);
  if (seen.usedJSHeapSize !== null) peaks.usedJSHeapSize = Math.max(peaks.usedJSHeapSize ?? 0, seen.usedJSHeapSize);
  const taken = {
    t: session.time(),
    ...seen,
    processingMs: lately.processing.count ? whole(lately.processing.sum / lately.processing.count) : null,
    audioMs: lately.audio.count ? whole(lately.audio.sum / lately.audio.count) : null,
    messages: lately.messages,
  };
  session.lately = { processing: spread(), audio: spread(), messages: 0 };
  session.samples.push(taken);
  return taken;
}

/** What came and is not yet looked at, oldest first: messages, and chunks that came or were processed.
 *
 * A page that gets a message every few milliseconds has cold caches for each; a few dozen together cost a third.  So only what
 * is gone later is noted at once, and the rest is done together: within a second, and before anybody asks for it.
 * @type {(Message | Chunk)[]} */
let unseen = [];
let unseenSize = 0;
const MOST_UNSEEN = 64;
const MOST_UNSEEN_SIZE = 1048576;
/** When that came which is looked at just now.  @type {number | null} */
let looking = null;

/** Keeps it until it is looked at.  @param {Message | Chunk} one @param {number} size bytes that it holds @param {number} at */
function look(one, size, at) {
  unseen.push(one);
  unseenSize += size;
  spentBriefly(at);
  // The page's own judges see messages as they come, not what has become of their buffers.
  if (unseen.length >= MOST_UNSEEN || unseenSize > MOST_UNSEEN_SIZE || settings.isAudio || settings.asks) catchUp();
}

/** Looks at all that came. */
function catchUp() {
  if (looking !== null || !unseen.length) return; // it is at it, and asked by the page meanwhile; or there is nothing
  const began = now();
  for (let some = unseen; some.length; some = unseen) {
    unseen = [];
    unseenSize = 0;
    for (const one of some) {
      try {
        if ("watched" in one) {
          looking = one.began;
          take(one);
        } else {
          looking = one.at;
          takeChunk(one);
        }
      } catch (error) {
        reportError(error); // the page's own judge's: what came after is looked at nevertheless
      }
    }
    looking = null;
  }
  spent(began);
}

/** The logs as they are downloaded (logs.schema.json). */
function logs() {
  catchUp();
  const began = now();
  sample();
  const durationMs = session.time();
  const { ms, calls } = session.cost;
  const taken = {
    format: "perfsuite-realtime-logs",
    version: 1,
    session: {
      id: session.id,
      started: session.started.toISOString(),
      ended: new Date().toISOString(),
      durationMs,
      url: location.origin + location.pathname,
      userAgent: navigator.userAgent,
    },
    thresholds: { ...thresholds },
    totals: JSON.parse(JSON.stringify(session.totals)),
    messages: session.messages.last().map((entry) => ({ ...entry })),
    audio: session.audio.last(),
    responses: session.responses.last().map((entry) => ({ ...entry })),
    samples: session.samples.last(),
    events: session.events.last(),
    dropped: {
      messages: session.messages.dropped,
      audio: session.audio.dropped,
      responses: session.responses.dropped,
      samples: session.samples.dropped,
      events: session.events.dropped,
    },
    cost: { ms: whole(ms), share: ms / Math.max(durationMs, RULES.sharesFromMs), calls },
  };
  spent(began);
  return taken;
}

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

// WebSockets: every one that this page makes is watched, and works exactly as if it were not.
//
// The constructor is a Proxy (subclasses, instanceof, constants and `constructor` hold); methods and onmessage are wrapped on
// the prototype.  A message's listeners are wrapped one to one, so that the browser's own rules for duplicates, `once`,
// removal and order go on to hold.

/** @typedef {{watched: Watched, direction: "received" | "sent", data: any, size: number, began: number, buffered: number,
 *   readyState: number, queued: number, took: number | null, entry: any, running: number, flagged: boolean,
 *   session: Session}} Message */
/** @typedef {{entry: any, last: number}} Response */
/** @typedef {{id: number, socket: WeakRef<any>, url: string, protocols: any, opened: number, structured: boolean,
 *   last: {received: number | null, sent: number | null}, message: Message | null, response: Response | null,
 *   unsent: boolean, listeners: {type: string, listener: any, options: any}[], conversation: {direction: string, kind: string, data: string}[],
 *   kept: number, successor: any, closing: boolean, attempt: number}} Watched */

/** Sockets that are connecting or open.  @type {Set<any>} */
const open = new Set();
/** @type {WeakMap<any, Watched>} */
const watchedOf = new WeakMap();
/** @type {WeakRef<any> | null} */
let newestSocket = null;
let socketsMade = 0;

/** Messages whose handlers, or the promises that they returned, are not done.  @type {Set<Message>} */
const processing = new Set();
const MOST_PROCESSING = 1000;
/** Processing times of the last messages.  @type {number[]} */
let recently = [];

const listen = EventTarget.prototype.addEventListener;
const unlisten = EventTarget.prototype.removeEventListener;
const then = Promise.prototype.then;

/** @param {any} data */
function sizeOf(data) {
  if (typeof data === "string") return data.length;
  return (data && (data.byteLength ?? data.size)) || 0;
}

const TYPE_FIRST = '{"type":"';

/** What a message is: the type that its JSON names, "text" or "binary".  @param {any} data */
function kindOf(data) {
  if (typeof data !== "string") return "binary";
  if (data.charCodeAt(0) !== 123) return "text";
  const head = data.length > 300 ? data.slice(0, 300) : data;
  if (head.startsWith(TYPE_FIRST)) { // as most write it: found without the pattern's cost
    const end = head.indexOf('"', TYPE_FIRST.length);
    const kind = head.slice(TYPE_FIRST.length, end);
    if (end > TYPE_FIRST.length && kind.length <= 80 && !kind.includes("\\")) return kind;
  }
  const named = /"type"\s*:\s*"([^"\\]{1,80})"/.exec(head);
  return named ? named[1] : "text";
}

/** @param {Watched} watched @param {"received" | "sent"} direction @param {any} socket @param {any} data @param {number} at @returns {Message} */
function messageOf(watched, direction, socket, data, at) {
  // What a socket has not sent it has been given since: where nothing was, nobody needs to ask.
  const buffered = watched.unsent || direction === "sent" ? socket.bufferedAmount || 0 : 0;
  watched.unsent = buffered > 0;
  return {
    watched, direction, data, size: sizeOf(data), began: at, buffered, readyState: socket.readyState,
    queued: processing.size, took: null, entry: null, running: 0, flagged: false, session,
  };
}

/** A message as the logs have it, made once.  @param {Message} message */
function entryOf(message) {
  if (message.entry === null) {
    const { watched, direction, began } = message;
    const before = watched.last[direction];
    watched.last[direction] = began;
    message.entry = {
      t: session.time(began), socket: watched.id, direction, kind: kindOf(message.data), bytes: message.size,
      intervalMs: before === null ? null : whole(Math.max(0, began - before)), processingMs: message.took,
      wsBufferedAmount: message.buffered, readyState: message.readyState, eventQueueSize: message.queued,
    };
  }
  return message.entry;
}

/** The monitor's own listener, before all of the page's.  @param {any} event */
function received(event) {
  const at = now();
  const socket = event.currentTarget;
  const watched = watchedOf.get(socket);
  if (!watched) return;
  watched.message = messageOf(watched, "received", socket, event.data, at);
  look(watched.message, watched.message.size, at);
}

/** A message that has come or was sent is looked at.  @param {Message} message */
function take(message) {
  const { watched, data, began } = message;
  const entry = entryOf(message);
  const { kind } = entry;
  const { totals } = session;
  message.data = null;
  session.messages.push(entry);
  remember(watched, message.direction, kind, data);
  if (message.direction === "sent") {
    totals.messagesSent += 1;
    totals.bytesSent += entry.bytes;
    if (entry.wsBufferedAmount > totals.peaks.wsBufferedAmount) totals.peaks.wsBufferedAmount = entry.wsBufferedAmount;
    said(watched, kind, data, began);
    return;
  }
  totals.messagesReceived += 1;
  totals.bytesReceived += entry.bytes;
  session.lately.messages += 1;
  heard(watched, kind, data, began);
  if (isAudio(kind, data)) chunkCame(data, began);
  if (kind === "error") noteError("the server sent an error", { socket: watched.id });
}

/** @param {Message} message */
function begun(message) {
  message.running += 1;
  processing.add(message);
  if (processing.size > MOST_PROCESSING) {
    // A page that never finishes: what is oldest is not watched any longer, and the queue's size stays what it is.
    processing.delete(/** @type {Message} */ (processing.values().next().value));
  }
  const peaks = session.totals.peaks;
  if (processing.size > peaks.eventQueueSize) peaks.eventQueueSize = processing.size;
  message.queued = processing.size;
  if (message.entry) message.entry.eventQueueSize = processing.size;
}

/** One of a message's handlers, or its promise, is done.  @param {Message} message */
function ended(message) {
  const at = now();
  message.running -= 1;
  if (message.running === 0) {
    processing.delete(message);
    const took = whole(Math.max(0, at - message.began));
    const { totals, lately } = message.session;
    const before = message.took;
    message.took = took;
    if (message.entry) message.entry.processingMs = took;
    if (before === null) {
      add(totals.processingMs, took);
      add(lately.processing, took);
      recently.push(took);
      if (recently.length > RULES.recent) recently.shift();
    } else {
      totals.processingMs.sum += took - before; // another handler of the same message
      totals.processingMs.max = Math.max(totals.processingMs.max, took);
      recently[recently.length - 1] = Math.max(recently[recently.length - 1], took);
    }
    spentBriefly(at);
    if (!message.flagged && took > thresholds.eventProcessingMs) eventTooSlow(message, took);
  }
}

/** @type {WeakMap<object, any>} */
const wrapperOf = new WeakMap();
/** @type {WeakMap<object, any>} */
const originalOf = new WeakMap();

/** The listener that is registered in the place of the page's: always the same one for the same listener.  @param {any} listener */
function wrapped(listener) {
  let wrapper = wrapperOf.get(listener);
  if (!wrapper) {
    wrapper = function (/** @type {any} */ event) {
      // @ts-ignore: a listener's this is the event's target
      const self = this;
      const watched = watchedOf.get(self);
      const message = watched && event instanceof MessageEvent ? watched.message : null;
      if (message) begun(message);
      let result;
      try {
        if (typeof listener === "function") result = Reflect.apply(listener, self, [event]);
        else if (typeof listener.handleEvent === "function") result = listener.handleEvent(event);
      } finally {
        if (message && !(result instanceof Promise)) ended(message);
      }
      if (message && result instanceof Promise) {
        // A rejection that nobody handles stays one: it goes on in the promise that this makes.
        then.call(result, () => ended(message), (/** @type {any} */ error) => {
          ended(message);
          throw error;
        });
      }
      return result;
    };
    wrapperOf.set(listener, wrapper);
    originalOf.set(wrapper, listener);
  }
  return wrapper;
}

const canListen = (/** @type {any} */ listener) =>
  typeof listener === "function" || (typeof listener === "object" && listener !== null);

/** Watches a socket from its beginning, or from the first that is seen of it.  @param {any} socket @param {any} [url] @param {any} [protocols] */
function watch(socket, url = socket.url, protocols = undefined) {
  if (watchedOf.has(socket)) return watchedOf.get(socket);
  socketsMade += 1;
  /** @type {Watched} */
  const watched = {
    id: socketsMade, socket: new WeakRef(socket), url: String(url), protocols, opened: now(), structured: false,
    last: { received: null, sent: null }, message: null, response: null, listeners: [], conversation: [], kept: 0,
    successor: null, closing: false, attempt: 0, unsent: false,
  };
  watchedOf.set(socket, watched);
  newestSocket = new WeakRef(socket);
  open.add(socket);
  const on = (/** @type {string} */ type, /** @type {any} */ listener) =>
    socket instanceof EventTarget ? listen.call(socket, type, listener) : socket.addEventListener(type, listener);
  on("message", received);
  on("open", () => {
    watched.opened = now();
    session.event("open", { socket: watched.id });
  });
  on("error", () => noteError("WebSocket error", { socket: watched.id }));
  on("close", (/** @type {any} */ event) => {
    catchUp();
    open.delete(socket);
    session.event("close", { socket: watched.id, code: event.code, reason: event.reason, wasClean: event.wasClean });
    if (!event.wasClean) session.totals.uncleanCloses += 1;
    if (watched.response && event.wasClean) endResponse(watched, null);
    if (watched.response) interrupt(watched, "dropped");
    if (!event.wasClean && !watched.closing) reconnect(watched, "dropped");
  });
  return watched;
}

/** Replaces a property by what ``make`` makes of its descriptor, and keeps its flags.
 * @param {any} target @param {string} name @param {(old: PropertyDescriptor) => PropertyDescriptor} make */
function hook(target, name, make) {
  const old = target && Object.getOwnPropertyDescriptor(target, name);
  if (old && old.configurable) Object.defineProperty(target, name, { ...old, ...make(old) });
}

/** Gives a function another's name and length, which pages may look at.  @param {Function} ours @param {Function} theirs */
function alike(ours, theirs) {
  Object.defineProperty(ours, "name", { value: theirs.name, configurable: true });
  Object.defineProperty(ours, "length", { value: theirs.length, configurable: true });
  return ours;
}

/** The prototype that has ``send`` itself: the browser's, below whatever the page has made of WebSocket.  @param {any} prototype */
function ownerOfSend(prototype) {
  while (prototype && !Object.hasOwn(prototype, "send")) prototype = Object.getPrototypeOf(prototype);
  return prototype;
}

function hookSockets() {
  const Native = window.WebSocket;
  const prototype = typeof Native === "function" && ownerOfSend(Native.prototype);
  if (!prototype) return;
  const Base = prototype.constructor;
  /** Also those that were made behind the monitor's back.  @param {any} socket */
  const known = (socket) => watchedOf.get(socket) || (socket instanceof Base ? watch(socket) : undefined);
  /** @type {typeof WebSocket} */
  const Hooked = new Proxy(Native, {
    construct(target, args, newTarget) {
      const socket = Reflect.construct(target, args, newTarget === Hooked ? target : newTarget);
      const began = now();
      watch(socket, args[0], args[1]);
      spent(began);
      return socket;
    },
  });
  hook(window, "WebSocket", () => ({ value: Hooked }));
  hook(Native.prototype, "constructor", () => ({ value: Hooked }));
  hook(prototype, "send", ({ value: send }) => ({
    value: alike(function (/** @type {any[]} */ ...args) {
      // @ts-ignore: the socket
      const socket = this;
      const watched = known(socket);
      if (watched && watched.successor) return watched.successor.send(...args);
      const result = Reflect.apply(send, socket, args);
      if (watched) sent(socket, watched, args[0]);
      return result;
    }, send),
  }));
  hook(prototype, "close", ({ value: close }) => ({
    value: alike(function (/** @type {any[]} */ ...args) {
      // @ts-ignore: the socket
      const watched = watchedOf.get(this);
      if (watched) watched.closing = true; // the page's wish: not a drop
      // @ts-ignore: the socket
      return Reflect.apply(close, this, args);
    }, close),
  }));
  hook(prototype, "onmessage", ({ get, set }) => ({
    get: get && function () {
      // @ts-ignore: the socket
      const handler = Reflect.apply(get, this, []);
      return (handler && originalOf.get(handler)) || handler;
    },
    set: set && function (handler) {
      // @ts-ignore: the socket
      const socket = this;
      known(socket);
      Reflect.apply(set, socket, [typeof handler === "function" ? wrapped(handler) : handler]);
    },
  }));
  hookListeners(prototype, known);
}

/** @param {Watched} watched @param {any} type @param {any} listener */
function forget(watched, type, listener) {
  watched.listeners = watched.listeners.filter((kept) => kept.type !== type || kept.listener !== listener);
}

/** addEventListener and removeEventListener of WebSockets alone.  @param {any} prototype @param {(socket: any) => Watched | undefined} known */
function hookListeners(prototype, known) {
  // What the page had there before; looked up late, because some libraries replace EventTarget's after this script.
  const own = (/** @type {string} */ name) => Object.getOwnPropertyDescriptor(prototype, name)?.value;
  const [ownAdd, ownRemove] = [own("addEventListener"), own("removeEventListener")];
  const descriptor = { configurable: true, enumerable: true, writable: true };
  Object.defineProperty(prototype, "addEventListener", {
    ...descriptor,
    value: alike(function (/** @type {any[]} */ ...args) {
      // @ts-ignore: the socket
      const socket = this;
      const [type, listener, options] = args;
      const watched = known(socket);
      if (watched && canListen(listener)) {
        forget(watched, type, listener);
        watched.listeners.push({ type, listener, options });
        if (type === "message") args[1] = wrapped(listener);
      }
      return Reflect.apply(ownAdd || EventTarget.prototype.addEventListener, socket, args);
    }, EventTarget.prototype.addEventListener),
  });
  Object.defineProperty(prototype, "removeEventListener", {
    ...descriptor,
    value: alike(function (/** @type {any[]} */ ...args) {
      // @ts-ignore: the socket
      const socket = this;
      const [type, listener, ...rest] = args;
      const remove = ownRemove || EventTarget.prototype.removeEventListener;
      const watched = watchedOf.get(socket);
      if (watched) forget(watched, type, listener);
      const wrapper = type === "message" && canListen(listener) && wrapperOf.get(listener);
      if (wrapper) Reflect.apply(remove, socket, [type, wrapper, ...rest]);
      return Reflect.apply(remove, socket, args);
    }, EventTarget.prototype.removeEventListener),
  });
}

/** @param {any} socket @param {Watched} watched @param {any} data */
function sent(socket, watched, data) {
  const at = now();
  const message = messageOf(watched, "sent", socket, data, at);
  look(message, message.size, at);
}

// Responses: what asks for one, when the first of it comes, when it is over; and errors.

const NO_QUESTION = /^(ping|pong|heartbeat|keep-?alive|ack|auth|hello|init|subscribe)/i;
const AUDIO_SENT = /audio.*append/i;
const STRUCTURED = /^(response|session|conversation|input_audio_buffer|rate_limits)\./;
const DONE = /^response\.(done|completed|cancelled|failed|incomplete)$/;

/** What a kind of message is by its name.
 * @typedef {{structured: boolean, question: boolean, delta: boolean, response: boolean, done: boolean, audio: boolean}} Nature */
/** @type {Map<string, Nature>} */
const natures = new Map();
const MOST_NATURES = 200;

/** Worked out once for each kind: it is asked for with every message.  @param {string} kind @returns {Nature} */
function natureOf(kind) {
  let nature = natures.get(kind);
  if (!nature) {
    nature = {
      structured: STRUCTURED.test(kind),
      question: kind !== "binary" && !AUDIO_SENT.test(kind) && !NO_QUESTION.test(kind),
      delta: /^response\..*delta$/.test(kind) || kind === "binary",
      response: kind.startsWith("response."),
      done: DONE.test(kind) || kind === "error",
      audio: kind === "binary" || (/audio[\w.]*\.delta$/.test(kind) && !/transcript/.test(kind)),
    };
    if (natures.size >= MOST_NATURES) natures.clear();
    natures.set(kind, nature);
  }
  return nature;
}

/** Whether a message that the page sends asks for a response.  @param {Watched} watched @param {string} kind @param {any} data */
function asks(watched, kind, data) {
  if (settings.asks) return Boolean(settings.asks(kind, data, "sent"));
  if (watched.structured) return kind === "response.create";
  return natureOf(kind).question;
}

/** @param {Watched} watched @param {number} at */
function asked(watched, at) {
  if (watched.response) {
    if (watched.response.entry.timeToFirstResponseMs === null) return; // still waits for the first of it
    endResponse(watched, null);
  }
  const entry = {
    t: session.time(at), socket: watched.id, timeToFirstResponseMs: /** @type {number | null} */ (null),
    durationMs: /** @type {number | null} */ (null), interrupted: /** @type {string | null} */ (null),
  };
  session.responses.push(entry);
  session.totals.responses += 1;
  watched.response = { entry, last: at };
}

/** @param {Watched} watched @param {string | null} interrupted */
function endResponse(watched, interrupted) {
  if (!watched.response) return;
  const { entry } = watched.response;
  entry.durationMs = whole(Math.max(0, session.time() - entry.t));
  entry.interrupted = interrupted;
  watched.response = null;
}

/** A message has been sent.  @param {Watched} watched @param {string} kind @param {any} data @param {number} at */
function said(watched, kind, data, at) {
  if (natureOf(kind).structured) watched.structured = true;
  if (kind === "response.cancel") {
    if (watched.response) interrupt(watched, "page");
  } else if (asks(watched, kind, data)) {
    asked(watched, at);
  }
}

/** A message has come.  @param {Watched} watched @param {string} kind @param {any} data @param {number} at */
function heard(watched, kind, data, at) {
  const nature = natureOf(kind);
  if (nature.structured) watched.structured = true;
  if (settings.asks ? settings.asks(kind, data, "received") : kind === "input_audio_buffer.speech_stopped") {
    asked(watched, at);
    return;
  }
  const { response } = watched;
  if (!response) return;
  const content = watched.structured ? nature.delta : !NO_QUESTION.test(kind);
  if (content || nature.response) response.last = at;
  if (content && response.entry.timeToFirstResponseMs === null) {
    const first = whole(Math.max(0, session.time(at) - response.entry.t));
    response.entry.timeToFirstResponseMs = first;
    add(session.totals.timeToFirstResponseMs, first);
    notePace(first);
  }
  if (watched.structured ? nature.done : content) endResponse(watched, null);
}

/** @param {string} message @param {object} [more] */
function noteError(message, more = {}) {
  session.totals.errors += 1;
  session.event("error", { message: String(message).slice(0, 500), ...more });
}

function hookErrors() {
  listen.call(window, "error", (event) => {
    if (event instanceof ErrorEvent) noteError(event.message, { source: `${event.filename}:${event.lineno}` });
  });
  listen.call(window, "unhandledrejection", (event) => {
    noteError(`unhandled rejection: ${/** @type {PromiseRejectionEvent} */ (event).reason}`);
  });
  if (typeof PerformanceObserver !== "function" || !PerformanceObserver.supportedEntryTypes.includes("longtask")) return;
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) {
      session.totals.longTasks += 1;
      session.totals.longTaskMs += task.duration;
      session.event("longTask", { durationMs: whole(task.duration) });
    }
  }).observe({ type: "longtask" });
}

// Audio chunks: they wait from their arrival until they are processed.
//
// They come as messages or by audioChunkReceived, and are processed by decoding, by playing or by audioChunkProcessed.  A page
// that does several of these with each chunk is counted by the surest: its own calls, else decoding, else playing.

/** Chunks that wait, by id.  @type {Map<string | number, {at: number, own: boolean}>} */
const waiting = new Map();
/** Ids by the buffer that a chunk came in.  @type {WeakMap<object, number>} */
const chunkOf = new WeakMap();
let chunks = 0;
let lastProcessed = -Infinity;
let pageReceives = false;

const ARRIVAL = 0;
const WAYS = { playing: 1, decoding: 2, page: 3 };
let way = 0;

/** A chunk's news: ``by`` 0 is its arrival by the page's word, else how it was processed.  ``id`` is a chunk's, or ``source``
 * the buffer that it came in.
 * @typedef {{by: number, id: any, source: any, at: number}} Chunk */

/** @param {string} kind @param {any} data */
function isAudio(kind, data) {
  if (settings.isAudio) return Boolean(settings.isAudio(kind, data));
  return natureOf(kind).audio;
}

/** @param {string | number} id @param {number} at @param {boolean} own the page's own call */
function chunkWaits(id, at, own) {
  waiting.set(id, { at, own });
  session.totals.audioChunksReceived += 1;
  const peaks = session.totals.peaks;
  if (waiting.size > peaks.audioChunksCount) peaks.audioChunksCount = waiting.size;
  if (waiting.size > thresholds.audioChunks) cleanUp();
}

/** A message that is one.  @param {any} data @param {number} at */
function chunkCame(data, at) {
  if (pageReceives) return;
  chunks += 1;
  if (data instanceof ArrayBuffer || data instanceof Blob) chunkOf.set(data, chunks);
  chunkWaits(chunks, at, false);
}

/** @param {string | number | undefined} id @param {number} at */
function chunkDone(id, at) {
  const chunk = id !== undefined && waiting.get(id);
  if (!chunk) return; // cleaned up before, or none waits
  waiting.delete(id);
  const { totals } = session;
  const processingMs = whole(Math.max(0, at - chunk.at));
  const gapMs = whole(Math.max(0, at - Math.max(lastProcessed, chunk.at)));
  lastProcessed = at;
  totals.audioChunksProcessed += 1;
  add(totals.audioProcessingMs, processingMs);
  add(totals.audioGapMs, gapMs);
  add(session.lately.audio, processingMs);
  session.audio.push({ t: session.time(at), id, processingMs, gapMs, audioChunksCount: waiting.size });
}

/** @param {number} by @param {any} [id] the very chunk, where it is known @param {any} [source] the buffer that it came in */
function chunkNews(by, id, source) {
  const at = now();
  look({ by, id, source, at }, 0, at);
}

const oneDone = (/** @type {number} */ by, /** @type {any} */ source = undefined) => chunkNews(by, undefined, source);

/** @param {Chunk} chunk */
function takeChunk({ by, id, source, at }) {
  if (by === ARRIVAL) {
    if (!pageReceives) {
      pageReceives = true; // what messages were taken for is from here on the page's to say
      for (const [known, chunk] of waiting) if (!chunk.own) waiting.delete(known);
    }
    chunkWaits(id, at, true);
    return;
  }
  way = Math.max(way, by);
  if (by !== way) return; // the page is counted by a surer way
  const very = source === undefined ? id : chunkOf.get(source);
  if (very !== undefined && waiting.has(very)) chunkDone(very, at);
  else if (by !== WAYS.page || !pageReceives) chunkDone(waiting.keys().next().value, at); // that has waited longest
}

/** Forgets those that wait. */
function dropChunks() {
  for (const id of waiting.keys()) {
    session.audio.push({ t: session.time(), id, processingMs: null, gapMs: null, audioChunksCount: 0 });
  }
  session.totals.audioChunksCleaned += waiting.size;
  waiting.clear();
}

/** The page's own word that a chunk has come.  @param {string | number} id */
function audioChunkReceived(id) {
  chunkNews(ARRIVAL, id);
}

/** The page's own word that a chunk was processed; without an id, or for one that came as a message, the oldest.
 * @param {string | number} [id] */
function audioChunkProcessed(id) {
  chunkNews(WAYS.page, id);
}

function hookAudio() {
  const scope = /** @type {any} */ (window);
  hook(scope.BaseAudioContext?.prototype, "decodeAudioData", ({ value: decode }) => ({
    value: alike(function (/** @type {any[]} */ ...args) {
      const source = args[0];
      // @ts-ignore: the context
      const decoded = Reflect.apply(decode, this, args);
      return then.call(
        decoded,
        (/** @type {any} */ buffer) => {
          oneDone(WAYS.decoding, source);
          return buffer;
        },
        (/** @type {any} */ error) => {
          oneDone(WAYS.decoding, source); // it waits no longer, however it went
          throw error;
        },
      );
    }, decode),
  }));
  hook(scope.AudioBufferSourceNode?.prototype, "start", ({ value: start }) => ({
    value: alike(function (/** @type {any[]} */ ...args) {
      // @ts-ignore: the node
      const node = this;
      listen.call(node, "ended", () => oneDone(WAYS.playing), { once: true });
      return Reflect.apply(start, node, args);
    }, start),
  }));
  hook(scope.AudioWorkletNode?.prototype, "port", ({ get }) => ({
    get() {
      const port = Reflect.apply(/** @type {any} */ (get), this, []);
      if (!ports.has(port)) {
        ports.add(port);
        hookPort(port);
      }
      return port;
    },
  }));
  hook(scope.SourceBuffer?.prototype, "appendBuffer", ({ value: append }) => ({
    value: alike(function (/** @type {any[]} */ ...args) {
      // @ts-ignore: the buffer
      const buffer = this;
      const source = args[0] && (args[0].buffer || args[0]);
      listen.call(buffer, "updateend", () => oneDone(WAYS.decoding, source), { once: true });
      return Reflect.apply(append, buffer, args);
    }, append),
  }));
  hook(scope.HTMLMediaElement?.prototype, "play", ({ value: play }) => ({
    value: alike(function (/** @type {any[]} */ ...args) {
      // @ts-ignore: the element
      const element = this;
      if (!elements.has(element)) {
        elements.add(element);
        hookElement(element);
      }
      return Reflect.apply(play, element, args);
    }, play),
  }));
}

/** Ports and elements that have their listeners.  @type {WeakSet<any>} */
const ports = new WeakSet();
/** @type {WeakSet<any>} */
const elements = new WeakSet();

/** What carries samples to an AudioWorklet is a chunk that is handed over to be played.  @param {any} port */
function hookPort(port) {
  const post = port.postMessage;
  const holds = (/** @type {any} */ value) => value instanceof ArrayBuffer || ArrayBuffer.isView(value);
  port.postMessage = alike(function (/** @type {any[]} */ ...args) {
    Reflect.apply(post, port, args);
    const [data] = args;
    if (holds(data) || (data && typeof data === "object" && Object.values(data).some(holds))) oneDone(WAYS.playing);
  }, post);
}

/** A media element plays a chunk to its end; while it waits for data there is a gap.  @param {any} element */
function hookElement(element) {
  /** @type {number | null} */
  let stuck = null;
  listen.call(element, "ended", () => oneDone(WAYS.playing));
  listen.call(element, "waiting", () => {
    stuck = now();
  });
  listen.call(element, "playing", () => {
    if (stuck !== null) add(session.totals.audioGapMs, whole(Math.max(0, now() - stuck)));
    stuck = null;
  });
}

// Reconnection: after a drop, and of conversations that have lasted long, with their context.

const KEPT_MESSAGES = 200;
const KEPT_CHARACTERS = 262144;
const QUIET_MS = 2000;
const ATTEMPTS = 6;

const reconnects = () => Boolean(settings.onReconnect || settings.autoReconnect);

/** Keeps the text of a conversation for a reconnection, and only for one: it is in no logs.
 * @param {Watched} watched @param {string} direction @param {string} kind @param {any} data */
function remember(watched, direction, kind, data) {
  if (!reconnects() || typeof data !== "string" || /audio/.test(kind) || NO_QUESTION.test(kind)) return;
  watched.conversation.push({ direction, kind, data });
  watched.kept += data.length;
  while (watched.conversation.length > KEPT_MESSAGES || watched.kept > KEPT_CHARACTERS) {
    const oldest = watched.conversation.shift();
    watched.kept -= oldest ? oldest.data.length : 0;
  }
}

/** Tries until it succeeds, with growing pauses.  @param {Watched} watched @param {string} reason */
function reconnect(watched, reason) {
  if (!reconnects()) return;
  watched.attempt += 1;
  const attempt = watched.attempt;
  const pause = attempt === 1 ? 0 : Math.min(30000, 500 * 2 ** (attempt - 2));
  setTimeout(() => {
    const again = () => {
      if (attempt < ATTEMPTS) reconnect(watched, reason);
      else warn("responseTimeout", `Reconnection failed ${ATTEMPTS} times`, { socket: watched.id });
    };
    // The state starts anew; the conversation goes on.
    catchUp();
    waiting.clear();
    recently = [];
    const context = {
      reason, attempt, url: watched.url, protocols: watched.protocols, conversation: [...watched.conversation],
      socket: watched.socket.deref(),
    };
    new Promise((resolve) => resolve(settings.onReconnect ? settings.onReconnect(context) : replace(watched))).then(
      () => {
        session.totals.reconnections += 1;
        session.event("reconnect", { socket: watched.id, message: reason });
      },
      (error) => {
        noteError(`reconnection: ${error}`, { socket: watched.id });
        again();
      },
    );
  }, pause);
}

/** The default for a plain WebSocket: another to the same address, with the page's handlers and what it had said.  The page
 * goes on to send by the old one, which hands on.  @param {Watched} watched @returns {Promise<void>} */
function replace(watched) {
  const old = watched.socket.deref();
  const socket = watched.protocols === undefined ? new WebSocket(watched.url) : new WebSocket(watched.url, watched.protocols);
  socket.binaryType = old.binaryType;
  return new Promise((resolve, reject) => {
    const next = /** @type {Watched} */ (watch(socket));
    next.closing = true; // until it is open, this attempt's failure is no drop of its own
    listen.call(socket, "close", () => reject(new Error("closed")), { once: true });
    listen.call(socket, "open", () => {
      next.closing = false;
      for (const { direction, data } of watched.conversation) if (direction === "sent") socket.send(data);
      for (const { type, listener, options } of watched.listeners) {
        socket.addEventListener(type, listener, options);
        old.removeEventListener(type, listener, options);
      }
      for (const name of ["onmessage", "onclose", "onerror"]) {
        /** @type {any} */ (socket)[name] = old[name];
        old[name] = null;
      }
      watched.successor = socket;
      if (old.readyState < 2) {
        watched.closing = true;
        Reflect.apply(WebSocket.prototype.close, old, [1000]);
      }
      resolve();
    }, { once: true });
  });
}

/** Reconnects a conversation that has lasted long, in a pause of it. */
function reconnectIfLong() {
  if (settings.reconnectAfterMs === null || !reconnects()) return;
  for (const socket of open) {
    const watched = watchedOf.get(socket);
    if (!watched || watched.closing || watched.attempt || socket.readyState !== 1 || watched.response) continue;
    const quiet = now() - Math.max(watched.last.received ?? 0, watched.last.sent ?? 0);
    if (now() - watched.opened > settings.reconnectAfterMs && quiet > QUIET_MS) reconnect(watched, "long conversation");
  }
}

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
})();
