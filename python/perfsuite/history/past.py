"""How the figures of a result went over the runs before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfsuite.analysis.comparable import conditions, figures, host_of, key_of
from perfsuite.analysis.judging import RunFigures
from perfsuite.analysis.trends import FigureTrend, trends
from perfsuite.history.baselines import moment
from perfsuite.history.store import History, host_key

if TYPE_CHECKING:
    from perfsuite.result import Result


def past_of(history: History, result: Result) -> list[FigureTrend]:
    """The trends of what gates in each phase of ``result``, over earlier runs of this host and configuration and the
    result itself; nothing of a phase that was never run before.  Raises HistoryError."""
    found: list[FigureTrend] = []
    if not history.exists:
        return found
    host = host_key(host_of(result.environment))
    for phase in result.phases:
        key = key_of(conditions(result, phase.name))
        before = [
            run for run in history.series(phase.name, host, key, before=moment(result.run.started)) if run.figures
        ]
        mine = figures(phase)
        if before and mine:
            own = RunFigures(result.run.id, result.run.started, mine)
            found += [one for one in trends([*before, own]) if one.figure.key in mine]
    return found
