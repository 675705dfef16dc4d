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
