"""Is this run what its history lets one expect?  A run against the runs before it.

One run cannot tell a change from a bad minute, so there are two steps.  A run is suspicious when it lies beyond what
the history predicts, by 1.5 standard deviations or, where runs vary so much that a change of the size that is watched
for would slip through there, by as much less.  Then fresh runs are made, one at a time: from the fifth on they confirm
the change where it is more than 3 % and z > 3.4 (they are looked at after each, so 3.1 would not be strict enough), and
they dismiss it as soon as a change of the size watched for is as good as excluded.  The run that raised the suspicion
has no say in that: it was chosen for being bad.

What a history predicts is its level since it last changed, by E-divisive change points (Matteson and James, JASA 109,
2014; segments of three runs and more, permutation test, seeded): a change that was accepted is the new normal.  A
history that a straight line describes better than steps drifts, and is said to: its next run is expected on the line.
Outlying runs are drawn in to three deviations; fresh runs that follow each other share what the machine is up to, so
as far as the history's neighbours are alike (lag-one autocorrelation) their mean is taken for no better than one run.

Pure functions, on logarithms of the runs' medians (on the values themselves where ``absolute``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from perfsuite import _core
from perfsuite.analysis.comparable import Better
from perfsuite.analysis.regression import LEAST_CHANGE, LEAST_SHARE, OUTLYING
from perfsuite.stats import Interval, change_points, effective_size, trend
from perfsuite.stats.welch import POWER

FEWEST = 8
"""Runs that a history needs before it predicts anything."""
LONGEST = 200
"""Of a longer history the newest so many count."""
SHORTEST_SEGMENT = 3
SUSPICION = 1.5
CONFIRMATION = 3.4
CAUGHT = 1.9
"""So many deviations below a change of the size watched for, at most: it is suspicious 97 times in 100."""
EXCLUDED = 2.75
FRESH_OUTLYING = 1.5
FEWEST_FRESH = 5
MOST_FRESH = 20
STEP_ALPHA = 0.003
MOST_ALIKE = 0.9
"""Beyond it a history says next to nothing of how far its level is off."""

State = Literal["more", "confirmed", "dismissed", "open"]


class Expectation(NamedTuple):
    """What the next run should be.

    ``level``: its value; ``deviation``: from run to run; ``error``: of the level; ``shared``: how far neighbours are
    alike (0…1); ``df``: what the deviation is worth.  ``slope``: of a history that drifts, from run to run, else 0;
    ``drift``: over the whole history.  ``steps``: the indices at which the level changed; ``runs``: how many it rests
    on.
    """

    level: float
    deviation: float
    error: float
    shared: float
    df: float
    slope: float
    drift: float
    steps: tuple[int, ...]
    runs: int
    absolute: bool

    @property
    def drifting(self) -> bool:
        """Whether a line describes the history better than levels do."""
        return self.slope != 0.0

    def expected(self) -> float:
        """The value expected, in the figure's unit."""
        return self.level if self.absolute else math.exp(self.level)

    @property
    def drifted(self) -> float:
        """The drift over the whole history, as a share (a difference where ``absolute``)."""
        return self.drift if self.absolute else math.expm1(self.drift)

    def share_of(self, value: float) -> float:
        """How far a value lies from the expectation: as a share of it, or as a difference where ``absolute``."""
        return value - self.level if self.absolute else value / self.expected() - 1.0


class Settled(NamedTuple):
    """What the fresh runs say: ``state``, how far they lie from the expectation (``share_of``), and their z, positive
    where they are worse."""

    state: State
    share: float
    z: float


