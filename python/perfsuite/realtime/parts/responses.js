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
