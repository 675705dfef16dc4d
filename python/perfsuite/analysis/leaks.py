"""Whether memory leaks: how many bytes each iteration leaves behind, with the interval that this lies in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median

from perfsuite import stats

SETTLING = 0.3
"""Of the iterations, those at first that are left out: caches fill, the history grows to where it is trimmed."""
FEWEST = 12
"""Readings below which nothing is said."""
STEPS = 3
"""As many of the largest steps between two readings are not taken for a leak: an arena, a table that doubles, a page
of some other thread's.  What leaks goes on between them."""

Points = Sequence[tuple[float, float]]
"""(iterations so far, bytes), in order."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Bytes that an iteration leaves behind: the slope of memory, its 95 % interval, from so many readings."""

    bytes_each: float
    low: float
    high: float
    readings: int


def leak(points: Points) -> Leak | None:
    """Theil and Sen's slope of the settled readings; None for too few.

    Readings depend on one another (memory comes in pages and arenas), so that the interval is that of as many as their
    residuals are worth; and its lower bound is not above that of the readings without their few largest steps.
    """
    settled = settle(points)
    if len(settled) < FEWEST:
        return None
    whole = _line(settled)
    even = _line(_without_steps(settled))
    return Leak(whole.slope, min(whole.low, even.low), whole.high, len(settled))


def _line(points: Points) -> stats.Trend:
    """Through readings that depend on one another."""
    iterations = [at for at, _ in points]
    sizes = [size for _, size in points]
    line = stats.trend(sizes, iterations)
    residuals = [size - line.intercept - line.slope * at for at, size in points]
    return stats.trend(sizes, iterations, n_effective=max(3.0, stats.effective_size(residuals)))


def _without_steps(points: Points) -> list[tuple[float, float]]:
    """The readings as if their largest steps had been steps of the usual height: what grows evenly keeps its slope."""
    heights = [after - before for (_, before), (_, after) in pairwise(points)]
    usual = median(heights)
    for largest in sorted(range(len(heights)), key=heights.__getitem__)[-STEPS:]:
        heights[largest] = min(heights[largest], usual)
    sizes = accumulate(heights, initial=points[0][1])
    return [(at, size) for (at, _), size in zip(points, sizes, strict=True)]


def decided(resident: Leak, held: Sequence[Leak]) -> Leak:
    """What an iteration leaves behind, by the resident memory of a process and by what is ``held`` of it, where that is
    known: objects, the heap's blocks.

    Nothing leaks that is not held: resident memory alone, which grows with the room that a heap keeps, accuses nobody.
    Nor does it clear anybody, for what leaks into free room is held: the interval reaches from the lower bound of what
    is held, of the largest, to the highest of all.  The value is the first's, the exactest, unless another is surely
    above it.
    """
    if not held:
        return resident
    largest = max(held, key=lambda one: one.low)
    high = max(resident.high, *(one.high for one in held))
    told = held[0] if held[0].high >= largest.low else largest
    return Leak(max(told.bytes_each, largest.low), largest.low, high, told.readings)


def settle(points: Points) -> list[tuple[float, float]]:
    """The readings after the settling."""
    if not points:
        return []
    first, last = points[0][0], points[-1][0]
    return [point for point in points if point[0] >= first + SETTLING * (last - first)]


def growth(points: Points, iterations: float) -> float | None:
    """Bytes more after so many iterations than before the first; None where so many were not made."""
    if not points or points[-1][0] - points[0][0] < iterations:
        return None
    after = next(size for at, size in points if at - points[0][0] >= iterations)
    return after - points[0][1]