def expect(history: Sequence[float], *, absolute: bool = False, seed: int = 0) -> Expectation | None:
    """What the next run of a history (oldest first) will be; None where it is too short or a value has no logarithm."""
    values = [float(value) for value in history[-LONGEST:]]
    if len(values) < FEWEST or not all(map(math.isfinite, values)) or (not absolute and min(values) <= 0.0):
        return None
    y = _drawn_in(values if absolute else [math.log(value) for value in values])
    n = len(y)
    if max(y) - min(y) <= 4e-16 * (1.0 + abs(y[0])) * n:
        return Expectation(y[-1], 0.0, 0.0, 0.0, n - 1.0, 0.0, 0.0, (), n, absolute)
    steps = tuple(change_points(y, SHORTEST_SEGMENT, alpha=STEP_ALPHA, permutations=999, seed=seed))
    bounds = [0, *steps, n]
    segments = [y[a:b] for a, b in itertools.pairwise(bounds)]
    residuals = [x - math.fsum(part) / len(part) for part in segments for x in part]
    slope, intercept = _line(y, absolute)
    if slope != 0.0:
        around = [x - intercept - slope * i for i, x in enumerate(y)]
        if _criterion(around, 2) < _criterion(residuals, 2 * len(steps) + 1):
            deviation = _deviation(around, 2)
            middle = (n - 1) / 2
            leverage = 1.0 / n + (n - middle) ** 2 / math.fsum((i - middle) ** 2 for i in range(n))
            error = deviation * math.sqrt(leverage)
            drift = slope * (n - 1)
            return Expectation(
                intercept + slope * n, deviation, error, _alike(around), n - 2.0, slope, drift, (), n, absolute
            )
    last = segments[-1]
    deviation = _deviation(residuals, len(segments))
    return Expectation(
        level=math.fsum(last) / len(last),
        deviation=deviation,
        error=deviation / math.sqrt(len(last)),
        shared=_alike(residuals),
        df=float(n - len(segments)),
        slope=0.0,
        drift=0.0,
        steps=steps,
        runs=len(last),
        absolute=absolute,
    )


def z_of(expectation: Expectation, fresh: Sequence[float]) -> float:
    """How many standard deviations the mean of fresh runs (values, not logarithms) lies above the expectation, as the
    normal quantile of Student's p value: the history's deviation is itself an estimate."""
    mean = _mean(expectation, fresh)
    error = _error(expectation, len(fresh))
    change = mean - expectation.level
    if error == 0.0:
        return 0.0 if abs(change) <= 1e-12 else math.copysign(math.inf, change)
    tail = _core.t_tail(abs(change) / error, expectation.df)
    return math.copysign(normal(tail), change)


def foreseen(expectation: Expectation, ahead: int = 1, confidence: float = 0.95) -> Interval:
    """Where the run lies that is so many ahead (1: the next): Student's prediction interval, in the figure's unit.

    It holds while nothing changes but what already does: a level stays, a drift goes on.  The level's own error is that
    of fewer runs than there are where neighbours are alike.
    """
    y = expectation.level + expectation.slope * (ahead - 1)
    error = expectation.error
    if expectation.drifting:
        n = expectation.runs
        middle = (n - 1) / 2
        error = expectation.deviation * math.sqrt(1.0 / n + (n - 1 + ahead - middle) ** 2 / (n * (n * n - 1) / 12.0))
    alike = min(expectation.shared, MOST_ALIKE)
    whole = math.sqrt(expectation.deviation**2 + error**2 * (1.0 + alike) / (1.0 - alike))
    reach = _core.t_quantile(0.5 + confidence / 2.0, expectation.df) * whole
    ends = (y, y - reach, y + reach)
    return Interval(*(ends if expectation.absolute else (math.exp(min(end, 700.0)) for end in ends)))


def suspicion(expectation: Expectation, relevant: float) -> float:
    """The z beyond which one run is suspicious, where a change of ``relevant`` (0.1 is 10 %) is watched for."""
    error = _error(expectation, 1)
    watched = relevant if expectation.absolute else math.log1p(relevant)
    return SUSPICION if error == 0.0 else max(0.0, min(SUSPICION, watched / error - CAUGHT))


def suspicious(expectation: Expectation, value: float, better: Better, relevant: float) -> bool:
    """Whether a run is worse than the history lets one expect."""
    z = z_of(expectation, [value])
    return (z if better == "lower" else -z) > suspicion(expectation, relevant)


def settle(
    expectation: Expectation, fresh: Sequence[float], better: Better, relevant: float, family: int = 1
) -> Settled:
    """What fresh runs say of a suspicion, so far: ``more`` are needed, it is ``confirmed``, ``dismissed``, or still
    ``open`` after MOST_FRESH.  ``family``: of so many figures that are judged together (Bonferroni)."""
    absolute = expectation.absolute
    watched = relevant if absolute else math.log1p(relevant)
    least = LEAST_SHARE if absolute else math.log1p(LEAST_CHANGE)
    if not fresh:
        return Settled("more", 0.0, 0.0)
    sign = 1.0 if better == "lower" else -1.0
    change = _mean(expectation, fresh) - expectation.level
    worse = sign * change
    z = sign * z_of(expectation, fresh)
    error = _error(expectation, len(fresh))
    state: State = "more" if len(fresh) < MOST_FRESH else "open"
    if z > confirmation(family) and worse > least and len(fresh) >= FEWEST_FRESH:
        state = "confirmed"
    elif worse + EXCLUDED * error < watched or (error == 0.0 and worse <= least):
        state = "dismissed"
    return Settled(state, change if absolute else math.expm1(min(change, 700.0)), z)


