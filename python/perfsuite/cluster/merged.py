"""The records of several shards as one load's.

Shards begin at one instant and record by one seeded schedule, so that their histograms, slices and windows cover the
same times, and adding them up is exact: what is read here is what one recorder of the same requests would say.  The
exceptions are ``max_in_flight`` and its windows, which are sums of what each shard had at most in a second: the most
that there can have been, and exact for a closed loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from perfsuite._core import Histogram
from perfsuite.cluster.snapshots import COLUMNS, Snapshot

PRECISION = 10
SLICE_PRECISION = 7
"""As ``_core.Events`` has them."""
HIGHEST = frozenset({"max_ms"})
"""Columns of windows of which the greatest counts, not the sum."""
HELD = frozenset({"in_flight_max", "waiting"})
"""Those of which it does where windows of one shard are put together."""


@dataclass(slots=True)
class Shard:
    """What one shard has told so far."""

    last: Snapshot | None = None
    slices: dict[str, dict[int, Histogram]] = field(default_factory=dict)
    windows: dict[int, tuple[float, ...]] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)

    def take(self, told: Snapshot) -> None:
        """The next snapshot, decoded.  Raises ValueError for a damaged one; then nothing has changed."""
        histograms = {name: Histogram.from_bytes(data) for name, data in told.histograms.items()}
        slices = {
            name: {number: Histogram.from_bytes(data) for number, data in changed.items()}
            for name, changed in told.slices.items()
        }
        if any(len(row) != len(COLUMNS) for row in told.windows.values()):
            raise ValueError("a window of a shard has other columns")
        if self.last is None or self.last.block_s != told.block_s:
            self.slices = {}
        if self.last is None or self.last.window_s != told.window_s:
            self.windows = {}
        for name, changed in slices.items():
            self.slices.setdefault(name, {}).update(changed)
        self.windows.update(told.windows)
        self.histograms = histograms
        self.last = told


class Merged:
    """Reads like ``_core.Events``; ``take`` tells it what a shard has.  Shards are numbered from 0."""

    def __init__(self, *, warmup_ns: int) -> None:
        self.start_ns = 0
        self.shards: dict[int, Shard] = {}
        self._warmup_ns = warmup_ns
        self._forgotten = False

    def take(self, shard: int, told: Snapshot) -> None:
        """A shard's next snapshot.  Raises ValueError for a damaged one."""
        self.shards.setdefault(shard, Shard()).take(told)

    @property
    def warmup_ns(self) -> int:
        """The longest of the shards' warm-ups, which each may have ended early."""
        told = [one.warmup_ns for one in self._told()]
        return max(told) if told else self._warmup_ns

    @warmup_ns.setter
    def warmup_ns(self, value: int) -> None:
        self._warmup_ns = value

    # ── distributions ─────────────────────────────────────────────────────────────────────────────────────────────────

    def histogram(self, name: str, /) -> Histogram:
        """Of all shards."""
        return _sum((shard.histograms.get(name) for shard in self.shards.values()), PRECISION)

    def blocks(self, name: str, /) -> list[Histogram]:
        """Slices of time, empty ones left out."""
        return [block for _, block in self._blocks(name)]

    def block_times(self, name: str, /) -> list[float]:
        """Where each of ``blocks`` begins."""
        return [number * self.block_s for number, _ in self._blocks(name)]

    def _blocks(self, name: str) -> list[tuple[int, Histogram]]:
        if self._forgotten:
            return []
        width = self.block_s
        found: dict[int, Histogram] = {}
        for shard in self.shards.values():
            if shard.last is None:
                continue
            coarser = round(width / shard.last.block_s)
            for number, block in shard.slices.get(name, {}).items():
                found.setdefault(number // coarser, Histogram(SLICE_PRECISION)).merge(block)
        return sorted(found.items())

    def forget_blocks(self) -> None:
        """Of a load that is over."""
        self._forgotten = True
        for shard in self.shards.values():
            shard.slices = {}

    @property
    def block_s(self) -> float:
        """Seconds of a slice: those of the shard that has gone on longest, which are a multiple of the others'."""
        return max((one.block_s for one in self._told()), default=0.125)

    # ── windows ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def window_s(self) -> float:
        """Seconds of a window, likewise."""
        return max((one.window_s for one in self._told()), default=1.0)

    def windows(self, last: int | None = None) -> dict[str, list[float]]:
        """As columns, from the first one or the last so many on."""
        rows = self._windows()
        numbers = range(max(rows, default=-1) + 1)
        if last is not None:
            numbers = numbers[max(0, len(numbers) - last) :]
        nothing = [0.0] * len(COLUMNS)
        columns = {"t_s": [number * self.window_s for number in numbers]}
        for at, name in enumerate(COLUMNS):
            columns[name] = [rows.get(number, nothing)[at] for number in numbers]
        return columns

    def _windows(self) -> dict[int, list[float]]:
        width = self.window_s
        rows: dict[int, list[float]] = {}
        for shard in self.shards.values():
            if shard.last is None:
                continue
            coarser = round(width / shard.last.window_s)
            own: dict[int, list[float]] = {}
            for number, told in sorted(shard.windows.items()):
                _add(own, number // coarser, told, within=coarser > 1)
            for number, row in own.items():
                _add(rows, number, row, within=False)
        return rows

    # ── counts ────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def errors(self) -> dict[str, int]:
        """Failures by kind."""
        found: dict[str, int] = {}
        for one in self._told():
            for kind, count in one.errors.items():
                found[kind] = found.get(kind, 0) + count
        return found

    @property
    def longest_wait_ms(self) -> float:
        """From due to the end, of any shard's requests."""
        return max((one.longest_wait_ms for one in self._told()), default=0.0)

    @property
    def tokens_per_chunk(self) -> float | None:
        """Visible tokens to a chunk; None without chunks."""
        pairs = [(one.tokens_per_chunk, one.counts["chunks"]) for one in self._told()]
        known = [(tokens * chunks, chunks) for tokens, chunks in pairs if tokens is not None]
        chunks = sum(number for _, number in known)
        return sum(tokens for tokens, _ in known) / chunks if chunks else None

    @property
    def max_in_flight(self) -> int:
        """The most that can have been in flight at once; see above."""
        at_most = sum(one.counts["max_in_flight"] for one in self._told())
        place = COLUMNS.index("in_flight_max")
        return min(at_most, int(max((row[place] for row in self._windows().values()), default=at_most)))

    @property
    def started(self) -> int:
        """As ``_core.Events`` says, of all shards."""
        return self._count("started")

    @property
    def completed(self) -> int:
        """Likewise."""
        return self._count("completed")

    @property
    def failed(self) -> int:
        """Likewise."""
        return self._count("failed")

    @property
    def good(self) -> int:
        """Likewise."""
        return self._count("good")

    @property
    def warmup(self) -> int:
        """Likewise."""
        return self._count("warmup")

    @property
    def warmup_failed(self) -> int:
        """Likewise."""
        return self._count("warmup_failed")

    @property
    def in_flight(self) -> int:
        """Likewise."""
        return self._count("in_flight")

    @property
    def waiting(self) -> int:
        """Likewise."""
        return self._count("waiting")

    @property
    def chunks(self) -> int:
        """Likewise."""
        return self._count("chunks")

    def _count(self, name: str) -> int:
        return sum(one.counts[name] for one in self._told())

    def _told(self) -> list[Snapshot]:
        return [shard.last for shard in self.shards.values() if shard.last is not None]


def _sum(histograms: Iterable[Histogram | None], precision: int) -> Histogram:
    whole = Histogram(precision)
    for one in histograms:
        if one is not None:
            whole.merge(one)
    return whole


def _add(rows: dict[int, list[float]], number: int, told: Iterable[float], *, within: bool) -> None:
    """Adds to a window another shard's, or (``within``) a later one of the same shard."""
    row = rows.get(number)
    if row is None:
        rows[number] = list(told)
        return
    for at, (name, value) in enumerate(zip(COLUMNS, told, strict=True)):
        if name in HIGHEST or (within and name in HELD):
            row[at] = max(row[at], value)
        else:
            row[at] += value
