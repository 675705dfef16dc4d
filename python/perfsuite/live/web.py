"""The server of a live page: tornado in a loop of its own, on a thread of its own.

Nothing is served to a page of another origin but the browser monitor's script; a request whose Host is not this
server's is refused, and so is one without the token where there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import socket
import threading
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import Application, HTTPError, RequestHandler

from perfsuite.errors import PerfsuiteError
from perfsuite.live.opening import answers_to, url_of

if TYPE_CHECKING:
    from perfsuite.live.board import Board

MOST_VIEWERS = 32
KEEP_ALIVE_S = 15.0
"""A word between two states, so that nothing in between takes the connection for dead."""
REST_S = 0.1
"""Between two states for a viewer, however often something is put down."""
STUCK_S = 30.0
"""A viewer that takes nothing for so long is let go."""
FAREWELL_S = 2.0
"""How long the end waits for viewers to get the last state, and once more for those that did not to be let go."""
COOKIE = "perfsuite_live"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src data: blob: 'self'; font-src data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Resource:
    """A file of the page, as it is and in gzip's form.  ``anyone``: pages of other origins may load it."""

    def __init__(self, kind: str, body: bytes, *, anyone: bool = False) -> None:
        self.kind = kind
        self.anyone = anyone
        self.body = body
        press = zlib.compressobj(6, zlib.DEFLATED, 31)
        self.pressed = press.compress(body) + press.flush()


Resources = Mapping[str, Resource]


class _Handler(RequestHandler):
    def initialize(self, server: Server) -> None:
        self.server = server

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        if not answers_to(self.server.listener, self.request.headers.get("Host", "")):
            raise HTTPError(421, reason="this server has another name")
        if self.request.method not in ("GET", "HEAD"):
            raise HTTPError(405)
        if not self.server.admits(self.request):
            raise HTTPError(403, reason="open it once with ?token= and the token")

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}: {self._reason}\n")

    def log_exception(self, *_: Any) -> None:
        """What is wrong with a request is told to whoever sent it."""


class _File(_Handler):
    async def get(self, path: str) -> None:
        token = self.get_query_argument("token", None)
        if token is not None and self.server.token is not None:
            # From now on by the cookie: the address that is in the history and in a screenshot has no secret in it.
            self.set_cookie(COOKIE, quote(token), httponly=True, samesite="Strict", path="/")
            self.redirect(self.request.path)
            return
        found = self.server.resources.get(path)
        if found is None:
            raise HTTPError(404)
        body = found.body
        self.set_header("Content-Type", found.kind)
        self.set_header("Vary", "Accept-Encoding")
        if found.anyone:
            self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        if "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            body = found.pressed
        self.finish(body)

    head = get


class _Stream(_Handler):
    """Server-sent events: the latest state, then each that follows, as fast as this viewer takes them."""

    async def get(self) -> None:
        board = self.server.board
        if board.viewers >= MOST_VIEWERS:
            self.set_status(503)
            self.set_header("Retry-After", "10")
            self.finish(f"503: {MOST_VIEWERS} viewers are here already\n")
            return
        self.set_header("Content-Type", "text/event-stream")
        board.joined(1)
        try:
            seen = 0
            while True:
                found = await board.following(seen, KEEP_ALIVE_S)
                if found is None:
                    self.write(b": still here\n\n")
                else:
                    seen, text = found
                    self.write(b"data: %b\n\n" % text)
                # Nothing more is written before this has left: what is in between is never held for a slow viewer.
                async with asyncio.timeout(STUCK_S):
                    await self.flush()
                if board.last is not None and seen >= board.last:
                    break
                await asyncio.sleep(REST_S)
        except (StreamClosedError, TimeoutError):
            self.request.connection.connection.close()  # type: ignore[union-attr]
        finally:
            board.joined(-1)
            self.server.left()


class _Metrics(_Handler):
    """The figures as Prometheus text, made in another thread when somebody asks."""

    async def get(self) -> None:
        if self.server.metrics is None:
            raise HTTPError(404)
        try:
            kind, body = await asyncio.to_thread(self.server.metrics)
        except PerfsuiteError as error:
            self.set_status(501)
            kind, body = "text/plain; charset=utf-8", f"501: {error}\n".encode()
        self.set_header("Content-Type", kind)
        self.finish(body)

    head = get


class Server:
    """Serves ``board`` and ``resources`` (by path) at ``listener`` from ``start`` to ``close``."""

    def __init__(self, listener: socket.socket, token: str | None, board: Board, resources: Resources) -> None:
        self.listener = listener
        self.token = token
        self.board = board
        self.resources = resources
        self.metrics: Callable[[], tuple[str, bytes]] | None = None
        """What /metrics shows, and its kind; None: there is no such page."""
        self.url = url_of(listener)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._empty: asyncio.Event | None = None
        self._ready = threading.Event()
        self._trouble: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="perfsuite-live", daemon=True)

    def start(self) -> None:
        """Serves from now on.  Raises PerfsuiteError where that cannot be."""
        self._thread.start()
        self._ready.wait()
        if self._trouble is not None:
            raise PerfsuiteError(f"the live page cannot be served: {self._trouble}") from self._trouble

    def close(self) -> None:
        """Ends it, once those who look have the last state, or after FAREWELL_S."""
        loop, over = self._loop, self._over
        if loop is not None and over is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(over.set)
            self._thread.join()
        self.listener.close()

    def admits(self, request: HTTPServerRequest) -> bool:
        """Whether a request shows the token, where there is one: in ?token=, the cookie, or as a bearer's."""
        if self.token is None:
            return True
        shown = [value.decode("utf-8", "replace") for value in request.query_arguments.get("token", [])]
        if COOKIE in request.cookies:
            shown.append(request.cookies[COOKIE].value)
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        shown += [bearer.strip()] if scheme.lower() == "bearer" else []
        known = {self.token.encode(), quote(self.token).encode()}
        return any(hmac.compare_digest(one.encode("utf-8", "replace"), token) for one in shown for token in known)

    def left(self) -> None:
        """A viewer has."""
        if self._empty is not None and not self.board.viewers:
            self._empty.set()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told by start(), or nobody is there to hear it
            self._trouble = error
        finally:
            self.board.serve_in(None)
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self.board.serve_in(self._loop)
        given: dict[str, object] = {"server": self}
        application = Application(
            [(r"/stream", _Stream, given), (r"/metrics", _Metrics, given), (r"/(.*)", _File, given)],
            log_function=lambda handler: None,
        )
        logging.getLogger("tornado.general").addHandler(logging.NullHandler())  # malformed requests are no news here
        server = HTTPServer(application, max_header_size=64 * 1024, max_body_size=1024, idle_connection_timeout=60)
        server.add_socket(self.listener)
        self._ready.set()
        await self._over.wait()
        server.stop()
        await self._emptied()
        await server.close_all_connections()
        await self._emptied()

    async def _emptied(self) -> None:
        """Waits until no viewer is left, or for FAREWELL_S."""
        self._empty = asyncio.Event()
        if self.board.viewers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL_S):
                    await self._empty.wait()
