"""Quantiles, shares and means of samples, each with the interval in which the true value lies."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from perfsuite import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from perfsuite._core import Histogram

Numbers: TypeAlias = "Buffer | Iterable[float]"
"""A one-dimensional numeric buffer, or any iterable of numbers."""


class Interval(NamedTuple):
    """A value and the bounds it lies between; a side that the data cannot bound is infinite."""

    estimate: float
    low: float
    high: float


def quantiles(data: Numbers, qs: Iterable[float]) -> tuple[float, ...]:
    """The exact quantiles of data at each of qs (0 to 1): nearest rank, the value of rank ceil(q n)."""
    return _core.exact_quantiles(data, qs)


def nearest_rank(n: int, q: float) -> int:
    """The rank, from 1 on, of the q-quantile of n values: ceil(q n), but for what multiplying adds to a whole number.

    For values that are counted and not at hand, or of which some are larger than can be said; else ``quantiles``.
    """
    exact = q * n
    whole = round(exact)
    return max(1, whole if math.isclose(exact, whole, rel_tol=1e-12) else math.ceil(exact))


def quantile_interval(data: Numbers, q: float, confidence: float = 0.95) -> Interval:
    """The q-quantile (0 < q < 1) by nearest rank, between two order statistics; no distribution is assumed.

    The interval holds the population's quantile with at least `confidence` (the binomial's coverage), half of the
    rest on either side; where a side cannot be had for half of it, it takes what it needs and leaves the other side
    the remainder (299 samples bound p99 from above).  A side that cannot be had at all is infinite.  Samples must be
    independent.
    """
    return Interval(*_core.quantile_interval(data, q, confidence))


def quantile_ranks(n: float, q: float, confidence: float = 0.95) -> tuple[int | None, int | None]:
    """The 1-based ranks of the two order statistics of `quantile_interval`; None for a side that is open.

    `n` may be an effective size that is not an integer.  The ranks are among n samples; for N samples that are worth
    n, see `quantile_fractions`.
    """
    low, high = _core.quantile_ranks(n, q, confidence)
    return int(low) or None, int(high) or None


def quantile_fractions(n: float, q: float, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """The same as fractions: a histogram's quantiles at these are the bounds of its q-quantile.

    The fraction is half a rank below the rank, so that ceil(fraction * N) is the rank where n = N, whatever the
    rounding.
    """
    low, high = quantile_ranks(n, q, confidence)
    return (
        None if low is None else min(1.0, (low - 0.5) / n),
        None if high is None else max(0.0, min(high, n) - 0.5) / n,
    )


def histogram_median(histogram: Histogram) -> Interval:
    """The median of what a histogram counted; see ``histogram_quantile``."""
    return histogram_quantile(histogram, 0.5)


def histogram_quantile(histogram: Histogram, q: float) -> Interval:
    """The q-quantile of what a histogram counted, between two of its quantiles (95 %); where there are too few values
    for a bound, 0 or infinity, which is all that is known of values that are not negative."""
    low, high = quantile_fractions(histogram.count, q)
    return Interval(
        histogram.quantile(q),
        0.0 if low is None else histogram.quantile(low),
        math.inf if high is None else histogram.quantile(high),
    )


def samples_needed(q: float, confidence: float = 0.95) -> int:
    """The fewest independent samples whose interval of the q-quantile has both bounds: 299 for p99."""
    return _core.samples_needed(q, confidence)


def share_interval(hits: float, trials: float, confidence: float = 0.95) -> Interval:
    """A share hits / trials by Clopper and Pearson (1934): never covers less than `confidence`.

    With no hits, or nothing but hits, the side that is left has all of the allowance: 0 of 50 is at most 5.8 %.
    Counts may be effective ones that are not integers.
    """
    if not (0.0 <= hits <= trials and 0.0 < trials < math.inf):
        raise ValueError(f"{hits} hits of {trials} trials are no share: give 0 <= hits <= trials, trials > 0")
    alpha = _allowance(confidence)
    if hits == 0:
        return Interval(0.0, 0.0, -math.expm1(math.log(alpha) / trials))
    if hits == trials:
        return Interval(1.0, math.exp(math.log(alpha) / trials), 1.0)
    misses = trials - hits
    return Interval(
        hits / trials,
        _core.beta_quantile(hits, misses + 1.0, alpha / 2),
        _core.beta_quantile(hits + 1.0, misses, 1.0 - alpha / 2),
    )


def mean_interval(data: Numbers, confidence: float = 0.95, n_effective: float | None = None) -> Interval:
    """The mean with Student's t interval, as wide as `n_effective` (default: all) independent samples make it.

    One sample has no spread: its interval is infinite.
    """
    n, mean, stdev = _core.moments(data)
    return mean_interval_of(mean, stdev, n, confidence, n_effective)


def mean_interval_of(
    mean: float, stdev: float, n: float, confidence: float = 0.95, n_effective: float | None = None
) -> Interval:
    """As `mean_interval`, from the mean, the sample standard deviation and the number of samples."""
    alpha = _allowance(confidence)
    worth = n if n_effective is None else min(n_effective, n)
    if not (math.isfinite(mean) and stdev >= 0.0 and worth > 0.0):
        raise ValueError(f"mean {mean}, stdev {stdev}, n {n}, n_effective {n_effective} describe no sample")
    if worth <= 1.0:
        return Interval(mean, -math.inf, math.inf)
    margin = _core.t_quantile(1.0 - alpha / 2, worth - 1.0) * stdev / math.sqrt(worth)
    return Interval(mean, mean - margin, mean + margin)


def bootstrap_mean(data: Numbers, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Interval:
    """The mean with its bootstrap interval: bias-corrected and accelerated (BCa; Efron, JASA 82, 1987).

    The same seed gives the same interval on every machine.  Samples must be independent; a dozen is too few for any
    bootstrap (`mean_interval` is wider there, and right).
    """
    return Interval(*_core.bootstrap_mean(data, confidence, resamples, seed))


def _allowance(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence} must lie between 0 and 1, as in 0.95")
    return 1.0 - confidence
