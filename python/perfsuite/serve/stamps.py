"""The kernel's own stamps of what came and what left, on the monotonic clock.

``SO_TIMESTAMPING`` (Linux, Documentation/networking/timestamping.rst) tells when the kernel received the last byte
that a ``recvmsg`` returned, and, through the socket's error queue, when it handed each send to the device.  A process
that is scheduled late reads late; the stamps are right all the same.  They are in real time: bracketed pairs of clock
readings convert them, and those that span a step of the clock are dropped and counted.

Receive stamping starts a moment after it is switched on anywhere on the machine, so the listening socket switches it
on; accepted sockets inherit it.  The byte counter of the send stamps (``OPT_ID``) starts at 0 on a fresh connection.
"""

from __future__ import annotations

import socket
import struct
import time

SO_TIMESTAMPING = 37
TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, OPT_TSONLY = 1 << 1, 1 << 3, 1 << 4, 1 << 7, 1 << 11
MSG_ERRQUEUE = getattr(socket, "MSG_ERRQUEUE", 0x2000)
RECVERR = {(0, 11), (41, 25)}
"""(level, type) of IP_RECVERR and IPV6_RECVERR."""

_TIMESPEC = struct.Struct("qq")
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ORIGIN_TIMESTAMPING = 4
_STAMP_BYTES = 48
CONTROL_BYTES = socket.CMSG_SPACE(_STAMP_BYTES) + socket.CMSG_SPACE(64)

SECOND = 1_000_000_000
KEY_MASK = 0xFFFFFFFF
REFRESH_NS = 100_000_000
STEP_NS = 200_000
"""The clocks drift by nothing (both are slewed alike): a change beyond the reading's noise is a step."""
OLDEST_NS = 60 * SECOND


class Stamps:
    """Switches stamping on, and converts stamps.  Counts what came by which way."""

    def __init__(self, *, receive: bool = True, send: bool = True) -> None:
        self.receive = receive and hasattr(socket, "CMSG_SPACE")
        self.send = send and self.receive
        self.steps = 0
        self.received_kernel = 0
        self.received_process = 0
        self._offset_ns = 0
        self._read_ns = -REFRESH_NS
        self._known = False

    def listen(self, listener: socket.socket) -> None:
        """Switches receive stamps on for a listening socket and all that it accepts."""
        if not self.receive:
            return
        try:
            listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE)
        except OSError:
            self.receive = self.send = False

    def accept(self, connection: socket.socket) -> bool:
        """Switches send stamps on for a fresh connection; whether they are."""
        if not self.send:
            return False
        try:
            connection.setsockopt(
                socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE | TX_SOFTWARE | OPT_ID | OPT_TSONLY
            )
        except OSError:
            self.send = False
        return self.send

    def received(self, ancillary: list[tuple[int, int, bytes]]) -> tuple[int, bool]:
        """(instant, by the kernel): when what was just read had arrived, else now, after the read."""
        now = time.monotonic_ns()
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING and len(data) >= _STAMP_BYTES:
                at = self.convert(data, now)
                if at is not None:
                    self.received_kernel += 1
                    return at, True
        self.received_process += 1
        return now, False

    def convert(self, data: bytes, now: int) -> int | None:
        """A stamp on the monotonic clock; None for none, or one across a step of the clock."""
        seconds, nanoseconds = _TIMESPEC.unpack_from(data)
        if not seconds:
            return None
        if now - self._read_ns >= REFRESH_NS and not self._refresh():
            return None
        at: int = seconds * SECOND + nanoseconds - self._offset_ns
        if now - OLDEST_NS < at < now + STEP_NS:
            return min(at, now)
        self.steps += 1  # real time was set since the offset was read
        self._read_ns = -REFRESH_NS
        return None

    def _refresh(self) -> bool:
        """Reads both clocks, three times, and keeps the tightest; False when real time was set since the last time."""
        best, offset = 1 << 62, 0
        for _ in range(3):
            before = time.monotonic_ns()
            real = time.time_ns()
            after = time.monotonic_ns()
            if after - before < best:
                best, offset = after - before, real - (before + after) // 2
        self._read_ns = time.monotonic_ns()
        stepped = self._known and abs(offset - self._offset_ns) > STEP_NS + best
        self._known, self._offset_ns = True, offset
        if stepped:
            self.steps += 1
        return not stepped

    def sent(self, connection: socket.socket) -> list[tuple[int, int]]:
        """Takes what the error queue has: (offset of the last byte of a send modulo 2**32, its instant)."""
        found: list[tuple[int, int]] = []
        while True:
            try:
                _, ancillary, _, _ = connection.recvmsg(0, CONTROL_BYTES, MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except OSError:  # BlockingIOError: it is empty; any other error is the connection's and met again there
                return found
            if not ancillary:
                return found
            key, stamp = -1, b""
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING:
                    stamp = data
                elif (level, kind) in RECVERR and len(data) >= _EXTENDED_ERROR.size:
                    _, origin, _, _, _, _, number = _EXTENDED_ERROR.unpack_from(data)
                    if origin == _ORIGIN_TIMESTAMPING:
                        key = number
            if key >= 0 and len(stamp) >= _STAMP_BYTES:
                at = self.convert(stamp, time.monotonic_ns())
                if at is not None:
                    found.append((key, at))
