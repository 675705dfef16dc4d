"""The search for the highest load that a system bears: which level next, for how long, and what is known at the end.

First it brackets the limit by short levels, each twice the last.  Then it tries one level below where the limit seems
to be and one above, each so far from it as the time that is left can tell: levels near the limit are long and few.
What a level showed is judged in ``levels``; the bounds of what was found come of what is decided alone, and the search
is over when the time cannot bring them closer.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from perfsuite.analysis.levels import Judgement, ratio_to_tell, shortest_s, time_to_tell

RESOLUTION = 1.1
"""The search is over when both bounds are no further from the limit than by this ratio."""
STEP = 2.0
ENOUGH = 90
"""Requests of a level whose p95 has an upper bound."""
SHORTEST_S = 1.0
LEVELS = 12
"""A level that brackets takes about such a share of the time, if that gives it enough requests."""
MOST_OF_THE_REST = 0.4
"""No level that brackets takes more than this share of the time that is left ..."""
FIRST_SIDE, LAST_SIDE = 0.4, 0.75
"""... and these are the shares of the level on one side of the limit while the other is open, and of the last."""
FURTHER = 1.4
"""A side whose level was left open is tried so many times further from the limit."""
WORTH = 1.15
"""A level has to bring a bound closer by this ratio of distances."""


class Step(NamedTuple):
    """A level to try, for so long."""

    level: float
    seconds: float


class Found(NamedTuple):
    """Where the limit lies: about ``value``, in any case between ``low`` (0: no rate was seen to be borne) and ``high``
    (infinite: no level was seen to fail)."""

    value: float
    low: float
    high: float


class Search:
    """``step`` names the next level to try, ``tell`` says how it went.  Whoever drives it ends it when time is over.

    Monotone: what passes at a level counts for all below, what fails for all above; where the two contradict, the
    failure counts.  Levels are between ``lowest`` and ``highest``; ``regular``: requests are evenly spaced.
    """

    def __init__(
        self,
        start: float,
        *,
        resolution: float = RESOLUTION,
        lowest: float = 0.01,
        highest: float = 1e6,
        regular: bool = False,
    ) -> None:
        if not 0.0 < lowest <= start <= highest < math.inf:
            raise ValueError(f"a search needs 0 < lowest <= start <= highest, not {lowest}, {start}, {highest}")
        if not resolution > 1.0:
            raise ValueError(f"the resolution is a ratio above 1, not {resolution}")
        self._start, self._resolution, self._regular = start, resolution, regular
        self._lowest, self._highest = lowest, highest
        self._told: list[tuple[float, Judgement]] = []
        self._takes = 0.0

    def tell(self, level: float, judgement: Judgement) -> None:
        """How a level went."""
        self._told.append((level, judgement))
        if judgement.takes_s:
            self._takes = min(self._takes or math.inf, judgement.takes_s)

    def step(self, left_s: float) -> Step | None:
        """The next level, with that much time left; None when the search is over."""
        low, high = self._leans()
        shortest = max(SHORTEST_S, shortest_s(self._takes))
        if left_s < shortest:
            return None
        if low is not None and high is not None:
            return self._closer(left_s, shortest)
        if low is None and high is None:
            level = self._start
        elif high is None:
            assert low is not None
            if low >= self._highest:
                return None
            level = min(low * STEP, self._highest)
        else:
            if high <= self._lowest:
                return None
            level = max(high / STEP, self._lowest)
        wanted = max(left_s / LEVELS, self._needed(level, math.sqrt(STEP)), shortest)
        return Step(level, min(wanted, max(left_s * MOST_OF_THE_REST, shortest)))

    def _needed(self, level: float, ratio: float) -> float:
        return max(ENOUGH / (0.9 * level), time_to_tell(level, ratio, regular=self._regular))

    def _closer(self, left_s: float, shortest: float) -> Step | None:
        """A level on that side of the limit whose bound can come closest, by as much as the time can tell."""
        limit, low, high = self._limit(), *self._bounds()
        sides = []
        for below in (True, False):
            bound = limit / low if below and low else high / limit if not below else math.inf
            open_ones = sum(one.verdict == "undecided" and (level <= limit) == below for level, one in self._told)
            sides.append((below, bound, FURTHER**open_ones))
        for share in (FIRST_SIDE, LAST_SIDE):
            worth = []
            for below, bound, further in sides:
                away = 1.0 + (ratio_to_tell(limit, left_s * share, regular=self._regular) - 1.0) * further
                away = max(away, math.sqrt(self._resolution))
                if math.log(bound) > WORTH * math.log(away):
                    worth.append((math.log(bound) / math.log(away), below, away))
            if worth and (len(worth) == 2 or share == LAST_SIDE):
                break
        if not worth:
            return None
        _, below, away = max(worth)
        level = min(max(limit / away if below else limit * away, self._lowest), self._highest)
        seconds = max(self._needed(level, away) * 1.5, shortest) if away == math.sqrt(self._resolution) else math.inf
        return Step(level, min(seconds, max(left_s * share, shortest)))

    @property
    def passed(self) -> float | None:
        """The highest level that counts as passed."""
        return self._leans()[0]

    def found(self) -> Found | None:
        """What is known so far; None when no level was told of."""
        if not self._told:
            return None
        low, high = self._bounds()
        leaning = self._leans()
        if leaning[0] is None:
            return Found(0.0, 0.0, high)
        value = leaning[0] if leaning[1] is None else self._limit()
        return Found(min(max(value, low), high), low, high)

    def enough_s(self) -> float | None:
        """Seconds of search that would have brought the bounds within the resolution of the limit, most likely; None
        where they are, or where nothing is known of the limit."""
        found = self.found()
        if found is None or not 0.0 < found.value < math.inf or found.high <= found.low * self._resolution**2:
            return None
        side = max(self._needed(found.value, math.sqrt(self._resolution)), shortest_s(self._takes))
        return side / FIRST_SIDE + LEVELS / 2 * SHORTEST_S

    def _bounds(self) -> tuple[float, float]:
        """What is surely borne, and the lowest level that surely failed."""
        high = min((level for level, one in self._told if one.verdict == "failed"), default=math.inf)
        low = max((one.borne for level, one in self._told if one.borne is not None and level < high), default=0.0)
        return low, high

    def _leans(self) -> tuple[float | None, float | None]:
        """The highest level that seems to be borne and the lowest that does not."""
        borne, _ = self._bounds()
        good = {level for level, one in self._told if one.verdict == "passed" or one.leaning}
        bad = [level for level, one in self._told if one.verdict == "failed" or (level not in good and level > borne)]
        high = min(bad, default=None)
        return max((level for level in good if high is None or level < high), default=None), high

    def _limit(self) -> float:
        """Where the limit seems to be: what was ended where the backlog grew, or just above what is borne all the same;
        else in the middle."""
        low, high = self._leans()
        assert low is not None
        assert high is not None
        ended = [one.limit for level, one in self._told if one.limit is not None and level == high]
        middle = math.sqrt(low * high)
        if not ended or ended[0] >= high:
            return middle
        return max(ended[0], min(middle, low * math.sqrt(self._resolution)))
