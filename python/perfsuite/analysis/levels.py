"""What one level of load showed: whether a system bears it.

Two things are asked of a level: that its criteria hold, and that no backlog grows.  The second is the hard one in a
short time, for requests that come at random hide a backlog that grows, and make one that does not grow look as if it
did.  But when they came is known (``Flow``), so that chance is left to one side only of each question:

- What the system bears is at least what it was seen to end.  Were it asked for more than it bears it would end requests
  as fast as it can all the time, and their number says how fast, whatever the arrivals were: no less than
  ``Growth.borne``, but for the chance of its own times (which the spread of its answers bounds).
- It bears less than it is asked for if its backlog grew by more than arrivals at random, and times at random, make of
  one that it does bear (``Growth.chance``).

What is neither is undecided.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from perfsuite import stats
from perfsuite.analysis.summary import summarise
from perfsuite.analysis.verdict import judge
from perfsuite.evidence import Evidence, Samples
from perfsuite.metric import Metric, labelled, meets
from perfsuite.plan import Criterion
from perfsuite.result import MetricResult, Verdict
from perfsuite.statistic import quantile_level
from perfsuite.units import figure, goal

WITHIN = 1.1
"""A level passes when what the system surely bears is no further below it than by this ratio."""
FAR = 1.5
"""What is surely borne is said of a level that does not pass, too, up to this ratio below it; further from it the level
would say little of the criteria there."""
SURE = 2.33
"""Standard deviations of chance that are allowed for on one side, one case of a hundred: a search tries several levels
near the limit, and each may err."""
CONFIDENCE = 0.98
"""Of the share of requests beyond a limit: the same."""
BRIDGE = math.sqrt(math.log(100.0) / 2.0)
"""The queue that random arrivals of a known number make at a system that just bears them is a Brownian bridge's
highest point: it is beyond so many roots of that number in one case of a hundred."""
SETTLED = 1 / 3
"""The backlog is looked at from this share of a level on, at the latest: until then it fills up to what the answers
take."""
FILLED = 1.25
"""An answer takes so many times less than that share at least: else the level is too short to show a backlog."""
TOLD = 2.6
"""Of a level whose rate is away from the limit by this share of it, over the root of its requests, three of four are
decided."""
TOLD_REGULAR = 4.0
"""Over the number itself where requests come regularly."""
LOOKS = 100
FEWEST_ENDED = 8
ENOUGH_ALIKE = 20

LevelVerdict = Literal["passed", "failed", "undecided"]


@dataclass(frozen=True, slots=True)
class Flow:
    """When the requests of a level fell due, in order, and when each ended (infinite: not in the time that it was
    awaited), in seconds from the level's start; ``seconds``: how long the level was.  ``regular``: they were evenly
    spaced, not random."""

    seconds: float
    due: Sequence[float]
    ended: Sequence[float]
    regular: bool = False


@dataclass(frozen=True, slots=True)
class Growth:
    """How a level's backlog went, in requests a second: ``slope`` is what it grew by and ``chance`` what it may grow by
    at a system that bears the level; ``completed`` were ended, so that the system surely bears ``borne``.  One answer
    ``takes`` so many seconds where little is under way; a level too ``short`` for that shows nothing else."""

    takes: float
    slope: float = 0.0
    chance: float = math.inf
    completed: float = 0.0
    borne: float = 0.0

    @property
    def short(self) -> bool:
        """Too short to tell."""
        return self.chance == math.inf

    @property
    def grew(self) -> bool:
        """More than by chance."""
        return self.slope > self.chance


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a level showed: its verdict, whether it leans to passing where that is undecided, and why.

    ``borne``: the rate that the system surely bears within the criteria, which is a little less than the level's; None
    where the level did not show it.  ``limit``: of a level whose backlog grew, the rate at which requests were ended
    all the same.  ``takes_s``: what an answer took where little was under way, as far as was seen.  ``final``: another
    try would show no more.
    """

    verdict: LevelVerdict
    leaning: bool
    why: str
    final: bool = False
    borne: float | None = None
    limit: float | None = None
    takes_s: float = 0.0


