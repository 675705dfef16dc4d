"""Drives the search for the highest rate that a system bears: one open loop for each level that is tried."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from perfsuite._core import Arrivals
from perfsuite.analysis.search import RESOLUTION, Judgement, Search, Step, hold, judge_level, slope
from perfsuite.analysis.summary import summarise
from perfsuite.evidence import Estimate, Evidence, NotMeasured
from perfsuite.metric import Metric, catalogue
from perfsuite.suites.streaming import streaming_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfsuite.loadgen import OnReply
    from perfsuite.result import MetricResult
    from perfsuite.suites.session import Session, Stretch
    from perfsuite.targets.base import Request

LEVELS = 10
"""A search takes about so many levels: each gets such a share of the time, if that gives it enough requests."""
ENOUGH = 80
"""Requests whose p95 has an upper bound."""
SHORTEST_S = 1.0
MOST_OF_THE_REST = 0.4
"""No level takes more than this share of the time that is left."""
SETTLED = 1 / 3
"""The backlog is looked at from this share of a level on: until then it fills up to what the answers take."""
LOOKS = 200


@dataclass(slots=True)
class Tried:
    """A level that was tried."""

    rate: float
    stretch: Stretch
    judgement: Judgement
    row: dict[str, object]


async def find_max(
    session: Session, requests: Iterable[Request], start: float, on_reply: OnReply | None
) -> tuple[Evidence, list[Stretch]]:
    """Searches from ``start`` requests a second until the level is known within RESOLUTION or the time is over.

    Returns the evidence for max_rate, with a row for each level that was tried, and the stretches that passed.
    """
    search = Search(start, lowest=min(start, 0.01), highest=max(start, 1e6))
    tried: list[Tried] = []
    whole_s = session.remaining_s()
    while (step := search.step()) is not None:
        seconds = _length(session, step, whole_s)
        if seconds < SHORTEST_S:
            break
        one = await _try(session, requests, step, seconds, on_reply)
        tried.append(one)
        if session.stop.is_set() or session.budget.reached is not None:
            break  # cut short: it is in the table, and decides nothing
        search.tell(one.rate, one.judgement)
    return _evidence(session, search, tried), [one.stretch for one in tried if one.judgement.leaning]


def _length(session: Session, step: Step, whole_s: float) -> float:
    """Seconds for a level; 0 when there is no time for one."""
    left = session.remaining_s()
    wanted = max(whole_s / LEVELS, ENOUGH / (0.9 * step.level)) * (2.0 if step.again else 1.0)
    return min(max(wanted, SHORTEST_S), left * MOST_OF_THE_REST if left > 3 * SHORTEST_S else left)


async def _try(
    session: Session, requests: Iterable[Request], step: Step, seconds: float, on_reply: OnReply | None
) -> Tried:
    patience = max(SHORTEST_S, min(session.plan.request_timeout_s, session.remaining_s() - seconds))
    began = time.monotonic()
    backlog: list[tuple[float, float]] = []
    watching = asyncio.create_task(_watch(session, len(session.driven), seconds, backlog))
    try:
        stretch = await session.drive(
            f"{step.level:.4g}/s",
            requests,
            duration_s=seconds,
            rate=_offering(session, step.level, seconds),
            concurrency=session.load.concurrency,
            request_timeout_s=patience,
            trial=True,
            on_reply=on_reply,
        )
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    judged = _judged(session, stretch)
    judgement = judge_level(step.level, judged, backlog, undelivered=_undelivered(stretch))
    given_up = stretch.events.errors.get("timeout", 0)
    if given_up and patience < session.plan.request_timeout_s and patience * 1e3 < _longest_allowed(judged):
        judgement = Judgement("undecided", False, f"{given_up:,} answers were not awaited: the time was over", True)
    delivered = stretch.delivered
    assert delivered is not None
    if delivered.ended is not None:
        judgement = Judgement("undecided", False, delivered.ended, final=True)
    shown = streaming_evidence(stretch)
    response, errors = (summarise(catalogue()[name], shown[name]) for name in ("response_time", "error_rate"))
    line = slope(backlog)
    row: dict[str, object] = {
        "rate": step.level,
        "t_s": round(began - session.phase_started, 3),
        "duration_s": delivered.duration_s,
        "requests": delivered.requests,
        "delivered": delivered.rate,
        "p95_ms": None if response.stats is None else response.stats.p95,
        "error_rate": errors.value,
        "in_flight": delivered.max_in_flight,
        "backlog_per_s": None if line is None else line.slope,
        "verdict": judgement.verdict,
        "why": judgement.why,
    }
    session.note(f"{step.level:.4g} requests/s: {judgement.verdict}: {judgement.why}")
    return Tried(step.level, stretch, judgement, row)


def _offering(session: Session, rate: float, seconds: float) -> float:
    """The rate at which the seed's random arrivals come to exactly ``rate * seconds``.

    In the short time of a level a Poisson process of 50 a second may well come to 43, and what is learnt would be of
    43.  Scaled to its count it is a Poisson process still, given that count.
    """
    if session.load.arrivals != "poisson":
        return rate
    number = max(1, round(rate * seconds))
    return Arrivals("poisson", 1.0, seed=session.seed).take(number + 1)[-1] / 1e9 / seconds


async def _watch(session: Session, number: int, seconds: float, backlog: list[tuple[float, float]]) -> None:
    """Looks at what is under way, evenly over the settled part of the stretch of that number, which is to begin."""
    while True:
        await asyncio.sleep(seconds / LOOKS)
        if len(session.driven) > number:
            events = session.driven[number].events
            t_s = (time.monotonic_ns() - events.start_ns) / 1e9
            if SETTLED * seconds <= t_s <= seconds:
                backlog.append((t_s, float(events.in_flight + events.waiting)))


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


def _evidence(session: Session, search: Search, tried: Sequence[Tried]) -> Evidence:
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
    if search.step() is not None:
        details["ended"] = session.budget.reached or ("stopped" if session.stop.is_set() else "the time was over")
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
