"""What a report sets beside a result: how its figures went over past runs, and an earlier result that it is held
against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfsuite.analysis.judging import Judgement
    from perfsuite.analysis.trends import FigureTrend
    from perfsuite.result import Result

MOST_TRENDS = 12
NOTABLE = {"drifting": 0, "stepped": 1, "steady": 2, "too few runs": 3}


@dataclass(frozen=True, slots=True)
class Beside:
    """``trends`` of this result's figures; ``before`` with ``judgements`` of this result against it."""

    trends: Sequence[FigureTrend] = ()
    before: Result | None = None
    judgements: Sequence[Judgement] = ()

    def notable(self) -> list[FigureTrend]:
        """The trends to be drawn, what changed first."""
        ordered = sorted(self.trends, key=lambda one: (not one.suspicious, NOTABLE[one.course]))
        return ordered[:MOST_TRENDS]
