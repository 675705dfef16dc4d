"""What the stand-in counts of each client."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counts:
    """What one client asked.  Characters are of texts in and out, not of JSON.

    ``waited_ms`` is the time of its calls from the request's last byte to the answer's, added up; ``busy_ms`` is the
    time in which at least one was under way, so that calls side by side count once.  ``unknown`` answers were in a
    structure that the stand-in does not know: they are valid, and hold nothing.
    """

    chat_calls: int = 0
    chat_characters_in: int = 0
    chat_characters_out: int = 0
    embedding_calls: int = 0
    embedding_texts: int = 0
    embedding_characters: int = 0
    refused: int = 0
    unknown: int = 0
    waited_ms: float = 0.0
    busy_ms: float = 0.0

    @property
    def calls(self) -> int:
        """Calls of both kinds."""
        return self.chat_calls + self.embedding_calls

    def since(self, earlier: Counts) -> Counts:
        """What came after ``earlier``."""
        before = asdict(earlier)
        return Counts(**{name: value - before[name] for name, value in asdict(self).items()})


class Client:
    """A client's counts, and how many of its calls are under way since when."""

    __slots__ = ("counts", "since_ns", "under_way")

    def __init__(self) -> None:
        self.counts = Counts()
        self.under_way = 0
        self.since_ns = 0

    def begin(self, now_ns: int) -> None:
        if not self.under_way:
            self.since_ns = now_ns
        self.under_way += 1

    def end(self, begun_ns: int) -> None:
        now_ns = time.monotonic_ns()
        self.counts.waited_ms += (now_ns - begun_ns) / 1e6
        self.under_way -= 1
        if not self.under_way:
            self.counts.busy_ms += (now_ns - self.since_ns) / 1e6
