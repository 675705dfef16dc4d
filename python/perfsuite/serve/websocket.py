"""A connection that was HTTP and is a WebSocket: the handshake answered, text framed, what comes taken apart.

``websockets`` reads and writes the frames (the extra ``[realtime]``); the socket stays the server's, with its stamps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfsuite.errors import MissingExtra
from perfsuite.serve.connection import Gone
from perfsuite.serve.http import BadRequest

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

    from perfsuite.serve.connection import Connection
    from perfsuite.serve.http import Request

LARGEST_MESSAGE = 16 << 20
NORMAL = 1000


class WebSocket:
    """The frames of one connection.  Raises MissingExtra where ``websockets`` is not installed, BadRequest for what is
    no handshake."""

    def __init__(self, connection: Connection, request: Request) -> None:
        try:
            from websockets.datastructures import Headers
            from websockets.http11 import Request as Handshake
            from websockets.server import ServerProtocol
        except ImportError as error:
            raise MissingExtra("websockets", "realtime", f"{request.path} of this server") from error
        self._connection = connection
        self._protocol: ServerProtocol = ServerProtocol(max_size=LARGEST_MESSAGE)
        fields = Headers()
        for name, value in request.headers.items():
            if name not in ("content-length", "transfer-encoding"):  # the handshake has no body
                fields[name] = value
        self._protocol.receive_data(Handshake(request.path, fields).serialize())
        events = self._protocol.events_received()
        if not events or not isinstance(events[0], Handshake):
            raise BadRequest(400, f"this is no handshake of a WebSocket: {self._protocol.handshake_exc}")
        response = self._protocol.accept(events[0])
        self.status = response.status_code
        self._protocol.send_response(response)
        self.answer = b"".join(self._protocol.data_to_send())
        """The handshake's, as it is sent: 101, or what is wrong with it."""
        self.held = False
        """Bytes of a frame are on their way one by one: nothing may come between them."""
        self._parts: list[bytes] = []

    @property
    def over(self) -> bool:
        """Nothing more is to be sent."""
        return self._protocol.eof_sent

    def _check(self) -> None:
        if self._protocol.state.name != "OPEN":
            raise Gone("the client has said goodbye")

    def received(self, data: bytes) -> list[bytes]:
        """The messages that are complete with these bytes; pings and the close are answered.  Raises Gone."""
        if self.over:
            return []
        self._protocol.receive_data(data)
        found = []
        for frame in self._protocol.events_received():
            opcode = int(getattr(frame, "opcode", 8))
            if opcode > 2:
                continue
            self._parts.append(bytes(frame.data))  # type: ignore[union-attr]  # it has an opcode: a frame
            if frame.fin:  # type: ignore[union-attr]
                found.append(b"".join(self._parts))
                self._parts = []
        self.flush()
        return found

    def flush(self) -> None:
        """Sends what the protocol has to say by itself.  Raises Gone."""
        if not self.held:
            data = b"".join(self._protocol.data_to_send())
            if data:
                self._connection.send(data)

    def framed(self, lines: bytes) -> bytes:
        """Each line as a message of text.  Raises Gone when the client has said goodbye."""
        self._check()
        for line in lines.split(b"\n"):
            if line:
                self._protocol.send_text(line)
        return b"".join(self._protocol.data_to_send())

    def halves(self, lines: bytes, at: int) -> tuple[bytes, bytes]:
        """The same, of which the message at a place is two fragments that part there.  Raises Gone."""
        self._check()
        begin = lines.rfind(b"\n", 0, at) + 1
        end = lines.find(b"\n", at)
        whole = self.framed(lines[:begin])
        self._protocol.send_text(lines[begin:at], fin=False)
        before = b"".join(self._protocol.data_to_send())
        self._protocol.send_continuation(lines[at:end], fin=True)
        after = b"".join(self._protocol.data_to_send())
        return whole + before, after + self.framed(lines[end:])

    def farewell(self) -> bytes:
        """The frame that closes it.  Raises Gone."""
        self._check()
        self._protocol.send_close(NORMAL)
        return b"".join(self._protocol.data_to_send())
