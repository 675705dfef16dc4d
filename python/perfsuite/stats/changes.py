"""Did it change?  Two samples, two sets of runs, many comparisons at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from perfsuite import _core

from .intervals import Numbers
from .welch import Mean, factor, welch

if TYPE_CHECKING:
    from typing_extensions import Buffer

Verdict: TypeAlias = Literal["same", "improved", "regressed", "inconclusive"]
Run: TypeAlias = "float | Buffer | Iterable[float]"

_ALTERNATIVES = {"two-sided": 0, "less": 1, "greater": 2}


class Comparison(NamedTuple):
    """New runs against baseline runs: `ratio` is new / baseline, between `low` and `high` (confidence 1 - alpha).

    `smallest_visible` is the least change, as a share (0.05 is 5 %), that these runs would have shown four times in
    five; infinite where there are too few of them.
    """

    verdict: Verdict
    ratio: float
    low: float
    high: float
    p_value: float
    smallest_visible: float


def mann_whitney(
    x: Numbers, y: Numbers, alternative: Literal["two-sided", "less", "greater"] = "two-sided"
) -> tuple[float, float]:
    """Mann and Whitney's rank test: (U of x, p value), as ``scipy.stats.mannwhitneyu`` gives them.

    Exact where a sample has at most 8 values and nothing is tied, else the normal approximation with corrections for
    ties and continuity.  "less" asks whether x tends to be smaller than y.  Samples must be independent: for runs of a
    benchmark, whose samples are not, use `compare`.
    """
    if alternative not in _ALTERNATIVES:
        raise ValueError(f"alternative {alternative!r} is not one of: {', '.join(_ALTERNATIVES)}")
    return _core.mann_whitney(x, y, _ALTERNATIVES[alternative])


def compare(
    baseline_runs: Iterable[Run],
    new_runs: Iterable[Run],
    min_effect: float = 0.03,
    alpha: float = 0.01,
    *,
    better: Literal["lower", "higher"] = "lower",
    relevant: float = 0.10,
) -> Comparison:
    """Whether new runs differ from baseline runs: Welch's t test on the logarithms of the runs' medians.

    A run is a number or its samples, all greater than 0; runs, not samples, are what varies independently.

    - `improved` or `regressed`: p < alpha and a change of more than `min_effect` (either way as a factor: x 1.03 or
      / 1.03, so that swapping the sides swaps the verdict).  Lower is better unless `better` says otherwise.
    - `same`: no such change, and the whole interval excludes changes of `relevant` (10 %) or more.
    - `inconclusive`: too few or too noisy runs to say either; fewer than two on a side always are.
    """
    if not (0.0 <= min_effect <= relevant and 0.0 < alpha < 1.0):
        raise ValueError(f"min_effect {min_effect}, relevant {relevant}, alpha {alpha}: "
                         "give 0 <= min_effect <= relevant and 0 < alpha < 1")  # fmt: skip
    if better not in ("lower", "higher"):
        raise ValueError(f"better {better!r} is neither 'lower' nor 'higher'")
    before = _log_medians(baseline_runs, "baseline_runs")
    after = _log_medians(new_runs, "new_runs")
    sides = _mean_of(before), _mean_of(after)
    if min(len(before), len(after)) < 2:
        return Comparison("inconclusive", factor(sides[1].mean - sides[0].mean), 0.0, math.inf, 1.0, math.inf)
    test = welch(*sides)
    change, p_value, margin = test.change, test.p_value, test.margin(alpha)
    visible = math.expm1(min(700.0, test.visible(alpha)))
    verdict: Verdict
    if p_value < alpha and abs(change) > math.log1p(min_effect):
        verdict = "regressed" if (change > 0.0) == (better == "lower") else "improved"
    elif abs(change) + margin < math.log1p(relevant):
        verdict = "same"
    else:
        verdict = "inconclusive"
    low, high = factor(change - margin), factor(change + margin)
    return Comparison(verdict, factor(change), low, high, p_value, max(min_effect, visible))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values adjusted for there being many of them (Holm, Scand. J. Statistics 6, 1979), in the same order."""
    for index, p in enumerate(p_values):
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p_values[{index}] is {p}, not between 0 and 1")
    adjusted = [0.0] * len(p_values)
    worst = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = worst
    return adjusted


def _mean_of(values: Sequence[float]) -> Mean:
    n, mean, stdev = _core.moments(values)
    return Mean(n, mean, stdev**2 / n)


def _log_medians(runs: Iterable[Run], name: str) -> list[float]:
    logs = []
    for index, run in enumerate(runs):
        median = float(run) if isinstance(run, (int, float)) else _median(run, f"{name}[{index}]")
        if not 0.0 < median < math.inf:
            raise ValueError(f"{name}[{index}] is {median}: a ratio needs values that are finite and greater than 0")
        logs.append(math.log(median))
    if not logs:
        raise ValueError(f"{name} is empty: give one number, or one sequence of samples, for each run")
    return logs


def _median(run: Numbers, name: str) -> float:
    item = getattr(run, "__float__", None)
    if item is not None and getattr(run, "ndim", 0) == 0:  # a numpy scalar, a Decimal
        return float(item())
    try:
        return _core.median(run)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error
