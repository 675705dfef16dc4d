"""Welch's t test of two means, each with an error of its own: what every comparison of runs with runs rests on."""

from __future__ import annotations

import math
from typing import NamedTuple

from perfsuite import _core

POWER = 0.8
"""The least change that could have been seen is the one that is found so often: four times in five."""


class Mean(NamedTuple):
    """A side: ``n`` values, their mean, and the variance of that mean (not of the values)."""

    n: int
    mean: float
    variance: float


class Welch(NamedTuple):
    """``change``: the mean after less the mean before; ``error`` (standard) and ``df`` are the change's.  Where nothing
    varies ``error`` is 0, ``df`` infinite, and ``p_value`` 1 where nothing changed, else 0."""

    change: float
    error: float
    df: float
    p_value: float

    def margin(self, alpha: float) -> float:
        """Half the width of the interval of ``change`` with confidence 1 - ``alpha``."""
        return _core.t_quantile(1.0 - alpha / 2, self.df) * self.error if self.error > 0.0 else 0.0

    def visible(self, alpha: float) -> float:
        """The least change that a test at level ``alpha`` would have found with probability POWER."""
        if self.error <= 0.0:
            return 0.0
        return (_core.t_quantile(1.0 - alpha / 2, self.df) + _core.t_quantile(POWER, self.df)) * self.error


def welch(before: Mean, after: Mean) -> Welch:
    """The test; both sides of two values or more."""
    change = after.mean - before.mean
    error = math.sqrt(before.variance + after.variance)
    # What the rounding of logarithms and means alone can make of equal runs.
    rounding = 4e-16 * (1.0 + abs(before.mean) + abs(after.mean))
    if error <= rounding:
        same = abs(change) <= rounding
        return Welch(0.0 if same else change, 0.0, math.inf, 1.0 if same else 0.0)
    df = (before.variance + after.variance) ** 2 / (
        before.variance**2 / (before.n - 1) + after.variance**2 / (after.n - 1)
    )
    return Welch(change, error, df, min(1.0, 2.0 * _core.t_tail(abs(change) / error, df)))


def factor(change: float) -> float:
    """e**change, infinite where that is no double: the ratio of 1e300 to 1e-300 is not one."""
    return math.exp(change) if change < 709.0 else math.inf
