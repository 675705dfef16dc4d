"""Stopwatch: one clock reading per call, milliseconds, into its histogram."""

from __future__ import annotations

import gc
import inspect
import time
import weakref

import pytest

from perfsuite import Histogram, Stopwatch


def test_laps_add_up_to_the_time_between() -> None:
    histogram = Histogram()
    watch = Stopwatch(histogram)
    before = time.monotonic_ns()
    watch.start()
    started = time.monotonic_ns()
    laps = []
    for _ in range(50):
        sum(range(500))
        laps.append(watch.lap())
    last = time.monotonic_ns()
    laps.append(watch.stop())
    after = time.monotonic_ns()
    total = sum(laps) * 1e6
    assert last - started <= total + 1
    assert total <= after - before + 1
    assert histogram.count == 51
    assert histogram.sum == pytest.approx(sum(laps), rel=1e-12)
    assert (histogram.min, histogram.max) == (min(laps), max(laps))


def test_milliseconds() -> None:
    watch = Stopwatch(Histogram())
    watch.start()
    before = time.monotonic_ns()
    while time.monotonic_ns() - before < 2_000_000:
        pass
    assert watch.stop() >= 2.0
    assert watch.histogram.min >= 2.0


def test_not_running() -> None:
    histogram = Histogram()
    watch = Stopwatch(histogram)
    for method in (watch.lap, watch.stop):
        with pytest.raises(RuntimeError, match=r"not running: call start\(\) first"):
            method()
    watch.start()
    assert watch.running
    watch.stop()
    assert not watch.running
    with pytest.raises(RuntimeError, match=r"stop\(\) of a stopwatch"):
        watch.stop()
    assert histogram.count == 1


def test_starting_again_drops_the_time_before() -> None:
    watch = Stopwatch(Histogram())
    watch.start()
    time.sleep(0.02)
    before = time.monotonic_ns()
    watch.start()
    assert watch.stop() <= (time.monotonic_ns() - before) / 1e6
    assert watch.histogram.count == 1


def test_a_histogram_is_needed() -> None:
    with pytest.raises(TypeError, match="histogram must be a Histogram, not 'list'"):
        Stopwatch([])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Stopwatch()  # type: ignore[call-arg]
    assert str(inspect.signature(Stopwatch)) == "(histogram)"


def test_cycles_are_collected() -> None:
    class Holder(Histogram):
        """Can hold the watch that holds it."""

        watch: Stopwatch

    holder = Holder()
    holder.watch = Stopwatch(holder)
    gone = weakref.ref(holder)
    assert gc.is_tracked(holder.watch)
    del holder
    gc.collect()
    assert gone() is None
