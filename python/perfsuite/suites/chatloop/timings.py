"""The operations of a turn, timed: each with what the guide expects of it, and with the memory that it moves."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping
from statistics import median
from typing import TYPE_CHECKING

from perfsuite._core import Histogram
from perfsuite.chatloop.monitor import PerformanceMonitor
from perfsuite.chatloop.operations import EXPECTATIONS
from perfsuite.chatloop.timed import Operation
from perfsuite.evidence import Evidence, NotMeasured, Samples
from perfsuite.suites.chatloop.turns import maker, messages, say, taken, warm
from perfsuite.units import figure

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

MOST = 20_000
"""Turns."""
TRACED = 20
"""Turns in which the memory that operations move is looked at: that makes them slower, so they are not timed."""
NOTHING = 5
"""Looks at nothing, for what looking takes."""
WHY_NOT = {
    "tool_execution": "the model asked for no tool",
    "tool_execution_parallel": "the model never asked for several tools at once",
    "memory_trimming": "the history never grew to where it is trimmed",
}


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for every operation of the table."""
    texts = messages(session)
    loop = maker(session).new_loop()
    loop.config.performance_monitoring = True
    blocks: dict[str, list[Histogram]] = {name: [] for name in EXPECTATIONS}
    failed = dict.fromkeys(EXPECTATIONS, 0)
    turns = lost = 0
    batch = await warm(session, loop, texts)
    while turns < MOST and (session.remaining_s() > 0.1 * session.duration_s or not turns):
        loop.monitor = PerformanceMonitor()
        loop.config.parallel_tools = turns // batch % 2 == 1
        lost += await say(session, loop, taken(texts, batch))
        turns += batch
        for name, known in loop.monitor.statistics().items():
            if name in blocks:
                blocks[name].append(loop.monitor.histogram(name))
                failed[name] += known.failed
        session.progress(1.0 - session.remaining_s() / session.duration_s)
        if session.stop.is_set():
            break
    if lost == turns:  # the steps before the one that fails are quick, and must not pass for the turn
        session.fail(f"timings: none of {turns:,} turns was answered")
    moved = MovedMemory()
    loop.monitor = moved
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        moved.calibrate()
        await say(session, loop, taken(texts, min(TRACED, batch)))
    finally:
        if not tracing:
            tracemalloc.stop()
    for line in moved.said():
        session.note(line)
    return {name: _evidence(name, blocks[name], failed[name], turns, moved) for name in EXPECTATIONS}


def _evidence(name: str, blocks: list[Histogram], failed: int, turns: int, moved: MovedMemory) -> Evidence:
    row = EXPECTATIONS[name]
    if not blocks:
        return NotMeasured(WHY_NOT.get(name, "no turn came so far"))
    histogram = Histogram()
    for block in blocks:
        histogram.merge(block)
    details: dict[str, object] = {
        "turns": turns,
        "expected_ms": row.expected_ms,
        "p95_ms": row.p95_ms,
        "maximum_ms": row.maximum_ms,
        "memory": row.memory,
        "failed_runs": failed,
        **moved.of(name),
    }
    return Samples(histogram=histogram, blocks=blocks, details=details)


class MovedMemory(PerformanceMonitor):
    """A monitor that looks at what operations allocate, by tracemalloc, which runs."""

    def __init__(self) -> None:
        super().__init__()
        self._moved: dict[str, list[tuple[int, int]]] = {}

    def operation(self, name: str) -> Operation:
        """Timed as ever, with a look at memory before and after."""
        run = _Traced(super().operation(name).operation)
        run.moved = self._moved.setdefault(name, [])
        return run

    def calibrate(self) -> None:
        """Runs nothing a few times, for what looking takes itself."""
        for _ in range(NOTHING):
            with self.operation("nothing"):
                pass

    def of(self, name: str) -> dict[str, object]:
        """The median of what is left of it after a run, and of the most that there was meanwhile, in bytes."""
        seen = self._moved.get(name)
        if not seen:
            return {}
        left, peak = _medians(seen)
        nothing = _medians(self._moved["nothing"])
        return {"memory_left_bytes": left - nothing[0], "memory_peak_bytes": max(0.0, peak - nothing[1])}

    def said(self) -> Iterator[str]:
        """The same, for people."""
        for name, row in EXPECTATIONS.items():
            known = self.of(name)
            if known:
                left, peak = (
                    figure(float(str(known[key])), "bytes") for key in ("memory_left_bytes", "memory_peak_bytes")
                )
                yield f"{name}: {left} left, {peak} at most meanwhile (guide: {row.memory})"


def _medians(seen: list[tuple[int, int]]) -> tuple[float, float]:
    return median(left for left, _ in seen), median(peak for _, peak in seen)


class _Traced(Operation):
    __slots__ = ("before", "moved")

    moved: list[tuple[int, int]]
    before: int

    def __enter__(self) -> _Traced:
        tracemalloc.reset_peak()
        self.before = tracemalloc.get_traced_memory()[0]
        super().__enter__()
        return self

    def __exit__(self, error: type[BaseException] | None, value: BaseException | None, where: object):  # type: ignore[no-untyped-def]
        now, peak = tracemalloc.get_traced_memory()
        self.moved.append((now - self.before, max(0, peak - self.before)))
        return super().__exit__(error, value, where)
