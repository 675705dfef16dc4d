"""The fixtures ``memory_footprint`` and ``leak_check``: what code holds, and what its repetition leaves behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from perfsuite.analysis.leaks import leak
from perfsuite.analysis.summary import summarise
from perfsuite.analysis.verdict import judge
from perfsuite.chatloop.resources import memory_bytes
from perfsuite.evidence import Estimate
from perfsuite.heap import give_back
from perfsuite.metric import metric
from perfsuite.plan import Criterion
from perfsuite.pytest_plugin.awaited import NotAwaited, is_async, name_of
from perfsuite.pytest_plugin.slo import SloMissed
from perfsuite.result import MetricResult
from perfsuite.units import figure, goal, parse_size

ITERATIONS = 2_000
WARMUP = 100
READINGS = 200
ALLOWED = 102.4
"""Bytes that an iteration may leave behind: the chat-loop guide's."""


@dataclass(slots=True)
class Footprint:
    """What a block of code held: known when the block has ended.

    ``bytes``: of Python's objects that it made and that are still there; ``peak_bytes``: the most of them at a time;
    ``resident_bytes``: by how much the process grew, which also has what C code holds, in whole pages.
    """

    bytes: int = 0
    peak_bytes: int = 0
    resident_bytes: int = 0

    def check(self, at_most: str | float | None = None, *, peak: str | float | None = None) -> None:
        """Fails the test where more is held than ``at_most``, or was at a time than ``peak``: ``"10MB"`` or bytes."""
        __tracebackhide__ = True
        missed = [
            f"{name} {figure(float(held), 'bytes')}, allowed are {goal(limit, 'bytes')}"
            for name, held, given in (("holds", self.bytes, at_most), ("peak", self.peak_bytes, peak))
            if given is not None and held > (limit := parse_size(given, "memory_footprint.check"))
        ]
        if missed:
            raise SloMissed("memory footprint: " + "; ".join(missed))


@contextmanager
def footprint() -> Iterator[Footprint]:
    """Measures the block.  Python's allocations are traced meanwhile, which makes the block slower."""
    found = Footprint()
    tracing = tracemalloc.is_tracing()
    gc.collect()
    give_back()
    if not tracing:
        tracemalloc.start()
    resident = memory_bytes()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    try:
        yield found
    finally:
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        if not tracing:
            tracemalloc.stop()
        give_back()
        found.bytes, found.peak_bytes = after - before, max(0, peak - before)
        found.resident_bytes = memory_bytes() - resident


class LeakCheck:
    """``leak_check(f)`` calls ``f`` again and again and looks at what each call leaves behind."""

    def __init__(self, *, undecided_fails: bool = False) -> None:
        self.judged: list[MetricResult] = []
        self._undecided_fails = undecided_fails

    def __call__(
        self,
        function: Callable[..., object],
        *args: object,
        iterations: int = ITERATIONS,
        allowed: str | float = ALLOWED,
    ) -> MetricResult:
        """Fails the test where the lower bound of the slope is above ``allowed`` bytes an iteration.

        What ``function`` raises goes to the test.  The slope is Theil and Sen's of the process's resident memory, by
        the number of calls, after the first third of them.  Where the interval straddles what is allowed it is
        undecided: more ``iterations`` make it narrower.  Returns the judgement.
        """
        __tracebackhide__ = True
        if is_async(function):
            raise NotAwaited(f"leak_check({name_of(function)}) would call a coroutine function, and run nothing of it; "
                             "give it a plain function that runs it, such as lambda: runner.run(f())")  # fmt: skip
        limit = parse_size(allowed, "leak_check: allowed")
        for _ in range(min(WARMUP, iterations)):
            function(*args)
        found = leak(_readings(lambda: function(*args), iterations))
        if found is None:
            raise SloMissed(f"leak_check: {iterations} iterations are too few to see a slope; {ITERATIONS} are usual")
        evidence = Estimate(
            value=found.bytes_each,
            low=found.low,
            high=found.high,
            samples=found.readings,
            details={"iterations": iterations, "to_decide": f"take more than {iterations:,} iterations"},
        )
        criterion = Criterion(
            metric="leak_slope",
            stat="value",
            comparison="<=",
            target=limit,
            critical=True,
            required=False,
            origin="leak_check",
        )
        judged = judge(summarise(metric("leak_slope"), evidence), criterion)
        self.judged.append(judged)
        bad = judged.verdict == "failed" or (self._undecided_fails and judged.verdict != "passed")
        if bad:
            bounds = f"[{figure(found.low, 'bytes')}–{figure(found.high, 'bytes')}]"
            verb = "leaks" if judged.verdict == "failed" else "may leak"
            raise SloMissed(
                f"{name_of(function)} {verb} {figure(found.bytes_each, 'bytes')} {bounds} a call; allowed are "
                f"{goal(limit, 'bytes')} ({iterations:,} calls)"
            )
        return judged


def _readings(call: Callable[[], object], iterations: int) -> list[tuple[float, float]]:
    """Resident memory by the number of calls."""
    every = max(1, iterations // READINGS)
    points = [(float(at), 0.0) for at in range(0, iterations + 1, every)]  # made before, so that it does not grow
    gc.collect()
    give_back()  # else what leaks goes into free room at first, and is not seen
    points[0] = (0.0, float(memory_bytes()))
    for number in range(1, iterations + 1):
        call()
        if number % every == 0:
            gc.collect(0)
            points[number // every] = (float(number), float(memory_bytes()))
    return points
