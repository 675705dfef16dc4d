"""The fixtures ``perf`` and ``perf_async``: times into one histogram for each test, and criteria on them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from time import perf_counter_ns
from typing import Any, ParamSpec, TypeVar

from perfsuite._core import Histogram, Stopwatch
from perfsuite.evidence import Samples
from perfsuite.pytest_plugin import slo
from perfsuite.pytest_plugin.awaited import NotAwaited, is_async, name_of
from perfsuite.pytest_plugin.slices import Slices
from perfsuite.result import MetricResult

P = ParamSpec("P")
T = TypeVar("T")

_stopped = Stopwatch.stop


class Watch(Stopwatch):
    """The stopwatch of a test: ``stop`` also puts the time into a slice, after the clock was read."""

    _slices: Slices

    def stop(self) -> float:
        """Ends what ``start`` or ``lap`` began; its milliseconds."""
        ms = _stopped(self)
        self._slices.record(ms)
        return ms


class Perf:
    """What a test measures, in milliseconds.  Made for each test, and empty at first."""

    def __init__(self, *, undecided_fails: bool = False) -> None:
        self.histogram = Histogram()
        self.stopwatch = Watch(self.histogram)
        self.judged: list[MetricResult] = []
        self._slices = self.stopwatch._slices = Slices()
        self._undecided_fails = undecided_fails

    def time(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls ``function(*args)`` once, records how long it took, and returns what it returned.

        One that raises is not recorded.  A coroutine function is refused: its call runs nothing of it.
        """
        __tracebackhide__ = True
        if is_async(function):
            raise NotAwaited(
                f"perf.time({name_of(function)}) would time nothing: the call of a coroutine function runs nothing of "
                "it; take the fixture perf_async and await perf_async.time(…)"
            )
        start = perf_counter_ns()
        result = function(*args, **kwargs)
        end = perf_counter_ns()
        if inspect.iscoroutine(result):
            result.close()
            raise NotAwaited(
                f"perf.time({name_of(function)}) timed nothing: it returned a coroutine, of which nothing ran; "
                "take the fixture perf_async and await perf_async.time(…)"
            )
        self.record((end - start) / 1e6)
        return result

    def record(self, ms: float) -> None:
        """One sample that was timed elsewhere, in milliseconds."""
        self.histogram.record(ms)
        self._slices.record(ms)

    def check(self, **limits: float) -> list[MetricResult]:
        """Holds the samples so far against ``p99_ms=50``, ``mean_us=3`` and the like (below the limit).

        Fails the test where the whole 95 % interval misses a limit.  Where the interval straddles it the criterion is
        undecided: that is shown at the end of the run, with how many samples would decide it, and fails only with
        ``--perfsuite-undecided=fail`` (or ``perfsuite_undecided`` in the ini file).  Returns a judgement for each.
        Raises UsageError for keys that are none.
        """
        __tracebackhide__ = True
        criteria = slo.read(limits, "perf.check")
        if not self.histogram.count:
            raise slo.SloMissed("perf.check: nothing was measured: record something first, with perf.time(f) say")
        found = slo.hold(self.samples(), criteria)
        self.judged += found
        if missed := slo.missed(found, undecided_fails=self._undecided_fails):
            raise slo.SloMissed(missed)
        return found

    def samples(self) -> Samples:
        """What was measured.  Where laps or values went into the histogram directly nobody knows their order: they are
        taken to be independent."""
        blocks = self._slices.made if self._slices.count == self.histogram.count else ()
        return Samples(histogram=self.histogram, blocks=blocks)


class PerfAsync:
    """``perf`` for coroutine functions, awaited in the loop of the test."""

    def __init__(self, perf: Perf) -> None:
        self.perf = perf
        self.histogram = perf.histogram
        self._forgotten: dict[int, str] = {}

    def time(self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> Timing[T]:
        """To be awaited: awaits ``function(*args)`` once, records how long that took, and gives its result.

        A test that forgets to await it fails.  One that raises is not recorded.
        """
        timing = Timing(self, name_of(function), lambda: function(*args, **kwargs))
        self._forgotten[id(timing)] = timing.name
        return timing

    def check(self, **limits: float) -> list[MetricResult]:
        """As ``perf.check``: both fixtures measure into one histogram."""
        __tracebackhide__ = True
        return self.perf.check(**limits)

    @property
    def forgotten(self) -> list[str]:
        """The names of what was to be timed and never awaited."""
        return list(self._forgotten.values())

    def begun(self, timing: Timing[Any]) -> None:
        """It is awaited."""
        self._forgotten.pop(id(timing), None)


class Timing(Awaitable[T]):
    """One call that is timed when it is awaited, and made no earlier."""

    def __init__(self, owner: PerfAsync, name: str, make: Callable[[], Awaitable[T]]) -> None:
        self.name = name
        self._owner = owner
        self._make = make

    def __await__(self) -> Generator[Any, None, T]:
        self._owner.begun(self)
        return self._timed().__await__()

    async def _timed(self) -> T:
        __tracebackhide__ = True
        start = perf_counter_ns()
        made = self._make()
        if not inspect.isawaitable(made):
            raise TypeError(f"perf_async.time({self.name}): it gave {type(made).__name__}, which cannot be awaited; "
                            "a plain function is timed by perf.time")  # fmt: skip
        result = await made
        self._owner.perf.record((perf_counter_ns() - start) / 1e6)
        return result
