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
