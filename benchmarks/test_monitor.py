"""One timed operation that does nothing, beside a bare ``with nullcontext()`` and what peers offer for the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

import pytest

from perfsuite import PerformanceMonitor

RUNS = 1000
MOST_NS = 1000.0
"""An operation is to cost no more than a microsecond."""

Contenders = dict[str, tuple[Callable[[], object], int]]
missing: dict[str, str] = {}


class PythonTimer:
    """The same record in plain Python: two clock readings, a list, a count of failures."""

    __slots__ = ("_owner", "_start")

    def __init__(self, owner: PythonMonitor) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        self._start = time.perf_counter_ns()

    def __exit__(self, kind: object, error: object, where: object) -> None:
        self._owner.took.append(time.perf_counter_ns() - self._start)
        if kind is not None:
            self._owner.failed += 1


class PythonMonitor:
    def __init__(self) -> None:
        self.took: list[int] = []  # without bounds, unlike ours
        self.failed = 0

    def operation(self, name: str) -> PythonTimer:
        return PythonTimer(self)


def contenders() -> Contenders:
    monitor, python, nothing = PerformanceMonitor(), PythonMonitor(), nullcontext()

    def ours() -> None:
        for _ in range(RUNS):
            with monitor.operation("work"):
                pass

    def bare() -> None:
        for _ in range(RUNS):
            with nothing:
                pass

    def plain() -> None:
        python.took.clear()
        for _ in range(RUNS):
            with python.operation("work"):
                pass

    found: dict[str, Callable[[], object]] = {"perfsuite": ours, "nullcontext": bare, "python": plain}
    try:
        from prometheus_client import CollectorRegistry, Histogram

        histogram = Histogram("work_seconds", "work", ["operation"], registry=CollectorRegistry())

        def prometheus() -> None:
            for _ in range(RUNS):
                with histogram.labels("work").time():
                    pass

        found["prometheus"] = prometheus
    except ImportError as error:
        missing["prometheus"] = f"not installed: {error}"
    return {name: (run, RUNS) for name, run in found.items()}


PEERS = [("operation timed", contenders)]
GOALS = {"operation timed": {"prometheus": 3.0}}


@pytest.mark.parametrize("name", ["perfsuite", "nullcontext", "python", "prometheus"])
def test_operation(benchmark: Callable[..., object], name: str) -> None:
    found = contenders()
    if name not in found:
        pytest.skip(missing[name])
    benchmark(found[name][0])


def per_run_ns(run: Callable[[], object], times: int = 15) -> float:
    """The least of several tries, for one run."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter_ns()
        run()
        best = min(best, (time.perf_counter_ns() - began) / RUNS)
    return best


if __name__ == "__main__":
    taken = {name: per_run_ns(run) for name, (run, _) in contenders().items()}
    for name, ns in taken.items():
        print(f"{name:<12} {ns:7.0f} ns a run, {ns / taken['nullcontext']:5.1f} x a bare with")
    assert taken["perfsuite"] <= MOST_NS, f"{taken['perfsuite']:.0f} ns are more than {MOST_NS:.0f}"