def growth(flow: Flow) -> Growth:
    """What the times of a level's requests say."""
    ends = sorted(flow.ended)
    waits = [end - due for due, end in zip(flow.due, flow.ended, strict=True)]
    takes, spread = _service(flow, ends, waits)
    settled = flow.seconds * SETTLED
    if bisect_right(ends, flow.seconds) < FEWEST_ENDED or takes > settled / FILLED:
        return Growth(takes if takes < math.inf else 0.0)
    start = min(settled, 2.0 * takes)
    seconds = flow.seconds - start
    count = len(flow.due)
    ended = bisect_right(ends, flow.seconds) - bisect_right(ends, start)
    # Slots that are always busy end what they hold at moments of their own: the window's ends cut that anywhere.
    held = count / flow.seconds * takes
    unsure = SURE * math.sqrt(spread**2 * ended + held / 6.0 + 0.25)
    by_arrivals = 0.0 if flow.regular else BRIDGE * math.sqrt(count)
    by_times = SURE * math.sqrt(spread**2 * count + held / 6.0)
    return Growth(
        takes,
        slope=_slope(flow, ends, start),
        chance=(1.0 + math.hypot(by_arrivals, by_times)) / seconds,
        completed=ended / seconds,
        borne=max(0.0, (ended - unsure) / seconds),
    )


def _slope(flow: Flow, ends: Sequence[float], start: float) -> float:
    """By how much the backlog grows a second, from then on: its trend, or what it has grown by, which is less."""
    times = [start + (flow.seconds - start) * look / (LOOKS - 1) for look in range(LOOKS)]
    backlog = [bisect_right(flow.due, t) - bisect_right(ends, t) for t in times]
    edge = LOOKS // 10
    grown = (math.fsum(backlog[-edge:]) - math.fsum(backlog[:edge])) / edge
    return min(stats.trend(backlog, times).slope, grown / (times[-1] - times[0]), key=abs)


def _service(flow: Flow, ends: Sequence[float], waits: Sequence[float]) -> tuple[float, float]:
    """What an answer takes where little is under way, and the spread of that as a share of it.

    Of the requests that found the least under way, those with the same number of others are compared with one another:
    what is left is what the system's own times differ by, and not the queue.
    """
    by_others: dict[int, list[float]] = {}
    for number, (due, wait) in enumerate(zip(flow.due, waits, strict=True)):
        if wait < math.inf:
            by_others.setdefault(number - bisect_right(ends, due), []).append(wait)
    squares = total = 0.0
    seen = free = 0
    takes = math.inf
    for _, some in sorted(by_others.items()):
        mean = math.fsum(some) / len(some)
        squares += math.fsum((wait - mean) ** 2 for wait in some)
        total += math.fsum(some)
        seen, free = seen + len(some), free + len(some) - 1
        if seen >= FEWEST_ENDED:
            takes = min(takes, total / seen)
        if free >= ENOUGH_ALIKE:
            break
    return takes, math.sqrt(squares / max(1, free)) / takes if takes > 0.0 else 0.0


