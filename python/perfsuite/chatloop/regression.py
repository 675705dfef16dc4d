"""What the operations of a monitor took, kept as a baseline, and held against it later.

An operation regressed when it became slower by more than the threshold, and the two 95 % intervals lie apart: of the
medians where the baseline has its histogram, of the mean where it is a number alone.  Runs of one process depend on one
another: for a verdict on a release use ``perfsuite ab`` or ``perfsuite detect``, which compare several processes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import NamedTuple, TypedDict

from perfsuite._core import Histogram, Operation
from perfsuite.errors import shown
from perfsuite.stats import Interval
from perfsuite.stats.intervals import histogram_median

FEWEST = 8
"""Runs below which nothing is said of an operation."""


class Kept(TypedDict):
    """An operation in a baseline, as JSON has it."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    histogram: str


Baseline = Mapping[str, "float | Kept"]


class Change(NamedTuple):
    """An operation that became slower by more than the threshold: ``change`` is 0.25 for a quarter.

    ``certain``: beyond what chance does; an uncertain one needs more runs.
    """

    operation: str
    baseline_ms: float
    current_ms: float
    change: float
    certain: bool
    samples: int


def kept(operation: Operation) -> Kept:
    """An operation as a baseline has it."""
    histogram = operation.histogram
    p50, p95, p99 = histogram.quantiles([0.5, 0.95, 0.99])
    return Kept(
        count=histogram.count,
        mean_ms=histogram.mean,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=histogram.max,
        histogram=base64.b64encode(histogram.to_bytes()).decode("ascii"),
    )


def slower(operations: Mapping[str, Operation], baseline: Baseline, threshold: float) -> list[Change]:
    """The operations that became slower by more than the threshold, worst first.

    Raises ValueError for a baseline that is none, or of which nothing was run FEWEST times by now.
    """
    if not threshold > 0.0:
        raise ValueError(f"threshold is {threshold!r}; it must be above 0, such as 0.1 for a tenth")
    compared = 0
    found = []
    for name, then in baseline.items():
        before, by_median = _before(name, then)
        operation = operations.get(name)
        if operation is None or operation.histogram.count < FEWEST:
            continue
        compared += 1
        histogram = operation.histogram.copy()
        now = histogram_median(histogram) if by_median else _mean(histogram)
        change = now.estimate / before.estimate - 1.0
        if change > threshold:
            certain = now.low > before.high
            found.append(Change(name, before.estimate, now.estimate, change, certain, histogram.count))
    if not compared:
        names = ", ".join(sorted(map(str, baseline))[:5]) or "none"
        raise ValueError(
            f"none of the baseline's operations ({names}) was run {FEWEST} times by now: there is nothing to compare"
        )
    return sorted(found, key=lambda one: -one.change)


def _before(name: str, then: float | Kept) -> tuple[Interval, bool]:
    """The baseline's figure, and whether it is a median (else a mean)."""
    if isinstance(then, Mapping):
        try:
            histogram = Histogram.from_bytes(base64.b64decode(then["histogram"], validate=True))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"baseline: {name} has no histogram that can be read: {error}") from error
        if histogram.count < FEWEST or histogram.quantile(0.5) <= 0.0:
            raise ValueError(f"baseline: {name} has {histogram.count} runs; it takes {FEWEST} that lasted a while")
        return histogram_median(histogram), True
    if isinstance(then, bool) or not isinstance(then, int | float) or not (math.isfinite(then) and then > 0.0):
        raise ValueError(f"baseline: {name} is {shown(then)}; it must be milliseconds above 0, or from baseline()")
    return Interval(float(then), float(then), float(then)), False


def _mean(histogram: Histogram) -> Interval:
    error = 1.96 * histogram.stdev / math.sqrt(histogram.count)
    return Interval(histogram.mean, histogram.mean - error, histogram.mean + error)
