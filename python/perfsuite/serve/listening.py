"""The socket that a server listens at, and the connections that it accepted."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from typing import TYPE_CHECKING

from perfsuite.errors import UsageError
from perfsuite.serve.connection import Connection, Host

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

BACKLOG = 4096
ACCEPTED_AT_ONCE = 128
HEAD_TIMEOUT_S = 60.0
SWEEP_S = 5.0


class Listening:
    """Listens at ``address`` once it is opened, and accepts connections for ``host``.  Of the running loop.

    ``url`` is where; ``connections`` are those that are open; ``refused`` is called for each that could not be had.
    """

    def __init__(
        self,
        host: Host,
        address: str,
        port: int,
        *,
        context: ssl.SSLContext | None = None,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.connections: set[Connection] = set()
        self.url = ""
        self._host = host
        self._refused = refused
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._bound = self._bind(address, port)

    def _bind(self, address: str, port: int) -> socket.socket:
        """A listening socket.  Raises UsageError when the address cannot be had."""
        try:
            found = socket.getaddrinfo(
                address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
            )
            family, _, _, _, place = found[0]
            listener = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise UsageError(f"--host {address}: {error.strerror}; name an address of this machine") from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            raise UsageError(
                f"--host {address} --port {port}: {error.strerror}; name a free port, or 0 for any"
            ) from error
        self._host.stamps.listen(listener)
        name, port = listener.getsockname()[:2]
        shown = f"[{name}]" if ":" in name else name
        self.url = f"{'https' if self._context else 'http'}://{shown}:{port}"
        return listener

    def open(self) -> None:
        """Accepts from now on."""
        self._socket = self._bound
        self._loop.add_reader(self._socket, self._accept)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)

    def stop(self) -> None:
        """Accepts no more; the connections stay."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket = None
        self._bound.close()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def close(self) -> None:
        """Closes the connections too."""
        self.stop()
        for connection in list(self.connections):
            connection.close()

    def _accept(self) -> None:
        assert self._socket is not None
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._refused()
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._rest(error)
                return
            sock.setblocking(False)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:
                sock.close()
                continue
            self.connections.add(Connection(self._host, sock, self._context))

    def _rest(self, error: OSError) -> None:
        """Out of descriptors: others wait in the kernel's queue until some are closed."""
        print(f"perfsuite: cannot accept more connections: {error.strerror}; raise ulimit -n", file=sys.stderr)
        self._loop.remove_reader(self._bound)
        self._loop.call_later(0.1, self._accept_again)

    def _accept_again(self) -> None:
        if self._socket is not None:
            self._loop.add_reader(self._socket, self._accept)

    def _sweep(self) -> None:
        """Closes connections whose request does not come to an end."""
        late = time.monotonic() - HEAD_TIMEOUT_S
        for connection in list(self.connections):
            if connection.partial and connection.idle_since < late:
                connection.close()
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)
