"""What a worker is asked to do, and what it says came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from perfsuite._core import Histogram
from perfsuite.database.queries import NamedQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The database that a worker connects to; its first message."""

    url: str = field(repr=False)
    ours: bool
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One query, again and again from ``start_ns`` (of the monotonic clock, which all processes share) for ``seconds``,
    at least once; with parameters drawn by ``seed`` and the worker's number."""

    query: NamedQuery
    seconds: float
    start_ns: int
    seed: str


@dataclass(slots=True)
class Done:
    """What came of it: milliseconds of those that succeeded, the ``rows`` that they brought, and the failed ones by
    kind with the first text of each; ``longest_ms``: the longest that a failed one took."""

    times: Histogram = field(default_factory=lambda: Histogram(precision=10))
    rows: int = 0
    failed: int = 0
    longest_ms: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def fail(self, kind: str, text: str, took_ms: float) -> None:
        """One that failed."""
        self.failed += 1
        self.longest_ms = max(self.longest_ms, took_ms)
        self.errors[kind] = self.errors.get(kind, 0) + 1
        self.first.setdefault(kind, text)

    def take(self, other: Done) -> None:
        """Adds what another worker did at the same time."""
        self.times.merge(other.times)
        self.rows += other.rows
        self.failed += other.failed
        self.longest_ms = max(self.longest_ms, other.longest_ms)
        self.seconds = max(self.seconds, other.seconds)
        for kind, count in other.errors.items():
            self.errors[kind] = self.errors.get(kind, 0) + count
            self.first.setdefault(kind, other.first[kind])
