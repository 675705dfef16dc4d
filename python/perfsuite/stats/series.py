"""Series in time: what a dependent series is worth, its trend, and where it changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from perfsuite import _core

from .intervals import Interval, Numbers, share_interval


class BlockInterval(NamedTuple):
    """An `Interval` from blocks of time, and how many independent samples the series is worth."""

    estimate: float
    low: float
    high: float
    n_effective: float


class Trend(NamedTuple):
    """A line through a series: slope per unit of t, value at t = 0, and the slope's interval."""

    slope: float
    intercept: float
    low: float
    high: float


def effective_size(series: Numbers) -> float:
    """How many independent samples the mean of this series (in order of time) is worth, from 1 to its length.

    Its length divided by the integrated autocorrelation time, from Geyer's initial monotone sequence (Statistical
    Science 7, 1992).  A constant series is worth its length.
    """
    return _core.effective_size(series)


def trend(y: Numbers, t: Numbers | None = None, confidence: float = 0.95, *, n_effective: float | None = None) -> Trend:
    """Theil and Sen's line: the median of the slopes between all pairs of points, with Sen's interval (1968).

    `t` defaults to 0, 1, 2...  The interval takes residuals for independent; for a series that is not, give
    `n_effective` (of its residuals), which widens it.  Few points leave sides open (infinite).  Exact at every
    length, in O(n log n) time and bounded memory (see csrc/core/pfs_stats_trend.c for what rounding may do).
    """
    if n_effective is not None and not n_effective > 0.0:
        raise ValueError(f"n_effective {n_effective} must be greater than 0")
    return Trend(*_core.theil_sen(y, t, confidence, n_effective or 0.0))


def change_points(
    series: Numbers, min_segment: int = 3, *, alpha: float = 0.01, permutations: int = 999, seed: int = 0
) -> list[int]:
    """The indices at which the series changes to another level or spread, ascending: E-divisive.

    Matteson and James, JASA 109 (2014): each change beats all but `alpha` of `permutations` shuffles of its segment;
    segments have `min_segment` (2 or more) values.  A steady drift is cut into steps as well: look at `trend` first.
    """
    return _core.change_points(series, min_segment, alpha, permutations, seed)


def block_interval(
    sums: Sequence[float], counts: Sequence[float], confidence: float = 0.95, *, variance: float | None = None
) -> BlockInterval:
    """The mean of samples that depend on one another in time, from the sum and the number of them in each block.

    The ratio of sums with its delta-method error over blocks, which are in turn discounted for what correlation is
    left between them (`effective_size`), and Student's t.  Give the `variance` of single samples to learn how many
    of them the series is worth; else `n_effective` is the number of independent blocks.  Empty blocks count as
    blocks.  With fewer than two blocks the interval is infinite.
    """
    total, blocks = _check_blocks(sums, counts)
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} must lie between 0 and 1, as in 0.95")
    mean = math.fsum(sums) / total
    if blocks < 2:
        return BlockInterval(mean, -math.inf, math.inf, 1.0)
    residuals = [s - mean * c for s, c in zip(sums, counts, strict=True)]
    worth = effective_size(residuals)
    spread = math.fsum(r * r for r in residuals) * blocks / (blocks - 1)
    error = math.sqrt(spread * blocks / worth) / total
    if worth <= 1.0:
        return BlockInterval(mean, -math.inf, math.inf, 1.0)
    margin = _core.t_quantile(0.5 + confidence / 2, worth - 1.0) * error
    n_effective = worth
    if variance is not None:
        n_effective = min(total, variance / error**2) if error > 0.0 else total
    return BlockInterval(mean, mean - margin, mean + margin, n_effective)


def block_share_interval(hits: Sequence[float], trials: Sequence[float], confidence: float = 0.95) -> BlockInterval:
    """A share of trials that depend on one another in time, from the hits and the trials of each block.

    Clopper and Pearson's interval at the number of independent trials that the blocks' spread is worth; never more
    than there were.  Where no block differs from another (no hits at all), every trial counts.
    """
    total, _ = _check_blocks(hits, trials)
    for index, (h, n) in enumerate(zip(hits, trials, strict=True)):
        if not 0.0 <= h <= n:
            raise ValueError(f"block {index} has {h} hits of {n} trials")
    share = min(1.0, math.fsum(hits) / total)
    worth = total
    if 0.0 < share < 1.0:
        worth = block_interval(hits, trials, confidence, variance=share * (1.0 - share)).n_effective
    low_high: Interval = share_interval(min(worth, share * worth), worth, confidence)
    return BlockInterval(share, low_high.low, low_high.high, worth)


def _check_blocks(sums: Sequence[float], counts: Sequence[float]) -> tuple[float, int]:
    if len(sums) != len(counts):
        raise ValueError(f"{len(sums)} sums and {len(counts)} counts: give one of each for every block")
    for name, values in (("sums", sums), ("counts", counts)):
        for index, value in enumerate(values):
            if not math.isfinite(value) or (name == "counts" and value < 0):
                raise ValueError(f"{name}[{index}] is {value}")
    total = math.fsum(counts)
    if not total > 0.0:
        raise ValueError("no block has a sample: there is nothing to answer from")
    return total, len(sums)
