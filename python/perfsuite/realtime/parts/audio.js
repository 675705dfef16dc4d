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
