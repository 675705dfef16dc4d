"""A histogram counted into the fixed bounds that metrics systems want."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfsuite._core import Histogram


def octaves(lowest: int, highest: int) -> list[float]:
    """The powers of two from ``2**lowest`` to ``2**highest`` with 1.5 times each between them: all of them are edges
    of a histogram's cells, whatever its precision."""
    whole = [2.0**exponent for exponent in range(lowest, highest)]
    return [*(bound for power in whole for bound in (power, 1.5 * power)), 2.0**highest]


def counted(histogram: Histogram, bounds: Sequence[float]) -> list[int]:
    """How many values are in each bucket, one more than ``bounds``, which ascend: the last has what is above them all.

    A bucket's upper bound belongs to it.  A cell counts where it begins: values on a bound are on its right side, and
    where a bound is no cell's edge those of one cell, which is as wide as the histogram is precise, may be on the
    other.
    """
    counts = [0] * (len(bounds) + 1)
    at = 0
    for low, _, count in histogram.buckets():
        while at < len(bounds) and low > bounds[at]:
            at += 1
        counts[at] += count
    return counts
