"""A WebSocket over asyncio, for measuring: messages are stamped in the loop's read callback, before they are looked at.

Frames are read and written by ``websockets``, without its input and output (the extra ``[realtime]``): its own client
would hand on messages when a task of its own comes to them.  No compression is offered: what is stamped is what came.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perfsuite.errors import MissingExtra
from perfsuite.targets.base import Failure
from perfsuite.targets.http.client import CONTROL
from perfsuite.targets.http.dialling import Dialler
from perfsuite.targets.http.failures import network_failure, reason, status_failure

if TYPE_CHECKING:
    from websockets.client import ClientProtocol
    from websockets.frames import Frame
    from websockets.http11 import Response

    from perfsuite.targets.http.address import Address

STAMPED = "asyncio, WebSocket messages stamped in the read callback"
LARGEST_MESSAGE = 8 << 20
MOST_UNREAD = 4 << 20
NORMAL = 1000

Message = tuple[bytes, int]
"""A message's payload and the stamp of its last byte's arrival (``time.monotonic_ns``)."""


def needed(what: str) -> None:
    """Raises MissingExtra where ``websockets`` is not installed."""
    try:
        import websockets.client  # noqa: F401
    except ImportError as error:
        raise MissingExtra("websockets", "realtime", what) from error


class Socket(asyncio.Protocol):
    """A connection.  ``closed``: no more messages come but those that wait; ``ending`` says why."""

    def __init__(self, protocol: ClientProtocol) -> None:
        self._protocol = protocol
        self._transport: asyncio.Transport | None = None
        self._messages: deque[Message] = deque()
        self._parts: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._waiting: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        self.response: Response | None = None
        self.closed = False
        self.anything = False
        """A byte came since the last write."""
        self.resting = False
        """Nobody waits for messages: those that come are nobody's."""

    # ── what comes ────────────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self.closed:
            return
        self.anything = True
        self._protocol.receive_data(data)
        self._events(now)

    def eof_received(self) -> None:
        if not self.closed:
            self._protocol.receive_eof()
            self._events(time.monotonic_ns())
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed:
            self._lost = exc
        self._end()

    def _events(self, now: int) -> None:
        for event in self._protocol.events_received():
            if hasattr(event, "status_code"):
                self.response = event  # type: ignore[assignment]  # a Response, by what it has
                self._wake()
            else:
                self._frame(event, now)  # type: ignore[arg-type]  # what is no Response is a Frame
        self._flush()
        protocol = self._protocol
        if protocol.parser_exc is not None or protocol.close_rcvd is not None or protocol.handshake_exc is not None:
            self._end()
            if self._transport is not None:
                self._transport.close()  # once what is to be said in farewell has gone

    def _frame(self, frame: Frame, now: int) -> None:
        opcode = int(frame.opcode)
        if opcode > 2:  # a ping, which is answered already, a pong, or the close
            return
        self._parts.append(bytes(frame.data))
        if not frame.fin:
            return
        payload = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        if self.resting:
            return
        self._messages.append((payload, now))
        self._unread += len(payload)
        if self._unread > MOST_UNREAD and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def _end(self) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _change(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    async def take(self) -> list[Message]:
        """All messages that came, at least one; none when the connection has ended."""
        while not self._messages:
            if self.closed:
                return []
            await self._change()
        found = list(self._messages)
        self._messages.clear()
        self._unread = 0
        if self._paused and self._transport is not None and not self.closed:
            self._transport.resume_reading()
            self._paused = False
        return found

    # ── what goes ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self, messages: Sequence[bytes]) -> None:
        """Sends messages of text together; what goes wrong is told by ``take``."""
        self.anything = False
        if self.closed:
            return
        for one in messages:
            self._protocol.send_text(one)
        self._flush()

    def _flush(self) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Closes with a farewell, without waiting for the other's."""
        if not self.closed and self.response is not None:
            self._protocol.send_close(NORMAL)
            self._flush()
        self._end()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self._end()
        if self._transport is not None:
            self._transport.abort()

    # ── its handshake and its end ─────────────────────────────────────────────────────────────────────────────────────

    async def shake(self, headers: Sequence[tuple[str, str]], where: str) -> None:
        """The opening handshake.  Raises Failure."""
        request = self._protocol.connect()
        for name, value in headers:
            if CONTROL.search(value) is not None:
                raise Failure("target", f"the header {name} has a control character in it; correct its value")
            try:
                value.encode("latin-1")
            except UnicodeEncodeError as error:
                raise Failure("target", f"the header {name} has a character outside of Latin-1") from error
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()
        while self.response is None and not self.closed:
            await self._change()
        response, trouble = self.response, self._protocol.handshake_exc
        if response is not None and response.status_code != 101:
            fields = {name.lower(): value for name, value in response.headers.raw_items()}
            body = bytes(response.body or b"")
            raise status_failure(response.status_code, response.reason_phrase, fields, body, where)
        if self._lost is not None and trouble is None:
            raise network_failure(self._lost, where)
        if trouble is not None or response is None:
            if not self.anything:
                raise Failure("closed", f"{where}: the server closed the connection without an answer")
            cause = trouble.__cause__ if trouble is not None and trouble.__cause__ is not None else trouble
            said = reason(cause) if cause is not None else "it was cut short"
            raise Failure("protocol", f"{where}: no WebSocket answers there: {said}; is it the right port and path?")

    def ending(self, where: str, begun: str) -> Failure:
        """Why it is closed.  ``begun``: what of the answer had come; empty: nothing."""
        from websockets.exceptions import PayloadTooBig, ProtocolError

        protocol, trouble = self._protocol, self._protocol.parser_exc
        if isinstance(trouble, PayloadTooBig):
            return Failure("too_large", f"{where}: a message is larger than {LARGEST_MESSAGE >> 20} MiB")
        if isinstance(trouble, ProtocolError | UnicodeDecodeError):
            return Failure("protocol", f"{where}: what came is no WebSocket frame: {reason(trouble)}")
        if self._lost is not None:
            failure = network_failure(self._lost, where)
            return failure if failure.kind == "timeout" else Failure("reset", str(failure))
        if protocol.close_rcvd is not None:
            code, said = protocol.close_rcvd.code, protocol.close_rcvd.reason
            how = f"the server said goodbye ({code}{f': {said}' if said else ''})"
        else:
            how = "the server closed the connection"
        if begun:
            return Failure("incomplete", f"{where}: {how} after {begun}")
        return Failure("closed", f"{where}: {how} without an answer")


async def connect(dialler: Dialler, path: str, headers: Sequence[tuple[str, str]], where: str) -> Socket:
    """A connection whose handshake is done.  Raises Failure."""
    from websockets.client import ClientProtocol
    from websockets.uri import parse_uri

    uri = parse_uri(url_of(dialler.address, path))
    socket = await dialler.connect(lambda: Socket(ClientProtocol(uri, max_size=LARGEST_MESSAGE)))
    try:
        await socket.shake(headers, where)
    except BaseException:
        socket.abort()
        raise
    return socket


def url_of(address: Address, path: str) -> str:
    """The URL of a path at an address."""
    return f"{address.scheme}://{address.authority}{path}"
