"""Drives the search for the highest rate that a system bears: one open loop for each level that is tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, cast

from perfsuite._core import Arrivals
from perfsuite.analysis.levels import Flow, Judgement, growth, hold, judge_level
from perfsuite.analysis.search import RESOLUTION, SHORTEST_S, Search, Step
from perfsuite.analysis.summary import summarise
from perfsuite.evidence import Estimate, Evidence, NotMeasured
from perfsuite.loadgen.schedule import schedule
from perfsuite.metric import Metric, catalogue
from perfsuite.suites.streaming import streaming_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfsuite.loadgen import OnReply, Times
    from perfsuite.result import MetricResult
    from perfsuite.suites.session import Session, Stretch
    from perfsuite.targets.base import Failure, Reply, Request


@dataclass(slots=True)
class Tried:
    """A level that was tried."""

    rate: float
    stretch: Stretch
    judgement: Judgement
    row: dict[str, object]


class Ends:
    """When the requests of a stretch fell due and ended, as its ``on_reply`` hears of them."""

    def __init__(self, on_reply: OnReply | None) -> None:
        self._then = on_reply
        self._took_ms: dict[int, float] = {}

    def heard(self, request: Request, reply: Reply | None, failure: Failure | None, times: Times) -> None:
        """An OnReply, which calls the one that it was made with."""
        took = times.response_time_ms
        if took is not None:
            self._took_ms[times.due_ns] = took
        if self._then is not None:
            self._then(request, reply, failure, times)

    def flow(self, stretch: Stretch) -> Flow:
        """All that fell due in the stretch by its schedule, whether it was sent or not."""
        spec, start = stretch.spec, stretch.events.start_ns
        due, ended = [], []
        for offset, _ in takewhile(lambda one: one[0] < spec.duration_s * 1e9, schedule(spec)):
            due.append(offset / 1e9)
            ended.append(due[-1] + self._took_ms.get(start + offset, math.inf) / 1e3)
        return Flow(spec.duration_s, due, ended, regular=spec.arrivals == "constant")


async def find_max(
    session: Session,
    requests: Iterable[Request],
    start: float,
    on_reply: OnReply | None,
    known: tuple[Stretch, Ends] | None = None,
) -> tuple[Evidence, list[Stretch]]:
    """Searches from ``start`` requests a second until the level is known within RESOLUTION or the time is over.

    ``known``: an open loop like the levels that was driven before, which is the first of them.  Returns the evidence
    for max_rate, with a row for each level that was tried, and the stretches that passed.
    """
    search = Search(
        start, lowest=min(start, 0.01), highest=max(start, 1e6), regular=session.load.arrivals == "constant"
    )
    tried: list[Tried] = []
    whole_s = max(session.remaining_s(), SHORTEST_S)
    if known is not None and known[0].spec.rate is not None:
        tried.append(_judged_level(session, known[0].spec.rate, *known))
        search.tell(tried[0].rate, tried[0].judgement)
    before = len(tried)
    while (step := search.step(session.remaining_s())) is not None:
        one = await _try(session, requests, step, on_reply)
        tried.append(one)
        if session.stop.is_set() or session.budget.reached is not None:
            break  # cut short: it is in the table, and decides nothing
        search.tell(one.rate, one.judgement)
    return _evidence(session, search, tried, whole_s), [one.stretch for one in tried[before:] if one.judgement.leaning]


async def _try(session: Session, requests: Iterable[Request], step: Step, on_reply: OnReply | None) -> Tried:
    patience = max(SHORTEST_S, min(session.plan.request_timeout_s, session.remaining_s() - step.seconds))
    ends = Ends(on_reply)
    stretch = await session.drive(
        f"{step.level:.4g}/s",
        requests,
        duration_s=step.seconds,
        rate=_offering(session, step.level, step.seconds),
        concurrency=session.load.concurrency,
        request_timeout_s=patience,
        trial=True,
        on_reply=ends.heard,
    )
    return _judged_level(session, step.level, stretch, ends)


def _judged_level(session: Session, rate: float, stretch: Stretch, ends: Ends) -> Tried:
    judged, flow = _judged(session, stretch), ends.flow(stretch)
    judgement = judge_level(rate, judged, flow, undelivered=_undelivered(stretch))
    given_up, patience = stretch.events.errors.get("timeout", 0), stretch.spec.request_timeout_s
    if given_up and patience < session.plan.request_timeout_s and patience * 1e3 < _longest_allowed(judged):
        judgement = Judgement("undecided", False, f"{given_up:,} answers were not awaited: the time was over", True)
    delivered = stretch.delivered
    assert delivered is not None
    if delivered.ended is not None:
        judgement = Judgement("undecided", False, delivered.ended, final=True)
    shown = streaming_evidence(stretch)
    response, errors = (summarise(catalogue()[name], shown[name]) for name in ("response_time", "error_rate"))
    grown = growth(flow)
    row: dict[str, object] = {
        "rate": rate,
        "t_s": round(stretch.events.start_ns / 1e9 - session.phase_started, 3),
        "duration_s": delivered.duration_s,
        "requests": delivered.requests,
        "delivered": delivered.rate,
        "p95_ms": None if response.stats is None else response.stats.p95,
        "error_rate": errors.value,
        "in_flight": delivered.max_in_flight,
        "backlog_per_s": None if grown.short else grown.slope,
        "borne": judgement.borne,
        "verdict": judgement.verdict,
        "why": judgement.why,
    }
    session.note(f"{rate:.4g} requests/s: {judgement.verdict}: {judgement.why}")
    return Tried(rate, stretch, judgement, row)


def _offering(session: Session, rate: float, seconds: float) -> float:
    """The rate at which the seed's random arrivals come to exactly ``rate * seconds``.

    In the short time of a level a Poisson process of 50 a second may well come to 43, and what is learnt would be of
    43.  Scaled to its count it is a Poisson process still, given that count.
    """
    if session.load.arrivals != "poisson":
        return rate
    number = max(1, round(rate * seconds))
    return Arrivals("poisson", 1.0, seed=session.seed).take(number + 1)[-1] / 1e9 / seconds


def _judged(session: Session, stretch: Stretch) -> list[MetricResult]:
    """The phase's criteria on its requests, held against what the level showed."""
    evidence = streaming_evidence(stretch)
    return [
        hold(catalogue()[one.metric], evidence[one.metric], one)
        for one in session.phase.criteria
        if one.metric in evidence and _says_how_well(catalogue()[one.metric])
    ]


