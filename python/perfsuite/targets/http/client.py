"""HTTP/1.1 over asyncio, for measuring: bytes are stamped in the loop's read callback, before anything looks at them.

Connections are kept.  A server may close one that it said it would keep; that is seen only when the next request is on
its way.  Such a request is sent again, on a new connection and only if not one byte of an answer came, and counted
(``retried``); on a new connection the same is a failure.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from perfsuite._core import ResponseParser
from perfsuite.targets.base import Failure
from perfsuite.targets.http.address import Address
from perfsuite.targets.http.dialling import Dialler
from perfsuite.targets.http.failures import network_failure
from perfsuite.targets.http.splitting import StreamKind

MOST_UNREAD = 1 << 20
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What a header must not have in it."""

Chunk = tuple[bytes, int]
"""Bytes as they came and the stamp of their arrival (``time.monotonic_ns``)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request.  ``path`` is the whole target of the request line; ``stream`` how the answer is split.

    ``headers`` may hold keys: they are in no repr.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    stream: StreamKind = "sse"

    def __repr__(self) -> str:
        return f"Call({self.method} {self.path}, {len(self.body)} bytes)"


class Answer(Protocol):
    """An answer whose head is in.  ``read`` gives the next pieces of its body, nothing at its end."""

    @property
    def status(self) -> int: ...

    @property
    def phrase(self) -> str: ...

    @property
    def headers(self) -> dict[str, str]: ...

    async def read(self) -> list[Chunk]: ...

    def release(self) -> None:
        """The answer is done with: its connection is kept if it was read to its end, else closed."""


class Client(Protocol):
    """What sends calls to one service.  ``transport`` says how, for the result."""

    @property
    def transport(self) -> str: ...

    @property
    def retried(self) -> int: ...

    async def send(self, call: Call, on_sent: Callable[[], object]) -> Answer: ...

    async def close(self) -> None: ...


class Connection(asyncio.Protocol):
    """A socket whose arrivals wait, stamped, for whoever reads them."""

    def __init__(self) -> None:
        self.parser = ResponseParser()
        self.received: deque[Chunk] = deque()
        self.unread = 0
        self.anything = False
        """A byte came since the last request began."""
        self.closed = False
        self.lost: Exception | None = None
        self.on_idle: Callable[[], None] | None = None
        """Called when something happens to a connection that waits for its next request."""
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.received.append((data, time.monotonic_ns()))
        self.anything = True
        self.unread += len(data)
        if self.unread > MOST_UNREAD and not self._paused and self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.lost = exc
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        if self.on_idle is not None:
            self.on_idle()

    def write(self, data: bytes) -> None:
        """Sends; what goes wrong is told by ``take``."""
        self.anything = False
        self.parser.begin()
        if self._transport is not None:
            self._transport.write(data)

    async def take(self) -> list[Chunk]:
        """Everything that came, at least one chunk; nothing when the connection ended.  Raises what ended it."""
        while not self.received:
            if self.closed:
                if self.lost is not None:
                    raise self.lost
                return []
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        chunks = list(self.received)
        self.received.clear()
        self.unread = 0
        if self._paused and self._transport is not None and not self.closed:
            self._transport.resume_reading()
            self._paused = False
        return chunks

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()


class DirectAnswer:
    """An answer on a connection of the pool."""

    def __init__(self, client: DirectClient, connection: Connection, where: str) -> None:
        self._client = client
        self._connection: Connection | None = connection
        self._where = where
        self._parser = connection.parser
        self._pending: list[Chunk] = []
        self.status = 0
        self.phrase = ""
        self.headers: dict[str, str] = {}

    async def head(self) -> None:
        """Reads until the head is in."""
        while not self._parser.status:
            self._pending += await self._more()
        self.status = self._parser.status
        self.phrase = phrase_of(self.status)
        self.headers = self._parser.headers

    async def read(self) -> list[Chunk]:
        """The next pieces of the body; nothing at its end."""
        found, self._pending = self._pending, []
        while not found and not self._parser.done:
            found = await self._more()
        return found

    async def _more(self) -> list[Chunk]:
        connection, parser = self._connection, self._parser
        assert connection is not None
        try:
            chunks = await connection.take()
            if not chunks:
                if parser.close():
                    return []
                raise self._cut(connection)
            for data, at_ns in chunks:
                parser.feed(data, at_ns)
            return [(part, at_ns) for at_ns, part in parser.take()]
        except ValueError as error:
            hint = "" if parser.status else "; is it the right port, and the right scheme?"
            raise Failure("protocol", f"{self._where}: {error}{hint}") from error
        except OverflowError as error:
            raise Failure("too_large", f"{self._where}: {error}") from error
        except OSError as error:
            if isinstance(error, ssl.SSLError) and not parser.status:
                raise network_failure(error, self._where) from error
            if isinstance(error, ssl.SSLError):
                raise self._cut(connection) from error
            failure = network_failure(error, self._where)
            raise (failure if failure.kind == "timeout" else Failure("reset", str(failure))) from error

    def _cut(self, connection: Connection) -> Failure:
        if not connection.anything:
            return Failure("closed", f"{self._where}: the server closed the connection without an answer")
        what = "in its body" if self._parser.status else "in its head"
        return Failure("incomplete", f"{self._where}: the answer was cut short {what}")

    def release(self) -> None:
        """Gives the connection back."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        parser = self._parser
        if parser.keep_alive and not connection.closed and not connection.received:
            self._client.keep(connection)
        else:
            connection.abort()


