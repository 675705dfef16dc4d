"""What a service takes at the scales of the guide, from the line through what it took at small ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perfsuite import stats


@dataclass(frozen=True, slots=True)
class ScaleClass:
    """A row of the guide: its upper end, and what it may take.  ``cpu`` is a share of one core."""

    name: str
    users: int
    messages_per_hour: int
    memory_bytes: float
    cpu: float


CLASSES = (
    ScaleClass("small", 10, 100, 100e6, 0.05),
    ScaleClass("medium", 100, 1000, 1e9, 0.10),
    ScaleClass("large", 1000, 10_000, 10e9, 0.25),
    ScaleClass("enterprise", 10_000, 100_000, 100e9, 0.50),
)
"""The guide's scale classes; it says 1,000 and more users for the last: ten times the class before it."""


@dataclass(frozen=True, slots=True)
class Projection:
    """A figure at a scale, with its 95 % interval.  ``extrapolated``: beyond what was measured.  ``error``: what the
    line is off at most where it was measured, as a share of what was read there."""

    value: float
    low: float
    high: float
    extrapolated: bool
    error: float


def project(points: Sequence[tuple[float, float]], users: float) -> Projection:
    """Memory at so many users, by Theil and Sen's line through (users, bytes).  ValueError for under 3 points."""
    if len(points) < 3:
        raise ValueError(f"a line needs 3 points or more, not {len(points)}")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    line = stats.trend(ys, xs)
    error = max(abs(y - line.intercept - line.slope * x) / y for x, y in points if y > 0)
    middle = sorted(xs)[len(xs) // 2]  # the slopes of the interval turn about the middle of what was measured
    level = line.intercept + line.slope * middle
    low, high = (level + slope * (users - middle) for slope in (line.low, line.high))
    return Projection(
        value=line.intercept + line.slope * users,
        low=max(0.0, min(low, high)),
        high=max(low, high),
        extrapolated=users > max(xs),
        error=error,
    )