def smallest_visible(expectation: Expectation, fresh: int, family: int = 1) -> float:
    """The least change, as a share, that so many fresh runs would confirm four times in five."""
    error = _error(expectation, fresh)
    if error == 0.0:
        return LEAST_SHARE if expectation.absolute else LEAST_CHANGE
    tail = math.erfc(confirmation(family) / math.sqrt(2.0)) / 2.0
    reach = _core.t_quantile(1.0 - tail, expectation.df) + _core.t_quantile(POWER, expectation.df)
    change = reach * error
    return max(LEAST_SHARE, change) if expectation.absolute else max(LEAST_CHANGE, math.expm1(min(change, 700.0)))


def confirmation(family: int) -> float:
    """The z that confirms, where so many figures are judged together (Bonferroni)."""
    tail = math.erfc(CONFIRMATION / math.sqrt(2.0)) / 2.0
    return CONFIRMATION if family <= 1 else normal(tail / family)


def _error(expectation: Expectation, runs: int) -> float:
    """Of the difference between the mean of so many fresh runs and the level."""
    own = expectation.shared + (1.0 - expectation.shared) / runs
    return math.sqrt(expectation.deviation**2 * own + expectation.error**2)


def _mean(expectation: Expectation, fresh: Sequence[float]) -> float:
    values = [value if expectation.absolute else math.log(value) if value > 0.0 else -700.0 for value in fresh]
    middle = _core.median(values)
    limit = FRESH_OUTLYING * expectation.deviation
    return math.fsum(min(max(x, middle - limit), middle + limit) for x in values) / len(values)


def _drawn_in(y: list[float]) -> list[float]:
    """Outliers drawn in, each by what its neighbours are: a level that lasts is none."""
    drawn = []
    spread = _spread(y)
    if spread == 0.0:
        return y
    for i, x in enumerate(y):
        near = _core.median(y[max(0, i - 3) : i + 4])
        drawn.append(min(max(x, near - OUTLYING * spread), near + OUTLYING * spread))
    return drawn


def _spread(y: Sequence[float]) -> float:
    """From run to run, by the median of differences between neighbours: a change of level does not widen it."""
    steps = [abs(b - a) for a, b in itertools.pairwise(y)]
    return 1.0483 * _core.median(steps)  # of a normal distribution: its deviation over the median |difference|


def _line(y: Sequence[float], absolute: bool) -> tuple[float, float]:
    """Slope and intercept where the series climbs or falls beyond doubt and by more than counts; else a slope of 0."""
    first = trend(y)
    residuals = [x - first.intercept - first.slope * i for i, x in enumerate(y)]
    found = trend(y, confidence=1.0 - STEP_ALPHA, n_effective=effective_size(residuals))
    least = LEAST_SHARE if absolute else math.log1p(LEAST_CHANGE)
    sure = found.low > 0.0 or found.high < 0.0
    if not sure or abs(found.slope) * (len(y) - 1) <= least:
        return 0.0, found.intercept
    return found.slope, found.intercept


def _criterion(residuals: Sequence[float], parameters: int) -> float:
    """Schwarz's criterion (BIC) of a description that leaves these residuals."""
    n = len(residuals)
    mean_square = math.fsum(x * x for x in residuals) / n
    return n * math.log(max(mean_square, 1e-300)) + parameters * math.log(n)


def _deviation(residuals: Sequence[float], parameters: int) -> float:
    return math.sqrt(math.fsum(x * x for x in residuals) / max(1, len(residuals) - parameters))


def _alike(residuals: Sequence[float]) -> float:
    """The lag-one autocorrelation, as far as it is more than chance makes it."""
    n = len(residuals)
    total = math.fsum(x * x for x in residuals)
    if total == 0.0:
        return 0.0
    lag = math.fsum(a * b for a, b in itertools.pairwise(residuals)) / total
    return min(1.0, max(0.0, lag - 1.0 / math.sqrt(n)))


def normal(tail: float) -> float:
    """The normal quantile of an upper tail; Student's at so many degrees of freedom is it."""
    return _core.t_quantile(1.0 - tail, 1e9) if tail > 1e-15 else 8.0