def judge_level(
    rate: float,
    criteria: Sequence[MetricResult],
    flow: Flow,
    *,
    undelivered: str | None = None,
) -> Judgement:
    """One level of ``rate`` requests a second.

    ``criteria``: what its requests showed, judged.  ``undelivered``: how the client fell short of the level, which then
    shows nothing of the system.

    An interval that misses its criterion fails the level, one that meets it passes; but a level has too few requests to
    show an error rate of 1 % by its interval, so that one passes by its value.
    """
    if undelivered is not None:
        return Judgement("undecided", False, f"not delivered: {undelivered}", final=True)
    if not any(one.samples for one in criteria) and not flow.due:
        return Judgement("undecided", False, "no request fell due in its time")
    grown = growth(flow)
    failed = [_said(one) for one in criteria if one.verdict == "failed"]
    text = f"backlog {grown.slope:+.2g}/s"
    if grown.grew:
        failed.append(f"{text}: it grows")
    if failed:
        limit = grown.completed if grown.grew else None
        return Judgement("failed", False, "; ".join(failed), limit=limit, takes_s=grown.takes)
    still_open = [one for one in criteria if one.verdict in ("undecided", "not measured") and not _few_errors(one)]
    reasons = [_said(one) for one in still_open]
    leaning = all(map(_leans, still_open))
    borne = None
    if grown.short:
        reasons.append("too short to see whether a backlog grows")
    else:
        if not still_open and grown.borne * FAR > rate:
            borne = min(rate, grown.borne)
        if grown.borne * WITHIN < rate:
            reasons.append(f"{text}: it may grow; {figure(grown.borne, '1/s')} are surely borne")
            leaning = leaning and grown.slope <= grown.chance / 2.0
    if reasons:
        return Judgement("undecided", leaning, "; ".join(reasons), borne=borne, takes_s=grown.takes)
    return Judgement("passed", True, f"all criteria met; {text}", borne=borne, takes_s=grown.takes)


def shortest_s(takes_s: float) -> float:
    """How long a level has to be to show something of answers that take so long."""
    return takes_s * FILLED / SETTLED


def time_to_tell(rate: float, ratio: float, *, regular: bool) -> float:
    """Seconds in which a level of ``rate`` a second shows, in most cases, on which side of the limit it is, which is
    that ratio away."""
    part = 1.0 - 1.0 / ratio
    return (TOLD_REGULAR / part if regular else (TOLD / part) ** 2) / rate


def ratio_to_tell(rate: float, seconds: float, *, regular: bool) -> float:
    """How far from the limit a level has to be for that time to show its side: ``time_to_tell`` turned round."""
    part = TOLD_REGULAR / (rate * seconds) if regular else TOLD / math.sqrt(rate * seconds)
    return 1.0 / (1.0 - part) if part < 1.0 else math.inf


def hold(metric: Metric, evidence: Evidence, criterion: Criterion) -> MetricResult:
    """A level's metric, judged.

    An upper limit on a quantile is held against the share of requests beyond it, slice by slice of time: a limit that
    no request came near is met, however much the times below it depend on one another, which a level near the knee
    does not last long enough to average out.  Where requests came more than halfway to it, what they are worth is told
    by how these crowd together: a queue makes many slow at once, and a short level has seen few queues.
    """
    found = judge(summarise(metric, evidence, criterion.stat), criterion)
    level = quantile_level(criterion.stat)
    if level is None or not criterion.lower_is_better or not isinstance(evidence, Samples) or found.value is None:
        return found
    slices = [one for one in evidence.blocks if one.count] or [evidence.histogram]
    answers = sum(one.count for one in slices)
    usual = evidence.histogram.quantile(0.5) if answers else 0.0
    halfway = min(criterion.target, (usual + criterion.target) / 2.0)
    beyond, near, of = [], [], []
    for one in slices:
        failed = evidence.failed * (one.count / answers if answers else 1.0)  # when they failed is not kept: evenly
        beyond.append(failed + (one.count * (1.0 - one.cdf(criterion.target)) if one.count else 0.0))
        near.append(failed + (one.count * (1.0 - one.cdf(halfway)) if one.count else 0.0))
        of.append(failed + one.count)
    slow = stats.block_share_interval(beyond, of)
    worth = min(slow.n_effective, stats.block_share_interval(near, of).n_effective)
    share = stats.share_interval(min(worth, slow.estimate * worth), worth, CONFIDENCE)
    allowed = 1.0 - level
    verdict: Verdict = "passed" if share.high <= allowed else "failed" if share.low > allowed else "undecided"
    return msgspec.structs.replace(found, verdict=verdict)


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
