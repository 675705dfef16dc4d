"""A body split into its events: server-sent events, lines of JSON, raw pieces of text, or one document."""

from __future__ import annotations

from typing import Literal

from perfsuite._core import StreamParser

StreamKind = Literal["sse", "ndjson", "text", "none"]

LARGEST_EVENT = 4 << 20

Split = tuple[int, str, bytes]
"""An event: the stamp of the chunk that completed it, its name (``message`` for a server-sent event without one), its
payload."""


class EventTooLarge(Exception):
    """An event, or a line, is larger than any may be."""


class Splitter:
    """One body.  ``feed`` returns the events that a chunk completes, ``finish`` what the body's end completes: the last
    line of NDJSON, or the whole of a body of kind ``none``."""

    def __init__(self, kind: StreamKind, largest: int = LARGEST_EVENT) -> None:
        self._parser = None if kind == "none" else StreamParser(kind, largest)
        self._whole = bytearray()
        self._largest = largest
        self.cut = False
        """The body ended in the middle of an SSE event."""

    def feed(self, chunk: bytes, at_ns: int) -> list[Split]:
        """The events that ``chunk`` completes.  Raises EventTooLarge."""
        if self._parser is not None:
            try:
                return self._parser.take() if self._parser.feed(chunk, at_ns) else []
            except OverflowError as error:
                raise EventTooLarge(f"an event is larger than {self._largest:,} bytes") from error
        self._whole += chunk
        if len(self._whole) > self._largest:
            raise EventTooLarge(f"the answer is larger than {self._largest:,} bytes")
        return []

    def finish(self, at_ns: int) -> list[Split]:
        """The body is over; ``at_ns`` is the stamp of its last chunk."""
        if self._parser is None:
            return [(at_ns, "", bytes(self._whole))] if self._whole else []
        self.cut = not self._parser.end()
        return self._parser.take()
