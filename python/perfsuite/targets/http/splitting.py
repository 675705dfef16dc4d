"""A streamed body split into its events: server-sent events, lines of JSON, or raw pieces of text.

SSE as in the WHATWG HTML standard, "Server-sent events": lines end in CR, LF or CRLF, a BOM at the start is skipped,
data lines are joined by LF, an empty line dispatches.  How the bytes are cut into chunks changes nothing but the stamp,
which is that of the chunk that completed the event.
"""

from __future__ import annotations

import codecs
from typing import Literal

StreamKind = Literal["sse", "ndjson", "text", "none"]

LARGEST_EVENT = 4 << 20
BOM = b"\xef\xbb\xbf"

Split = tuple[str, bytes, int]
"""An event: its name (empty: none), its payload, the stamp of the chunk that completed it."""


class EventTooLarge(Exception):
    """An event, or a line, is larger than any may be."""


class Splitter:
    """One stream.  ``feed`` returns the events that a chunk completes, ``finish`` what the body's end completes."""

    def __init__(self, kind: StreamKind, largest: int = LARGEST_EVENT) -> None:
        self._largest = largest
        self._rest = bytearray()
        self._scanned = 0
        self._started = kind not in ("sse", "ndjson")
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._after_cr = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.cut = False
        """The body ended in the middle of an SSE event."""
        self._kind = kind

    def feed(self, chunk: bytes, at_ns: int) -> list[Split]:
        """The events that ``chunk`` completes.  Raises EventTooLarge."""
        if not chunk:
            return []
        if self._kind == "text":
            text = self._decoder.decode(chunk)
            return [("", text.encode("utf-8"), at_ns)] if text else []
        if self._kind == "none":
            self._hold(chunk)
            return []
        events: list[Split] = []
        if self._after_cr:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        self._rest += chunk
        if not self._started:
            if len(self._rest) < len(BOM) and BOM.startswith(self._rest):
                return []
            if self._rest.startswith(BOM):
                del self._rest[: len(BOM)]
            self._started = True
        if self._kind == "sse":
            self._sse(events, at_ns)
        else:
            self._ndjson(events, at_ns)
        if len(self._rest) > self._largest:
            raise EventTooLarge(f"an event is larger than {self._largest:,} bytes")
        return events

    def finish(self, at_ns: int) -> list[Split]:
        """The body is over: the last line of NDJSON, the whole of a body of kind ``none``."""
        if self._kind == "none":
            return [("", bytes(self._rest), at_ns)] if self._rest else []
        if self._kind == "text":
            tail = self._decoder.decode(b"", True)
            return [("", tail.encode("utf-8"), at_ns)] if tail else []
        if self._kind == "ndjson":
            line = bytes(self._rest).strip()
            self._rest.clear()
            return [("", line, at_ns)] if line else []
        self.cut = bool(self._rest or self._data)
        return []

    def _hold(self, chunk: bytes) -> None:
        self._rest += chunk
        if len(self._rest) > self._largest:
            raise EventTooLarge(f"the answer is larger than {self._largest:,} bytes")

    def _sse(self, events: list[Split], at_ns: int) -> None:
        rest = self._rest
        start = 0
        at = self._scanned
        lf = cr = -2  # where the next of each is; -2: to be looked for
        while True:
            if lf != -1 and lf < at:
                lf = rest.find(b"\n", at)
            if cr != -1 and cr < at:
                cr = rest.find(b"\r", at)
            if lf < 0 and cr < 0:
                break
            end = lf if cr < 0 or 0 <= lf < cr else cr
            self._sse_line(bytes(rest[start:end]), events, at_ns)
            start = at = end + 1
            if rest[end] == 13:
                if start == len(rest):
                    self._after_cr = True
                elif rest[start] == 10:
                    start = at = start + 1
        if start:
            del rest[:start]
        self._scanned = len(rest)

    def _sse_line(self, line: bytes, events: list[Split], at_ns: int) -> None:
        if not line:
            if self._data:
                events.append((self._name, b"\n".join(self._data), at_ns))
            self._data, self._size, self._name = [], 0, ""
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._size += len(value) + 1
            if self._size > self._largest:
                raise EventTooLarge(f"an event is larger than {self._largest:,} bytes")
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")

    def _ndjson(self, events: list[Split], at_ns: int) -> None:
        rest = self._rest
        start, at = 0, self._scanned
        while (end := rest.find(b"\n", at)) >= 0:
            line = bytes(rest[start:end]).strip()
            if line:
                events.append(("", line, at_ns))
            start = at = end + 1
        if start:
            del rest[:start]
        self._scanned = len(rest)
