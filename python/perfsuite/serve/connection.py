"""One client's socket: reads with the kernel's stamps, TLS by memory, writes with back-pressure.

Not asyncio's transports: they read with ``recv``, which has no stamps, and TLS over them hides the socket altogether.
While an answer over HTTP is under way the socket is not watched for input.  So the error queue, which brings the stamps
of what was sent, wakes nobody and is emptied every few tokens; a client that leaves is met at the next send.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from perfsuite.serve.http import BadRequest, Request, RequestParser
from perfsuite.serve.stamps import CONTROL_BYTES, KEY_MASK, Stamps

if TYPE_CHECKING:
    from perfsuite.serve.truth import Record

READ_BYTES = 65_536
LINGER_RESET = struct.pack("ii", 1, 0)

Receive = Callable[[bytes, int, bool], None]
"""Takes bytes, when they had come, and whether the kernel says so."""


class Host(Protocol):
    """What a connection needs of its server."""

    stamps: Stamps

    def handle(self, connection: Connection, request: Request, received_ns: int, by_kernel: bool) -> None:
        """Answers a request, and calls ``finish`` when that is done."""

    def refuse(self, connection: Connection, error: BadRequest) -> None:
        """Answers what is no request."""

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""


class Gone(ConnectionError):
    """The client has left."""


class Connection:
    """A connection.  ``idle_since`` is when it last began to wait for bytes."""

    def __init__(self, host: Host, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self.sock = sock
        self.stamped = host.stamps.accept(sock)
        self.sent_bytes = 0
        self.closed = False
        self.idle_since = time.monotonic()
        self.when_drained: Callable[[], None] | None = None
        self.when_lost: Callable[[], None] | None = None
        self._backlog = bytearray()
        self._unsettled: tuple[Record, Callable[[], None]] | None = None
        self._under_way: Record | None = None
        self._receive: Receive | None = None
        self._busy = False
        self._ended = False
        self._parser = RequestParser()
        self._last_received = (time.monotonic_ns(), False)
        self.secure = context is not None
        self._handshaken = context is None
        if context is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._loop.add_reader(sock, self._readable)

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self._busy

    @property
    def partial(self) -> bool:
        """Whether a request has begun and not ended, or the handshake has not."""
        return not self._busy and (self._parser.partial or not self._handshaken)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _readable(self) -> None:
        try:
            data, ancillary, _, _ = self.sock.recvmsg(READ_BYTES, CONTROL_BYTES)
        except (BlockingIOError, InterruptedError):
            if self.stamped:
                self.collect()  # late stamps woke it
            return
        except OSError:
            self.close()
            return
        if not data:
            self._ended = True
            self.close()
            return
        self._last_received = self._host.stamps.received(ancillary)
        self.idle_since = time.monotonic()
        if self.secure:
            try:
                data = self._decrypt(data)
            except (ssl.SSLError, OSError):
                self.close()
                return
        if data and self._receive is not None:
            self._receive(data, *self._last_received)
        elif data:
            self._parser.feed(data)
            self._next()
        elif self._ended:
            self.close()

    def _decrypt(self, data: bytes) -> bytes:
        self._incoming.write(data)
        plain = bytearray()
        try:
            if not self._handshaken:
                self._tls.do_handshake()
                self._handshaken = True
            while True:
                piece = self._tls.read(READ_BYTES)
                if not piece:
                    self._ended = True
                    break
                plain += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True
        finally:
            if self._outgoing.pending:
                self._push(self._outgoing.read())
        return bytes(plain)

    def _next(self) -> None:
        """Hands on the next request, if it is whole."""
        try:
            request = self._parser.take()
        except BadRequest as error:
            self._begin()
            self._host.refuse(self, error)
            return
        if request is None:
            if self._parser.wants_continue():
                try:
                    self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                except Gone:
                    return
            return
        self._begin()
        self._host.handle(self, request, *self._last_received)

    def _begin(self) -> None:
        self._busy = True
        self._loop.remove_reader(self.sock)
        if self._unsettled is not None:
            self.collect()
            self.settle_now()

    def upgrade(self, receive: Receive) -> None:
        """No more requests: from now on ``receive`` is given what comes, while something is sent too."""
        self._receive = receive
        self._busy = False
        self._loop.add_reader(self.sock, self._readable)
        rest = self._parser.rest()
        if rest:
            receive(rest, *self._last_received)

    def answering(self, record: Record | None) -> None:
        """An upgraded connection's answer is under way: the kernel's stamps are its record's.  None: none is."""
        if record is not None and self._unsettled is not None:
            self.collect()
            self.settle_now()
        self._busy = record is not None
        self._under_way = record

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, data: bytes) -> bool:
        """Hands ``data`` to the kernel; False when part of it has to wait: ``when_drained`` is called when it went.

        Raises Gone when the client has left.
        """
        if self.closed:
            raise Gone("the connection is closed")
        if self.secure:
            try:
                self._tls.write(data)
            except (ssl.SSLError, OSError) as error:
                self.close()
                raise Gone(str(error)) from error
            data = self._outgoing.read()
        return self._push(data)

    def _push(self, data: bytes) -> bool:
        if self._backlog:
            self._backlog += data
            return False
        try:
            count = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            count = 0
        except OSError as error:
            self.close()
            raise Gone(str(error)) from error
        self.sent_bytes += count
        if count == len(data):
            return True
        self._backlog += memoryview(data)[count:]
        self._loop.add_writer(self.sock, self._writable)
        return False

    def _writable(self) -> None:
        try:
            count = self.sock.send(memoryview(self._backlog)[: 1 << 20])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        self.sent_bytes += count
        del self._backlog[:count]
        if not self._backlog:
            self._loop.remove_writer(self.sock)
            self._drained()

    def _drained(self) -> None:
        waiting, self.when_drained = self.when_drained, None
        if waiting is not None:
            waiting()

    async def write(self, data: bytes) -> None:
        """As ``send``, and waits until all of it is with the kernel."""
        if not self.send(data):
            future = self._loop.create_future()
            self.when_drained = lambda: None if future.done() else future.set_result(None)
            try:
                await future
            finally:
                self.when_drained = None
            if self.closed:
                raise Gone("the client has left")

    def key(self) -> int:
        """The kernel's number for the stamp of what was sent last; -1 where it takes none."""
        return (self.sent_bytes - 1) & KEY_MASK if self.stamped else -1

    def settle(self, record: Record) -> None:
        """Takes the kernel's stamps so far into a record."""
        if self.stamped and not self.closed:
            record.settle(self._host.stamps.sent(self.sock))

    def settle_later(self, record: Record, settled: Callable[[], None]) -> None:
        """Calls ``settled`` when all the record's stamps are there, or none will come any more."""
        self._unsettled = (record, settled)

    def collect(self) -> None:
        """Takes what stamps there are for the answer that was given last."""
        if self._unsettled is None:
            if self._under_way is not None:
                self.settle(self._under_way)
            elif not self.closed:
                self._host.stamps.sent(self.sock)
            return
        self.settle(self._unsettled[0])
        if not self._unsettled[0].awaits:
            self.settle_now()

    def settle_now(self) -> None:
        """The stamps that are there have to do."""
        unsettled, self._unsettled = self._unsettled, None
        if unsettled is not None:
            unsettled[1]()

    # ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self, keep_alive: bool) -> None:
        """An answer is complete: waits for the next request, or closes once all is sent."""
        self._busy = False
        if self.closed:
            return
        if not keep_alive:
            if self._backlog:
                self._busy = True
                self.when_drained = self.shut
            else:
                self.shut()
            return
        self.idle_since = time.monotonic()
        self._loop.add_reader(self.sock, self._readable)
        if self._parser.partial:
            self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        if not self._busy and not self.closed:
            self._next()

    def shut(self) -> None:
        """Closes in order: over TLS with its farewell; what the client still sends is not answered by RST at once."""
        if self.closed:
            return
        if self.secure and self._handshaken:
            with suppress(ssl.SSLError, OSError, ValueError):
                self._tls.unwrap()  # it fails for want of the client's farewell, which is not needed
            try:
                if self._outgoing.pending:
                    self._push(self._outgoing.read())
            except Gone:
                return
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while self.sock.recv(READ_BYTES):
                pass  # what is unread would turn the close into a reset that takes the answer with it
        except OSError:
            pass
        self.close()

    def reset(self) -> None:
        """Closes with RST."""
        if not self.closed:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            self.close()

    def close(self) -> None:
        """Closes now; whoever waits is told."""
        if self.closed:
            return
        if self._unsettled is not None:
            self.collect()
            self.settle_now()
        self.closed = True
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        self.sock.close()
        self._backlog.clear()
        self._host.forget(self)
        lost, self.when_lost = self.when_lost, None
        if lost is not None:
            lost()
        self._drained()
