"""How a distribution went over time, in few enough numbers for a result file: what a heat map is drawn from."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from itertools import pairwise

from perfsuite._core import Histogram
from perfsuite.result import Slices

MOST_SLICES = 60
BANDS = 40
FINEST = 1e-3
"""The lowest edge as a share of the highest value: a few zeros do not make the bands coarse for all that is above."""


def sliced(blocks: Sequence[Histogram], times: Sequence[float]) -> Slices | None:
    """At most MOST_SLICES slices of the blocks that begin at ``times``, in BANDS bands of equal ratio.

    None where there are no times, or fewer than two slices with a value: that shows no course.
    """
    if not times:
        return None
    found = [(t, block) for t, block in zip(times, blocks, strict=True) if block.count]
    if len(found) < 2:
        return None
    width = min(b - a for (a, _), (b, _) in pairwise(found))
    together = math.ceil(((found[-1][0] - found[0][0]) / width + 1.0) / MOST_SLICES)
    width *= together
    edges = _edges(min(block.min for _, block in found), max(block.max for _, block in found))
    first = found[0][0]
    rows: dict[int, list[int]] = {}
    for t, block in found:
        row = rows.setdefault(math.floor((t - first) / width + 1e-9), [0] * (len(edges) - 1))
        for low, high, number in block.buckets():
            row[_band(edges, (low + high) / 2.0)] += number
    if len(rows) < 2:
        return None
    return Slices(t_s=[first + i * width for i in rows], width_s=width, edges=edges, counts=list(rows.values()))


def _edges(low: float, high: float) -> list[float]:
    """From the lowest value to the highest."""
    if high <= 0.0:
        return [0.0, 1.0]
    low = max(low, high * FINEST) * (1.0 - 1e-9)
    if high / low < 1.05:
        return [low * 0.95, high * 1.05]
    ratio = (high / low) ** (1.0 / BANDS)
    return [*(low * ratio**i for i in range(BANDS)), high]


def _band(edges: Sequence[float], value: float) -> int:
    """The band of a value; what is outside of the edges (by a bucket's rounding) belongs to the nearest."""
    return min(len(edges) - 2, max(0, bisect.bisect_right(edges, value) - 1))