def _says_how_well(metric: Metric) -> bool:
    """Not how much was asked for or given."""
    return not metric.workload and metric.stamp != "rate"


def _undelivered(stretch: Stretch) -> str | None:
    """How the client itself fell short; a cap on what is in flight is the user's, and what waits for it is backlog."""
    return None if stretch.delivered is None or stretch.spec.concurrency is not None else stretch.delivered.short


def _longest_allowed(judged: Sequence[MetricResult]) -> float:
    return max((one.target for one in judged if one.unit == "ms" and one.target is not None), default=math.inf)


def _evidence(session: Session, search: Search, tried: Sequence[Tried], whole_s: float) -> Evidence:
    rows = [one.row for one in tried]
    found = search.found()
    if found is None:
        reason = session.budget.reached or "no level was tried to its end"
        return NotMeasured(reason, details={"levels": rows} if rows else {})
    details: dict[str, object] = {"levels": rows, "resolution": RESOLUTION - 1.0}
    best = next((one for one in reversed(tried) if one.rate == search.passed), None)
    if best is not None and best.stretch.delivered is not None:
        details["passed_rate"] = best.rate
        details["concurrency"] = best.stretch.delivered.max_in_flight
    enough_s = search.enough_s()
    cut = session.budget.reached or ("stopped" if session.stop.is_set() else None)
    if cut or enough_s is not None:
        details["ended"] = cut or "the time was over"
    if enough_s is not None and not cut:
        details["enough_s"] = float(f"{max(1.25, enough_s / whole_s) * session.duration_s:.2g}")
    samples = sum(one.stretch.delivered.requests for one in tried if one.stretch.delivered is not None)
    series = [(float(one.row["t_s"]), one.rate) for one in tried]  # type: ignore[arg-type]
    return Estimate(value=found.value, low=found.low, high=found.high, samples=samples, series=series, details=details)


def with_cpu(evidence: Evidence, series: Mapping[str, Sequence[tuple[float, float]]]) -> Evidence:
    """The same with the processor's share that the server took at the highest level that passed, where it was seen."""
    if not isinstance(evidence, Estimate):
        return evidence
    rows = cast("list[dict[str, float]]", evidence.details["levels"])
    best = next((row for row in reversed(rows) if row["rate"] == evidence.details.get("passed_rate")), None)
    if best is None:
        return evidence
    start, end = best["t_s"], best["t_s"] + best["duration_s"]
    points = [value for t, value in series.get("process.cpu_percent", ()) if start <= t <= end]
    if not points:
        return evidence
    return replace(evidence, details={**evidence.details, "server_cpu_percent": math.fsum(points) / len(points)})
