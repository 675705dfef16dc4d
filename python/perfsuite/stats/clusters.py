"""Samples that come in clusters: the questions of one conversation, which a system answers alike.

Only clusters vary independently.  Each function takes the sum of the scores and the number of them of every cluster;
a cluster without a score says nothing and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from perfsuite import _core

from .intervals import Interval, bootstrap_mean, mean_interval, share_interval

FEWEST_FOR_BOOTSTRAP = 30
"""Clusters below which Student's t is nearer to the truth than any bootstrap."""


class Difference(NamedTuple):
    """a - b with its interval, and the p value of there being none."""

    estimate: float
    low: float
    high: float
    p_value: float


def cluster_share_interval(sums: Sequence[float], counts: Sequence[float], confidence: float = 0.95) -> Interval:
    """The mean of scores in [0, 1] that come in clusters.

    Korn and Graubard's interval (Survey Methodology 24, 1998): Clopper and Pearson's at the number of independent
    scores that the spread between clusters is worth, with Student's allowance for there being few clusters.  Where all
    scores are 0, or all 1, nothing tells how alike a cluster's are, and only clusters count.
    """
    s, c, total = _check(sums, counts)
    clusters = len(s)
    mean = min(1.0, max(0.0, math.fsum(s) / total))
    if any(not -1e-9 <= one <= n + 1e-9 for one, n in zip(s, c, strict=True)):
        raise ValueError("the scores of a cluster must lie between 0 and 1 each")
    if clusters < 2:
        return Interval(mean, 0.0, 1.0)
    if not 1e-12 < mean < 1.0 - 1e-12:
        return share_interval(round(mean) * clusters, clusters, confidence)
    residuals = [one - mean * n for one, n in zip(s, c, strict=True)]
    variance = math.fsum(r * r for r in residuals) * clusters / (clusters - 1) / total**2
    worth = total if variance <= 0.0 else min(total, mean * (1.0 - mean) / variance)
    if total > 1.0:
        q = 0.5 + confidence / 2
        worth *= (_core.t_quantile(q, total - 1.0) / _core.t_quantile(q, clusters - 1.0)) ** 2
    bounds = share_interval(min(worth, mean * worth), worth, confidence)
    return Interval(mean, bounds.low, bounds.high)


def cluster_mean_interval(
    sums: Sequence[float], counts: Sequence[float], confidence: float = 0.95, *, seed: int = 0
) -> Interval:
    """The mean of scores of any range that come in clusters.

    The ratio of sums, by the clusters' linearised values: their mean is the ratio itself, and to resample them is to
    resample clusters (exactly so where clusters are equally large).  BCa bootstrap from 30 clusters on, Student's t
    below; infinite for one.
    """
    values = _linearised(*_check(sums, counts))
    if len(values) < FEWEST_FOR_BOOTSTRAP:
        return mean_interval(values, confidence)
    return bootstrap_mean(values, confidence, seed=seed)


def paired_difference(
    a: tuple[Sequence[float], Sequence[float]],
    b: tuple[Sequence[float], Sequence[float]],
    confidence: float = 0.95,
) -> Difference:
    """How much higher a's mean score in [0, 1] is than b's on the same questions: (sums, counts) of each, by the same
    clusters.

    What makes a conversation hard for both is no difference: only each cluster's own difference varies.  Interval and
    p value are Student's; the p value is never less than that of the sign test (two clusters that agree show nothing).
    Where every cluster shows the same difference, the interval is what that many clusters cannot exclude.
    """
    if not len(a[0]) == len(a[1]) == len(b[0]) == len(b[1]):
        raise ValueError("a and b must have sums and counts of the same clusters, in the same order")
    kept = [index for index in range(len(a[0])) if a[1][index] > 0 and b[1][index] > 0]
    if not kept:
        raise ValueError("no cluster has scores of both: there is nothing to compare")
    first = _linearised(*_check([a[0][i] for i in kept], [a[1][i] for i in kept]))
    second = _linearised(*_check([b[0][i] for i in kept], [b[1][i] for i in kept]))
    values = [x - y for x, y in zip(first, second, strict=True)]
    clusters = len(values)
    n, mean, stdev = _core.moments(values)
    least = min(1.0, 2.0 ** (1 - clusters)) if clusters < 1000 else 0.0
    if clusters < 2:
        return Difference(mean, -1.0, 1.0, 1.0)
    if stdev <= 1e-12:
        other = -math.expm1(math.log(1.0 - confidence) / clusters)
        low, high = mean - (mean + 1.0) * other, mean + (1.0 - mean) * other
        return Difference(mean, low, high, 1.0 if abs(mean) <= 1e-12 else least)
    p_value = min(1.0, 2.0 * _core.t_tail(abs(mean) / (stdev / math.sqrt(n)), n - 1.0))
    interval = mean_interval(values, confidence)
    return Difference(mean, max(-1.0, interval.low), min(1.0, interval.high), max(p_value, least))


def _linearised(sums: list[float], counts: list[float], total: float) -> list[float]:
    ratio = math.fsum(sums) / total
    scale = len(sums) / total
    return [ratio + (s - ratio * n) * scale for s, n in zip(sums, counts, strict=True)]


def _check(sums: Sequence[float], counts: Sequence[float]) -> tuple[list[float], list[float], float]:
    if len(sums) != len(counts):
        raise ValueError(f"{len(sums)} sums and {len(counts)} counts: give one of each for every cluster")
    for name, values in (("sums", sums), ("counts", counts)):
        for index, value in enumerate(values):
            if not math.isfinite(value) or (name == "counts" and value < 0):
                raise ValueError(f"{name}[{index}] is {value}")
    kept = [(float(s), float(n)) for s, n in zip(sums, counts, strict=True) if n > 0]
    if not kept:
        raise ValueError("no cluster has a score: there is nothing to answer from")
    return [s for s, _ in kept], [n for _, n in kept], math.fsum(n for _, n in kept)