class DirectClient:
    """Connections to one service, made as they are needed and kept."""

    transport = "asyncio, stamped in the read callback"

    def __init__(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.retried = 0
        self._dialler = Dialler(address, context)
        self._idle: list[Connection] = []

    @property
    def connections(self) -> int:
        """Connections made so far."""
        return self._dialler.connections

    async def send(self, call: Call, on_sent: Callable[[], object]) -> Answer:
        """Sends a call and awaits the head of its answer.  ``on_sent`` is called once, as the request leaves.

        Raises Failure.
        """
        data = rendered(call, self.address)
        where = f"{call.method} {self.address.scheme}://{self.address.authority}{call.path}"
        first = True
        while True:
            kept = self._kept() if first else None
            connection = kept or await self._dialler.connect(Connection)
            answer = DirectAnswer(self, connection, where)
            try:
                if first:
                    on_sent()
                first = False
                connection.write(data)
                await answer.head()
            except Failure as failure:
                answer.release()
                if kept is not None and not connection.anything and failure.kind in ("reset", "closed", "tls"):
                    self.retried += 1
                    continue
                raise
            except BaseException:
                answer.release()
                raise
            return answer

    def keep(self, connection: Connection) -> None:
        """Keeps a connection for the next call, unless something happens to it meanwhile."""

        def drop() -> None:
            connection.on_idle = None
            if connection in self._idle:
                self._idle.remove(connection)
            connection.abort()

        connection.on_idle = drop
        self._idle.append(connection)

    def _kept(self) -> Connection | None:
        if not self._idle:
            return None
        connection = self._idle.pop()
        connection.on_idle = None
        return connection

    async def close(self) -> None:
        """Closes what is kept."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.on_idle = None
            connection.abort()
        await asyncio.sleep(0)  # lets the transports close their sockets


def phrase_of(status: int) -> str:
    """What a status means in words; nothing for one that is nobody's."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def rendered(call: Call, address: Address) -> bytes:
    """The bytes of a request.  Raises Failure for a header that would be two."""
    lines = [f"{call.method} {call.path} HTTP/1.1", f"Host: {address.authority}"]
    for name, value in call.headers:
        if CONTROL.search(value) is not None:
            raise Failure("target", f"the header {name} has a control character in it; correct its value")
        lines.append(f"{name}: {value}")
    if call.body or call.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(call.body)}")
    head = "\r\n".join([*lines, "", ""])
    try:
        return head.encode("latin-1") + call.body
    except UnicodeEncodeError as error:
        raise Failure("target", "a header has a character outside of Latin-1; correct its value") from error
