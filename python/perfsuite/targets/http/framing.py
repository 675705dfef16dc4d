"""HTTP/1.1 answers, parsed as they arrive (RFC 9112).

Strict where a mistake would put one answer's bytes into another, lenient about line ends (section 2.2).
"""

from __future__ import annotations

LARGEST_HEAD = 64 << 10
LONGEST_CHUNK_LINE = 4 << 10
_NO_BODY = frozenset({204, 304})


class ProtocolError(Exception):
    """What came is not HTTP/1.1."""


class ResponseParser:
    """One answer.  Give every chunk to ``feed``, and call ``close`` when the connection ends before ``complete``.

    ``status`` is 0 until the head is in; ``headers`` have lower-case names, repeated ones joined by commas.
    """

    __slots__ = ("_buffer", "_left", "_state", "complete", "headers", "keep_alive", "phrase", "status", "surplus")

    def __init__(self) -> None:
        self.status = 0
        self.phrase = ""
        self.headers: dict[str, str] = {}
        self.complete = False
        self.keep_alive = False
        self.surplus = False
        """Bytes came after the end of the answer: the connection is of no more use."""
        self._buffer = bytearray()
        self._left = 0
        self._state = self._head

    def feed(self, data: bytes) -> list[bytes]:
        """Takes the next bytes; returns the pieces of the body among them.  Raises ProtocolError."""
        body: list[bytes] = []
        if self._state == self._body and not self._buffer and len(data) <= self._left:
            self._take(data, body)  # the usual case within a body of known length: no copy
            return body
        if self._state == self._to_the_end and not self._buffer:
            return [bytes(data)] if data else body
        self._buffer += data
        while self._buffer and not self.complete and self._state(body):
            pass
        if self.complete and self._buffer:
            self.surplus = True
            self.keep_alive = False
            self._buffer.clear()
        return body

    def close(self) -> bool:
        """The connection ended.  True when that is how this answer ends; False when it was cut short."""
        if self._state == self._to_the_end:
            self.complete = True
        return self.complete

    def _take(self, data: bytes, body: list[bytes]) -> None:
        if data:
            body.append(bytes(data))
        self._left -= len(data)
        if self._left == 0:
            self.complete = True

    def _line(self, limit: int, what: str) -> bytes | None:
        end = self._buffer.find(b"\n", 0, limit + 1)
        if end < 0:
            if len(self._buffer) > limit:
                raise ProtocolError(f"{what} is longer than {limit} bytes")
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        return line

    # ── states: each takes what it can from the buffer and says whether it got anywhere ───────────────────────────────

    def _head(self, body: list[bytes]) -> bool:
        while bytes(self._buffer[:1]) in (b"\r", b"\n"):
            del self._buffer[:1]
        start = bytes(self._buffer[:5])
        if not b"HTTP/".startswith(start):
            shown = bytes(self._buffer[:40])
            raise ProtocolError(f"the answer begins with {shown!r}, which is not HTTP; right port, right scheme?")
        end = _end_of_head(self._buffer)
        if end < 0:
            if len(self._buffer) > LARGEST_HEAD:
                raise ProtocolError(f"the head of the answer is larger than {LARGEST_HEAD >> 10} KiB")
            return False
        if end > LARGEST_HEAD:
            raise ProtocolError(f"the head of the answer is larger than {LARGEST_HEAD >> 10} KiB")
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\n")
        del self._buffer[:end]
        version = self._status_line(lines[0].rstrip("\r"))
        self._fields(lines[1:])
        if 100 <= self.status < 200:
            if self.status == 101:
                raise ProtocolError("the server switches protocols, which nobody asked for")
            self.status, self.headers = 0, {}
            return True
        self._begin_body(version)
        return True

    def _status_line(self, line: str) -> str:
        version, _, rest = line.partition(" ")
        code, _, phrase = rest.partition(" ")
        if version not in ("HTTP/1.0", "HTTP/1.1") or len(code) != 3 or not (code.isascii() and code.isdigit()):
            raise ProtocolError(f"{line[:60]!r} is no HTTP/1.1 status line")
        self.status, self.phrase = int(code), phrase.strip()[:60]
        if self.status < 100:
            raise ProtocolError(f"there is no status {code}")
        return version

    def _fields(self, lines: list[str]) -> None:
        for raw in lines:
            line = raw.rstrip("\r")
            if not line:
                continue
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or "\0" in value:
                raise ProtocolError(f"{line[:60]!r} is no header field")
            name, value = name.lower(), value.strip(" \t")
            before = self.headers.get(name)
            self.headers[name] = value if before is None else f"{before}, {value}"

    def _begin_body(self, version: str) -> None:
        headers = self.headers
        connection = {word.strip() for word in headers.get("connection", "").lower().split(",")}
        self.keep_alive = "close" not in connection and (version == "HTTP/1.1" or "keep-alive" in connection)
        coding = headers.get("transfer-encoding", "").lower()
        if self.status in _NO_BODY:
            self.complete = True
        elif coding:
            if coding != "chunked":
                raise ProtocolError(f"the transfer encoding {coding[:40]!r} was not asked for")
            self._state = self._chunk_size
        elif "content-length" in headers:
            lengths = {text.strip() for text in headers["content-length"].split(",")}
            text = lengths.pop()
            if lengths or not (text.isascii() and text.isdigit()) or len(text) > 18:
                raise ProtocolError(f"{headers['content-length'][:40]!r} is no content length")
            self._left = int(text)
            self._state = self._body
            self.complete = self._left == 0
        else:
            self._state = self._to_the_end
            self.keep_alive = False

    def _body(self, body: list[bytes]) -> bool:
        data = bytes(self._buffer[: self._left])
        del self._buffer[: len(data)]
        self._take(data, body)
        return True

    def _to_the_end(self, body: list[bytes]) -> bool:
        body.append(bytes(self._buffer))
        self._buffer.clear()
        return True

    def _chunk_size(self, body: list[bytes]) -> bool:
        line = self._line(LONGEST_CHUNK_LINE, "the line with a chunk's size")
        if line is None:
            return False
        digits = line.partition(b";")[0].strip(b" \t")
        if not 1 <= len(digits) <= 15 or not all(c in b"0123456789abcdefABCDEF" for c in digits):
            raise ProtocolError(f"{line[:40]!r} is no size of a chunk")
        self._left = int(digits, 16)
        self._state = self._chunk if self._left else self._trailer
        return True

    def _chunk(self, body: list[bytes]) -> bool:
        data = bytes(self._buffer[: self._left])
        del self._buffer[: len(data)]
        body.append(data)
        self._left -= len(data)
        if self._left == 0:
            self._state = self._chunk_end
        return True

    def _chunk_end(self, body: list[bytes]) -> bool:
        line = self._line(LONGEST_CHUNK_LINE, "the end of a chunk")
        if line is None:
            return False
        if line:
            raise ProtocolError(f"a chunk is longer than its size: {line[:40]!r} follows it")
        self._state = self._chunk_size
        return True

    def _trailer(self, body: list[bytes]) -> bool:
        line = self._line(LONGEST_CHUNK_LINE, "a trailer")
        if line is None:
            return False
        self._left += len(line)
        if self._left > LARGEST_HEAD:
            raise ProtocolError("the trailers are larger than a head may be")
        self.complete = not line
        return True


def _end_of_head(buffer: bytearray) -> int:
    """One past the empty line, whichever line ends it has; −1 when it is not there yet."""
    ends = [at + len(mark) for mark in (b"\r\n\r\n", b"\n\n", b"\n\r\n") if (at := buffer.find(mark)) >= 0]
    return min(ends, default=-1)
