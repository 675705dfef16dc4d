"""How a figure went over the runs of a history: its level, steps, drift, and whether the newest run is as usual."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

from perfsuite import _core
from perfsuite.analysis import forecast
from perfsuite.analysis.comparable import Figure
from perfsuite.analysis.judging import RunFigures
from perfsuite.analysis.regression import relevant

Course = Literal["steady", "stepped", "drifting", "too few runs"]


class Step(NamedTuple):
    """A change of level: the first run at the new one; the new over the old level less 1 (of shares the difference)."""

    run: str
    started: str
    share: float


class FigureTrend(NamedTuple):
    """One figure of a group of runs.  ``drift``: over all of them, as a share; ``suspicious``: the newest run is worse
    than those before it let one expect.  ``started``: when each run of ``values`` did; ``step_indices``: which of them
    are the first of a new level."""

    figure: Figure
    values: tuple[float, ...]
    median: float
    newest: float
    course: Course
    steps: tuple[Step, ...] = ()
    drift: float = 0.0
    suspicious: bool = False
    started: tuple[str, ...] = ()
    step_indices: tuple[int, ...] = ()


def trends(runs: Sequence[RunFigures], *, gating: bool = True) -> list[FigureTrend]:
    """The figures of runs of one group, oldest first; ``gating``: only those that count."""
    known = {key: one.figure for run in runs for key, one in run.figures.items()}
    return [_trend(figure, runs) for figure in known.values() if figure.gates or not gating]


def _trend(figure: Figure, runs: Sequence[RunFigures]) -> FigureTrend:
    having = [run for run in runs if figure.key in run.figures][-forecast.LONGEST :]
    values = tuple(run.figures[figure.key].value for run in having)
    started = tuple(run.started for run in having)
    median, newest = _core.median(list(values)), values[-1]
    absolute = min(values) == 0.0 and max(values) <= 1.0
    whole = forecast.expect(values, absolute=absolute)
    if whole is None:
        return FigureTrend(figure, values, median, newest, "too few runs", started=started)
    before = forecast.expect(values[:-1], absolute=absolute)
    suspicious = (
        before is not None
        and figure.better is not None
        and forecast.suspicious(before, newest, figure.better, relevant(figure))
    )
    bounds = [0, *whole.steps, len(values)]
    levels = [_core.median(list(values[a:b])) for a, b in itertools.pairwise(bounds)]
    steps = tuple(
        Step(
            having[at].id,
            having[at].started,
            levels[i + 1] - levels[i] if absolute else levels[i + 1] / levels[i] - 1.0,
        )
        for i, at in enumerate(whole.steps)
    )
    course: Course = "drifting" if whole.drifting else "stepped" if steps else "steady"
    return FigureTrend(
        figure, values, median, newest, course, steps, whole.drifted, suspicious, started, tuple(whole.steps)
    )
