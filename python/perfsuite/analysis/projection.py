"""What the runs to come will measure, by those that were made, and how often that came true.

A figure's history is described as ``forecast`` describes it: a level since the last step, or a line.  Neither knows of
a change that has not happened yet, so how good such predictions are is not assumed but tried: from each point of the
history at which it was long enough, the run as many ahead is predicted and held against what was then measured (a
rolling origin; Tashman, International Journal of Forecasting 16, 2000).

Pure functions: nothing is read or written here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from perfsuite import _core
from perfsuite.analysis.comparable import Figure
from perfsuite.analysis.forecast import FEWEST, LONGEST, Expectation, expect, foreseen
from perfsuite.analysis.judging import RunFigures
from perfsuite.metric import lower_is_better, meets
from perfsuite.plan import Criterion
from perfsuite.stats import Interval

CONFIDENCE = 0.95
UNLIKELY = 0.05
"""Predictions that held so seldom that chance alone would not do it are said to be too sure of themselves."""
MOST_TRIED = 60
"""Of a long history the newest so many predictions are tried."""
FARTHEST = 10
"""A limit that a drift does not reach in so many times the history's length is not said to be reached."""


class Reach(NamedTuple):
    """When a drift leaves its limit, in runs from now (1: the next): by the line itself, and by either end of the
    interval of where a run lies.  None: not within FARTHEST times the history."""

    at: int | None
    earliest: int | None
    latest: int | None


class Tried(NamedTuple):
    """Earlier predictions as many runs ahead: how many were made, how many of their intervals held what was then
    measured, and by how much their middles were off: in the middle, and 19 times in 20 at most (shares; differences
    where ``absolute``)."""

    made: int
    held: int
    off: float
    most_off: float

    @property
    def too_sure(self) -> bool:
        """Whether fewer held than chance explains, were the intervals right (binomial, one-sided)."""
        return _at_most(self.held, self.made, CONFIDENCE) < UNLIKELY


class Projection(NamedTuple):
    """A figure ``ahead`` runs from the newest.  ``drifting``: by a line, else by the level since the last of ``steps``
    changes; ``tried``: None where the history is too short for it; ``reach``: None where there is no limit, or it does
    not drift."""

    figure: Figure
    runs: int
    newest: float
    ahead: int
    value: Interval
    drifting: bool
    steps: int
    absolute: bool
    tried: Tried | None
    limit: Criterion | None
    reach: Reach | None


def project(
    runs: Sequence[RunFigures], ahead: int = 1, limits: Mapping[tuple[str, str], Criterion] | None = None
) -> list[Projection]:
    """What runs of one group (oldest first) let one expect ``ahead`` runs from the newest: of each figure that counts,
    and of each that has a limit (by metric and statistic).  Figures with too short a history are left out."""
    limits = limits or {}
    known = {key: one.figure for run in runs for key, one in run.figures.items()}
    found = []
    for key, figure in known.items():
        limit = limits.get((figure.metric, figure.stat))
        if not figure.gates and limit is None:
            continue
        values = [run.figures[key].value for run in runs if key in run.figures][-LONGEST:]
        one = _projection(figure, values, ahead, limit)
        if one is not None:
            found.append(one)
    return found


def tried(values: Sequence[float], ahead: int = 1) -> Tried | None:
    """Predicts what is known already; None where no prediction can be held against anything."""
    absolute = _absolute(values)
    held, off = 0, []
    first = max(FEWEST, len(values) - ahead + 1 - MOST_TRIED)
    for length in range(first, len(values) - ahead + 1):
        expectation = expect(values[:length], absolute=absolute)
        if expectation is None:
            continue
        interval, truth = foreseen(expectation, ahead, CONFIDENCE), values[length + ahead - 1]
        exact = math.isclose(truth, interval.estimate, rel_tol=1e-12)  # as far as a logarithm is
        held += exact or interval.low <= truth <= interval.high
        error = truth - interval.estimate if absolute else truth / interval.estimate - 1.0
        off.append(0.0 if exact else abs(error))
    return Tried(len(off), held, *_core.exact_quantiles(off, (0.5, CONFIDENCE))) if off else None


def _projection(figure: Figure, values: list[float], ahead: int, limit: Criterion | None) -> Projection | None:
    absolute = _absolute(values)
    expectation = expect(values, absolute=absolute)
    if expectation is None:
        return None
    return Projection(
        figure=figure,
        runs=len(values),
        newest=values[-1],
        ahead=ahead,
        value=_possible(foreseen(expectation, ahead, CONFIDENCE), values),
        drifting=expectation.drifting,
        steps=len(expectation.steps),
        absolute=absolute,
        tried=tried(values, ahead),
        limit=limit,
        reach=_reach(expectation, limit) if limit is not None and expectation.drifting else None,
    )


def _reach(expectation: Expectation, limit: Criterion) -> Reach:
    """The first runs at which the line, and the worse and the better end of the interval about it, are beyond."""
    at = earliest = latest = None
    for ahead in range(1, FARTHEST * expectation.runs + 1):
        value = foreseen(expectation, ahead, CONFIDENCE)
        worse, better = (value.high, value.low) if lower_is_better(limit.comparison) else (value.low, value.high)
        earliest = earliest or (None if within(worse, limit) else ahead)
        at = at or (None if within(value.estimate, limit) else ahead)
        latest = latest or (None if within(better, limit) else ahead)
        if latest is not None:
            break
    return Reach(at, earliest, latest)


def within(value: float, limit: Criterion) -> bool:
    """Whether a value meets a criterion."""
    return meets(value, limit.comparison, limit.target)


def _absolute(values: Sequence[float]) -> bool:
    """Whether there is no logarithm of some value."""
    return bool(values) and min(values) <= 0.0


def _possible(value: Interval, values: Sequence[float]) -> Interval:
    """What never was negative will not be, and what never was more than a whole no more than that, if it is a share."""
    low = 0.0 if min(values) >= 0.0 else -math.inf
    high = 1.0 if low == 0.0 and min(values) == 0.0 and max(values) <= 1.0 else math.inf
    return Interval(*(min(max(end, low), high) for end in value))


def _at_most(hits: int, trials: int, share: float) -> float:
    """The chance of so many hits or fewer."""
    return math.fsum(math.comb(trials, k) * share**k * (1.0 - share) ** (trials - k) for k in range(hits + 1))
