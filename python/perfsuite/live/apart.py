"""The page's server in a process of its own, and what the measured process tells it.

A server beside a load takes the interpreter from what drives it: sends are late, and the figures are its as well.  So
this process keeps the socket pair and nothing else of it: what is new is written as it comes, never waited for.  A
server that dies costs the run its page, and a line that says so.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from perfsuite.errors import PerfsuiteError
from perfsuite.live.frames import Message, Unframed, framed
from perfsuite.live.opening import url_of
from perfsuite.pythonpath import VARIABLE, joined, package

START_S = 180.0
"""For the server to make its page and to listen."""
LAST_S = 30.0
"""For the server to take the last state, and for viewers to get it."""
ROOM_S = 1.0
"""How long room in the socket is waited for before it is looked whether there still is one."""
PIECE = 1 << 16


class Apart:
    """Has ``put`` and ``end`` of a Board, which may be called from any thread; the page ends with ``close``.

    ``viewers`` is how many look, as the server has said.  ``say`` gets a line where the server dies before the end.
    """

    def __init__(
        self, listener: socket.socket, token: str | None, title: str, say: Callable[[str], object], **first: object
    ) -> None:
        """Starts a server at ``listener``, which is this process's no more.  Raises PerfsuiteError where none comes."""
        self.url = url_of(listener)
        self._say = say
        self._viewers = 0
        self._heard = Unframed()
        self._trouble: str | None = None
        self._ended = self._gone = self._told = False
        self._lock = threading.Lock()
        self._pending: Message = {}
        self._rest = memoryview(b"")
        self._sending = False
        self._sender: threading.Thread | None = None
        """What waits for a socket that was full, if there was one."""
        self._socket, theirs = socket.socketpair()
        with listener, theirs:
            command = "from perfsuite.live.child import child; child()"
            self._process = subprocess.Popen(
                [sys.executable, "-c", command, str(theirs.fileno()), str(listener.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), listener.fileno()), process_group=0,  # Ctrl-C is for the run, which ends it
                env={**os.environ, VARIABLE: joined([package()])},
            )  # fmt: skip
        try:
            self._socket.settimeout(START_S)
            self._socket.sendall(framed({"token": token, "title": title, "state": first}))
            while not self._take(self._socket.recv(PIECE)) and not self._gone:
                pass
            self._socket.setblocking(False)
        except TimeoutError:
            self._trouble, self._gone = f"nothing was heard of its server for {START_S:g} s", True
        except OSError:  # it has hung up
            self._gone = True
        if self._gone:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.0 if self._trouble else START_S)  # for how it ends
            self._over()
            raise PerfsuiteError(f"the live page cannot be served: {self._trouble or self._why()}")

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def viewers(self) -> int:
        """As the server has said; the least that can be done where nobody looks."""
        while not self._gone:
            try:
                self._take(self._socket.recv(PIECE))
            except BlockingIOError:
                break
            except OSError:
                self._gone = True
        if self._gone and not self._told and self._process.poll() is not None:
            self._tell()
        return 0 if self._gone else self._viewers

    def put(self, **parts: object) -> None:
        """Replaces parts of what is shown, until the end.

        Nothing is waited for: what the socket does not take now is seen to by a thread, with all that comes meanwhile.
        """
        with self._lock:
            if self._ended or self._gone:
                return
            self._ended = "ended" in parts
            self._pending.update(parts)
            if self._sending:
                return
            self._sending = True
        if not self._send():
            self._sender = threading.Thread(target=self._send, args=(True,), name="perfsuite-live", daemon=True)
            self._sender.start()

    def end(self, said: str, **parts: object) -> None:
        """Puts the last state, in which ``ended`` is what is said of the end.  Only the first end counts."""
        self.put(**parts, ended=said)

    def close(self) -> None:
        """Ends the server, once those who look have the last state."""
        deadline = time.monotonic() + LAST_S
        if self._sender is not None:
            self._sender.join(LAST_S)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._trouble = f"it did not end within {LAST_S:g} s and was killed"
        self._over()
        if self._process.returncode and not self._told:
            self._tell()

    def _send(self, patient: bool = False) -> bool:
        """Sends what there is; False when the socket is full, and then it is still for the caller to be sent."""
        while True:
            if not self._rest:
                with self._lock:
                    if not self._pending or self._gone:
                        self._sending = False
                        return True
                    message, self._pending = self._pending, {}
                self._rest = memoryview(framed(message))
            try:
                self._rest = self._rest[self._socket.send(self._rest) :]
            except BlockingIOError:
                if not patient:
                    return False
                select.select([], [self._socket], [], ROOM_S)
            except (OSError, ValueError):  # the server's end is closed; this one, while the thread waited
                self._gone, self._rest = True, memoryview(b"")

    def _take(self, piece: bytes) -> bool:
        """What the server says; whether it serves."""
        if not piece:
            self._gone = True
        ready = False
        for message in self._heard.feed(piece):
            self._viewers = message.get("viewers", self._viewers)
            self._trouble = message.get("trouble", self._trouble)
            ready = ready or "viewers" in message
        return ready

    def _over(self) -> None:
        self._gone = True
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._socket.close()

    def _tell(self) -> None:
        self._told = True
        self._say(f"the live page has ended: {self._trouble or self._why()}; what is measured is whole without it")

    def _why(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"
