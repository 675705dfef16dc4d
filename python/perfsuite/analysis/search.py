"""The search for the highest load that a system bears: brackets it by doubling, then bisects on a logarithmic scale.

What one level showed is judged by intervals (``judge_level``); a level that they leave open is tried once more, longer,
and then steers the search by its value, while the bounds of what was found come of decided levels alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from perfsuite import stats
from perfsuite.analysis.summary import quantile_level, summarise
from perfsuite.analysis.verdict import judge
from perfsuite.evidence import Evidence, Samples
from perfsuite.metric import Metric, labelled, meets
from perfsuite.plan import Criterion
from perfsuite.result import MetricResult, Verdict
from perfsuite.units import figure, goal

RESOLUTION = 1.1
"""The search is over when the lowest level that failed is no more than so many times the highest that passed."""

STEP = 2.0
GROWING = 0.05
"""A backlog that takes up more than this share of the requests that fall due is growing: random arrivals alone make it
rise and fall."""
CHANCE = 1.96
"""Requests that come at random and wait for nobody are under way in a Poisson number: two looks differ by more than
this many times the root of twice their mean in one case of twenty."""
FEWEST_POINTS = 8

LevelVerdict = Literal["passed", "failed", "undecided"]


class Step(NamedTuple):
    """A level to try; ``again``: it was left open, try it for longer."""

    level: float
    again: bool


class Found(NamedTuple):
    """Where the limit lies: about ``value``, in any case between ``low`` (0: no level was seen to pass) and ``high``
    (infinite: none was seen to fail)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a level showed: its verdict, whether it leans to passing where that is undecided, and why.  ``final``:
    another try would show no more."""

    verdict: LevelVerdict
    leaning: bool
    why: str
    final: bool = False


class Search:
    """``step`` names the next level to try, ``tell`` says how it went.  Whoever drives it ends it when time is over.

    Monotone: what passes at a level counts for all below, what fails for all above; where the two contradict, the
    failure counts.  Levels are between ``lowest`` and ``highest``.
    """

    def __init__(
        self, start: float, *, resolution: float = RESOLUTION, lowest: float = 0.01, highest: float = 1e6
    ) -> None:
        if not 0.0 < lowest <= start <= highest < math.inf:
            raise ValueError(f"a search needs 0 < lowest <= start <= highest, not {lowest}, {start}, {highest}")
        if not resolution > 1.0:
            raise ValueError(f"the resolution is a ratio above 1, not {resolution}")
        self._start, self._resolution = start, resolution
        self._lowest, self._highest = lowest, highest
        self._good: set[float] = set()
        self._bad: set[float] = set()
        self._decided: dict[float, LevelVerdict] = {}
        self._open: float | None = None

    def step(self) -> Step | None:
        """The next level; None when the search is over."""
        if self._open is not None:
            return Step(self._open, again=True)
        low, high = self._bracket()
        if low is None and high is None:
            return Step(self._start, again=False)
        if high is None:
            assert low is not None
            return Step(min(low * STEP, self._highest), again=False) if low < self._highest else None
        if low is None:
            return Step(max(high / STEP, self._lowest), again=False) if high > self._lowest else None
        if high <= low * self._resolution:
            return None
        return Step(math.sqrt(low * high), again=False)

    def tell(self, level: float, judgement: Judgement) -> None:
        """How a level went."""
        undecided = judgement.verdict == "undecided"
        if undecided and not judgement.final and self._open != level:
            self._open = level
            return
        self._open = None
        if not undecided:
            self._decided[level] = judgement.verdict
        passed = judgement.leaning if undecided else judgement.verdict == "passed"
        (self._good if passed else self._bad).add(level)

    @property
    def passed(self) -> float | None:
        """The highest level that counts as passed."""
        return self._bracket()[0]

    def found(self) -> Found | None:
        """What is known so far; None when no level was told of."""
        low, high = self._bracket()
        if low is None and high is None:
            return None
        failed = min((level for level, v in self._decided.items() if v == "failed"), default=math.inf)
        passed = max((level for level, v in self._decided.items() if v == "passed" and level < failed), default=0.0)
        if low is None:
            return Found(0.0, 0.0, failed)
        return Found(low if high is None else math.sqrt(low * high), passed, failed)

    def _bracket(self) -> tuple[float | None, float | None]:
        high = min(self._bad, default=None)
        return max((level for level in self._good if high is None or level < high), default=None), high


def judge_level(
    rate: float,
    criteria: Sequence[MetricResult],
    backlog: Sequence[tuple[float, float]],
    *,
    undelivered: str | None = None,
) -> Judgement:
    """One level of ``rate`` requests a second.

    ``criteria``: what its requests showed, judged.  ``backlog``: (t_s, requests begun and not ended), evenly in time.
    ``undelivered``: how the client fell short of the level, which then shows nothing of the system.

    An interval that misses its criterion fails the level, one that meets it passes; but a level has too few requests to
    show an error rate of 1 % by its interval, so that one passes by its value.
    """
    if undelivered is not None:
        return Judgement("undecided", False, f"not delivered: {undelivered}", final=True)
    if not any(one.samples for one in criteria) and not backlog:
        return Judgement("undecided", False, "no request fell due in its time")
    growth = _growth(rate, backlog)
    failed = [_said(one) for one in criteria if one.verdict == "failed"]
    if growth.verdict == "failed":
        failed.append(growth.why)
    if failed:
        return Judgement("failed", False, "; ".join(failed))
    still_open = [one for one in criteria if one.verdict in ("undecided", "not measured") and not _few_errors(one)]
    if still_open or growth.verdict == "undecided":
        reasons = [_said(one) for one in still_open] + ([growth.why] if growth.verdict == "undecided" else [])
        return Judgement("undecided", growth.leaning and all(map(_leans, still_open)), "; ".join(reasons))
    return Judgement("passed", True, "all criteria met; " + growth.why)


def hold(metric: Metric, evidence: Evidence, criterion: Criterion) -> MetricResult:
    """A level's metric, judged.

    An upper limit on a quantile is held against the share of requests beyond it, slice by slice of time: a limit that
    no request came near is met, however much the times below it depend on one another, which a level near the knee
    does not last long enough to average out.
    """
    found = judge(summarise(metric, evidence, criterion.stat), criterion)
    level = quantile_level(criterion.stat)
    if level is None or not criterion.lower_is_better or not isinstance(evidence, Samples) or found.value is None:
        return found
    slices = [one for one in evidence.blocks if one.count] or [evidence.histogram]
    answers = sum(one.count for one in slices)
    beyond, of = [], []
    for one in slices:
        failed = evidence.failed * (one.count / answers if answers else 1.0)  # when they failed is not kept: evenly
        beyond.append(failed + (one.count * (1.0 - one.cdf(criterion.target)) if one.count else 0.0))
        of.append(failed + one.count)
    slow = stats.block_share_interval(beyond, of)
    allowed = 1.0 - level
    verdict: Verdict = "passed" if slow.high <= allowed else "failed" if slow.low > allowed else "undecided"
    return msgspec.structs.replace(found, verdict=verdict)


def slope(backlog: Sequence[tuple[float, float]]) -> stats.Trend | None:
    """How many requests a second the backlog grows by; None with too few points."""
    if len(backlog) < FEWEST_POINTS:
        return None
    times, values = [t for t, _ in backlog], [v for _, v in backlog]
    line = stats.trend(values, times)
    worth = stats.effective_size([v - line.intercept - line.slope * t for t, v in backlog])
    return stats.trend(values, times, n_effective=worth)


def _growth(rate: float, backlog: Sequence[tuple[float, float]]) -> Judgement:
    line = slope(backlog)
    if line is None:
        return Judgement("undecided", True, "too short to see whether a backlog grows")
    text = f"backlog {line.slope:+.2g}/s"
    if line.slope <= GROWING * rate:
        return Judgement("passed", True, text)
    grown = line.slope * (backlog[-1][0] - backlog[0][0])
    noise = CHANCE * math.sqrt(2.0 * math.fsum(max(0.0, v) for _, v in backlog) / len(backlog))
    if grown <= noise:
        return Judgement("undecided", True, f"{text}: no more than random arrivals make of it in that time")
    if line.low > GROWING * rate:
        return Judgement("failed", False, f"{text}: it grows")
    return Judgement("undecided", False, f"{text}: it may grow")


def _few_errors(one: MetricResult) -> bool:
    return one.name == "error_rate" and _leans(one)


def _leans(one: MetricResult) -> bool:
    """Whether the value itself meets the criterion."""
    if one.value is None or one.target is None or one.comparison is None:
        return False
    return not one.censored and meets(one.value, one.comparison, one.target)


def _said(one: MetricResult) -> str:
    name = labelled(one.name, one.stat)
    if one.value is None or one.target is None:
        return f"{name} not measured"
    relation = "not surely" if one.verdict == "undecided" else "not"
    value = ("> " if one.censored else "") + figure(one.value, one.unit)
    return f"{name} {value}, {relation} {one.comparison} {goal(one.target, one.unit)}"
