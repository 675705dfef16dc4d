"""HTTP/1.1 requests, parsed as they come and within bounds (RFC 9112).

Strict where leniency is dangerous: no folded lines, no conflicting lengths, no unknown transfer coding.
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, unquote

MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
MAX_CHUNK_LINE = 4096
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;.*)?")

REASONS = {
    100: "Continue", 200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 413: "Content Too Large", 426: "Upgrade Required",
    429: "Too Many Requests", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout",
}  # fmt: skip


class BadRequest(Exception):
    """A request that is answered with an error: ``status``, and the message that the client sees."""

    def __init__(self, status: int, message: str, *, retry_after_s: float | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s
        self.code = code


_ABSOLUTE = re.compile(r"\Ahttps?://[^/?]*/?", re.IGNORECASE)
"""What a proxy may leave before the path: https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2"""


class Request:
    """One request, whole."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "query", "version")

    def __init__(self, method: str, target: str, version: int, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        path, _, query = _ABSOLUTE.sub("/", target).partition("?")
        self.path = unquote(path)
        self.query = parse_qs(query, keep_blank_values=True) if query else {}
        self.version = version
        self.headers = headers
        self.body = body
        options = {part.strip().lower() for part in headers.get("connection", "").split(",")}
        self.keep_alive = "close" not in options if version else "keep-alive" in options

    def parameter(self, name: str) -> str | None:
        """The last value of a query parameter."""
        values = self.query.get(name)
        return values[-1] if values else None

    def json(self) -> dict[str, object]:
        """The body as a JSON object; BadRequest for anything else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise BadRequest(400, f"the body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise BadRequest(400, f"the body must be a JSON object, not {type(value).__name__}")
        return value


class RequestParser:
    """Takes bytes in pieces of any size; gives requests one at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._head: tuple[str, str, int, dict[str, str]] | None = None
        self._length = 0
        self._chunked = False
        self._in_trailer = False
        self._left = -1
        self._body = bytearray()
        self._continue = False

    @property
    def partial(self) -> bool:
        """Whether a request has begun and not ended."""
        return self._head is not None or bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Takes what was read."""
        self._buffer += data

    def rest(self) -> bytes:
        """What came after the last request, and is none: the connection speaks another protocol from here on."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._scanned = 0
        return rest

    def wants_continue(self) -> bool:
        """Whether the client waits for ``100 Continue`` before it sends the body; True once."""
        waiting, self._continue = self._continue, False
        return waiting

    def take(self) -> Request | None:
        """The next whole request, if it is there.  Raises BadRequest, after which the connection is of no more use."""
        if self._head is None and not self._take_head():
            return None
        assert self._head is not None
        if self._chunked:
            if not self._take_chunks():
                return None
            body = bytes(self._body)
            self._body = bytearray()
        else:
            if len(self._buffer) < self._length:
                return None
            body = bytes(self._buffer[: self._length])
            del self._buffer[: self._length]
        method, target, version, headers = self._head
        self._head = None
        self._continue = False
        return Request(method, target, version, headers, body)

    def _take_head(self) -> bool:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            self._scanned = len(buffer)
            if len(buffer) > MAX_HEAD:
                raise BadRequest(431, f"the request's head is longer than {MAX_HEAD} bytes")
            return False
        if end > MAX_HEAD:
            raise BadRequest(431, f"the request's head is longer than {MAX_HEAD} bytes")
        lines = bytes(buffer[:end]).split(b"\r\n")
        del buffer[: end + 4]
        self._scanned = 0
        line = _REQUEST_LINE.fullmatch(lines[0])
        if line is None:
            raise BadRequest(400, "the request line is not METHOD TARGET HTTP/1.1")
        headers = _headers(lines[1:])
        version = int(line[3])
        if version and "host" not in headers:
            raise BadRequest(400, "an HTTP/1.1 request needs the field Host")
        self._measure(headers)
        self._continue = headers.get("expect", "").lower() == "100-continue"
        self._head = (line[1].decode("ascii"), line[2].decode("ascii"), version, headers)
        return True

    def _measure(self, headers: dict[str, str]) -> None:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        self._chunked = coding is not None
        self._length, self._left, self._in_trailer = 0, -1, False
        if coding is not None:
            if length is not None:
                raise BadRequest(400, "Transfer-Encoding and Content-Length exclude one another")
            if coding.lower() != "chunked":
                raise BadRequest(501, f"the transfer coding {coding[:40]!r} is not known: send chunked")
        elif length is not None:
            if not (length.isascii() and length.isdigit() and len(length) <= 19):
                raise BadRequest(400, "Content-Length is not one whole number")
            self._length = int(length)
            if self._length > MAX_BODY:
                raise BadRequest(413, f"the body is longer than {MAX_BODY} bytes")

    def _take_chunks(self) -> bool:
        buffer = self._buffer
        at = 0
        try:
            while True:
                if self._left > 0:
                    if len(buffer) < at + self._left + 2:
                        return False
                    if buffer[at + self._left : at + self._left + 2] != b"\r\n":
                        raise BadRequest(400, "a chunk of the body does not end where its size says")
                    self._body += buffer[at : at + self._left]
                    at += self._left + 2
                    self._left = -1
                end = buffer.find(b"\r\n", at, at + MAX_CHUNK_LINE)
                if end < 0:
                    if len(buffer) - at >= MAX_CHUNK_LINE:
                        raise BadRequest(400, "a line between the chunks of the body is too long")
                    return False
                line, at = bytes(buffer[at:end]), end + 2
                if self._in_trailer:
                    if not line:
                        return True
                    continue
                size = _SIZE.fullmatch(line)
                if size is None:
                    raise BadRequest(400, "the size of a chunk of the body is not a hexadecimal number")
                self._left = int(size[1], 16)
                if len(self._body) + self._left > MAX_BODY:
                    raise BadRequest(413, f"the body is longer than {MAX_BODY} bytes")
                self._in_trailer = not self._left
        finally:
            del buffer[:at]


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadRequest(400, "a header field is not NAME: VALUE on one line")
        name, value = field[1].decode("ascii").lower(), field[2].decode("latin-1")
        if name in headers:
            if name in ("content-length", "host", "transfer-encoding") and headers[name] != value:
                raise BadRequest(400, f"the field {name} is there twice with different values")
            value = value if headers[name] == value else f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def head(status: int, fields: list[tuple[str, str]]) -> bytes:
    """A response's head."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
