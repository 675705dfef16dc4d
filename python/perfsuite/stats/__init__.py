"""Statistics for measurements: intervals that do not pretend, tests that know ties, honest verdicts.

Data is any one-dimensional numeric buffer (a numpy array, ``array.array``, memoryview) or iterable of numbers.
NaN and infinities are refused with their index.  Where samples depend on one another (a series in time), give the
effective number of samples, or use the block functions.
"""

from __future__ import annotations

from .changes import Comparison, compare, holm, mann_whitney
from .clusters import Difference, cluster_mean_interval, cluster_share_interval, paired_difference
from .intervals import (
    Interval,
    bootstrap_mean,
    mean_interval,
    mean_interval_of,
    quantile_fractions,
    quantile_interval,
    quantile_ranks,
    quantiles,
    samples_needed,
    share_interval,
)
from .series import (
    BlockInterval,
    Trend,
    block_interval,
    block_share_interval,
    change_points,
    effective_size,
    trend,
)

__all__ = [
    "BlockInterval",
    "Comparison",
    "Difference",
    "Interval",
    "Trend",
    "block_interval",
    "block_share_interval",
    "bootstrap_mean",
    "change_points",
    "cluster_mean_interval",
    "cluster_share_interval",
    "compare",
    "effective_size",
    "holm",
    "mann_whitney",
    "mean_interval",
    "mean_interval_of",
    "paired_difference",
    "quantile_fractions",
    "quantile_interval",
    "quantile_ranks",
    "quantiles",
    "samples_needed",
    "share_interval",
    "trend",
]
