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
