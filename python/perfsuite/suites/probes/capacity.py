"""Capacity: a closed loop at one request in flight, two, four …, up and down again, and the law through these."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from perfsuite.analysis.capacity import FEWEST, Interval, Law, Level, Model, fit, held_out
from perfsuite.analysis.summary import summarise
from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured
from perfsuite.metric import catalogue, labelled, meets, streamed
from perfsuite.suites.probes.load import throughput
from perfsuite.suites.session import Session, Stretch
from perfsuite.suites.streaming import streaming_evidence
from perfsuite.workloads.requests import Conversing, requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfsuite.loadgen import Times
    from perfsuite.plan import Criterion
    from perfsuite.targets.base import Failure, Reply, Request

HIGHEST = 64
"""In flight at most, unless --concurrency says otherwise."""
SHORTEST_S = 1.0
FEWEST_ENDED = 3
"""Requests of a level that says anything."""
CURVE_POINTS = 40
MOST_FAILED = 0.5
"""A level of which more failed is the last on the way up."""


class Measured:
    """What the levels gave, both times."""

    def __init__(self) -> None:
        self.stretches: dict[int, list[Stretch]] = {}

    def add(self, concurrency: int, stretch: Stretch) -> None:
        """One more time at that level."""
        self.stretches.setdefault(concurrency, []).append(stretch)

    def failing(self, criteria: Iterable[Criterion]) -> int | None:
        """The lowest level with more failures than the criteria allow; what ends there and above follows no law."""
        rates = [one for one in criteria if one.metric == "error_rate"]
        for concurrency, times in sorted(self.stretches.items()):
            if not all(_meets(stretch, one) for stretch in times for one in rates):
                return concurrency
        return None

    def levels(self, limits: Iterable[Criterion], below: int | None) -> list[Level]:
        """Those that say anything."""
        found = (
            _level(concurrency, times, limits)
            for concurrency, times in sorted(self.stretches.items())
            if below is None or concurrency < below
        )
        return [level for level in found if level is not None]


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Climbs while there is time and the system answers, then comes down again: what drifts meanwhile evens out."""
    source = requests(
        session.seed,
        slots=_highest(session),
        workload=session.workload,
        models=session.target.models[:1],
        expecting=False,
    )
    measured = Measured()
    climbing = _climbing(session)
    for position, concurrency in enumerate(climbing):
        stretch = await _try(session, source, measured, concurrency, 2 * len(climbing) - position)
        if stretch is None or _failed(stretch) > MOST_FAILED:
            break
    descending = sorted(measured.stretches, reverse=True)
    for position, concurrency in enumerate(descending):
        await _try(session, source, measured, concurrency, len(descending) - position)
    limits = [one for one in session.phase.criteria if catalogue()[one.metric].objective and one.lower_is_better]
    found = _evidence(session, measured, limits)
    shown = _shown(measured, session.phase.criteria)
    if shown is not None:
        shown.trial = False  # the phase's latencies are those of the highest level within the criteria
        found |= streaming_evidence(shown)
    elif not measured.stretches:
        late = f"{session.duration_s:.3g} s are too short for {len(climbing)} levels, twice: --duration"
        found |= dict.fromkeys(streamed(), NotMeasured(late))
    return found


def _highest(session: Session) -> int:
    return session.load.concurrency or HIGHEST


def steps(highest: int) -> list[int]:
    """One, two, four … and the highest; below 16 three, six and twelve as well."""
    doubled = (1 << i for i in range(highest.bit_length()))
    between = (3, 6, 12) if highest < 16 else ()
    return sorted({one for one in (*doubled, *between) if one < highest} | {highest})


def _climbing(session: Session) -> list[int]:
    """The steps; no more than there is time for twice."""
    found = steps(_highest(session))
    room = int(session.remaining_s() / (2 * SHORTEST_S))
    if len(found) > room >= FEWEST + 1:  # the ends, and what lies evenly between them
        found = sorted({found[round(i * (len(found) - 1) / (room - 1))] for i in range(room)})
    return found


async def _try(
    session: Session, source: Conversing, measured: Measured, concurrency: int, tries_left: int
) -> Stretch | None:
    seconds = session.remaining_s() / tries_left
    if seconds < SHORTEST_S / 2:
        return None

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: Times) -> None:
        source.answered(request, reply)

    began = time.monotonic()
    stretch = await session.drive(
        f"{concurrency} in flight",
        source,
        duration_s=seconds,
        concurrency=concurrency,
        think_s=0.0,
        request_timeout_s=max(SHORTEST_S, min(session.plan.request_timeout_s, session.duration_s)),
        trial=True,
        on_reply=on_reply,
    )
    measured.add(concurrency, stretch)
    session.note(f"{concurrency} in flight: {throughput(stretch):.4g} requests/s for {time.monotonic() - began:.2f} s")
    return stretch


def _failed(stretch: Stretch) -> float:
    ended = stretch.events.completed + stretch.events.failed
    return stretch.events.failed / ended if ended else 1.0


def _level(concurrency: int, times: list[Stretch], limits: Iterable[Criterion]) -> Level | None:
    """What a level gave in all its times; None where too little ended."""
    ended = sum(one.events.completed for one in times)
    seconds = sum(one.measured_s for one in times)
    if ended < FEWEST_ENDED or seconds <= 0.0:
        return None
    rates = [throughput(one) for one in times]
    rate = ended / seconds
    varies = fmean(_variation(one) for one in times) / math.sqrt(ended)
    apart = (max(rates) - min(rates)) / (2.0 * rate) if len(rates) > 1 else 0.0
    latencies = {}
    for limit in limits:
        seen = [_figure(one, limit) for one in times]
        if all(value is not None for value in seen):
            latencies[labelled(limit.metric, limit.stat)] = fmean(value for value in seen if value is not None)
    return Level(float(concurrency), rate, max(varies, apart), latencies)


def _variation(stretch: Stretch) -> float:
    """Standard deviation over mean of the response times."""
    answered = stretch.events.histogram("response_time")
    return answered.stdev / answered.mean if answered.count and answered.mean > 0.0 else 1.0


def _figure(stretch: Stretch, limit: Criterion) -> float | None:
    found = summarise(catalogue()[limit.metric], streaming_evidence(stretch)[limit.metric])
    return None if found.stats is None else getattr(found.stats, limit.stat, None)


def _shown(measured: Measured, criteria: Iterable[Criterion]) -> Stretch | None:
    """The last stretch of the highest level whose figures meet the criteria; the lowest's where none does."""
    wanted = [one for one in criteria if catalogue()[one.metric].streamed]
    best: Stretch | None = None
    for _, times in sorted(measured.stretches.items()):
        if best is None or all(_meets(times[-1], one) for one in wanted):
            best = times[-1]
        else:
            break
    return best


def _meets(stretch: Stretch, one: Criterion) -> bool:
    found = summarise(catalogue()[one.metric], streaming_evidence(stretch)[one.metric])
    value = found.value if one.stat == "value" or found.stats is None else getattr(found.stats, one.stat)
    return value is not None and meets(value, one.comparison, one.target)


def _evidence(session: Session, measured: Measured, limits: list[Criterion]) -> dict[str, Evidence]:
    names = ("peak_throughput", "knee_concurrency", "capacity_concurrency", "capacity_error")
    failing = measured.failing(session.phase.criteria)
    levels = measured.levels(limits, failing)
    rows = [
        {
            "concurrency": level.concurrency,
            "throughput": level.throughput,
            "error": level.error,
            "latencies_ms": dict(level.latencies),
        }
        for level in levels
    ]
    model = fit(levels, seed=session.seed)
    if model is None:
        few = f"{len(levels)} levels gave enough, {FEWEST} are needed: a longer --duration, a higher --concurrency"
        if failing is not None:
            few = f"with {failing} in flight too many requests failed, and {len(levels)} levels below are too few"
        return {name: NotMeasured(few, details={"levels": rows}) for name in names}
    law = model.law
    details: dict[str, object] = {
        "levels": rows,
        "alone_ms": 1e3 * law.alone,
        "contention_ms": 1e3 * law.contention,
        "coherency_ms": 1e3 * law.coherency,
        "slots": law.slots if math.isfinite(law.slots) else None,
        "curve": _curve(model),
    }
    ended = sum(one.events.completed for times in measured.stretches.values() for one in times)
    highest = levels[-1].concurrency
    more = {"to_decide": f"a higher --concurrency than {highest:g}"}
    peak, knee = model.interval(lambda law: law.peak), model.interval(lambda law: law.knee)
    if not math.isfinite(peak.value) or (law.most > highest and math.isinf(law.slots)):
        best = max(level.throughput for level in levels)
        found: dict[str, Evidence] = {
            "peak_throughput": Estimate(value=best, low=best, high=math.inf, samples=ended, details={**details, **more})
        }
    else:
        found = {"peak_throughput": _estimate(peak, ended, details)}
    found["knee_concurrency"] = (
        _estimate(knee, ended)
        if knee.value <= highest
        else Estimate(value=highest, low=min(knee.low, highest), high=math.inf, samples=ended, details=more)
    )
    found["capacity_concurrency"] = _within(model, limits, failing, ended)
    checks = held_out(levels)
    predicted = [
        {"concurrency": one.concurrency, "measured": one.measured, "predicted": one.predicted, "beyond": one.beyond}
        for one in checks
    ]
    found["capacity_error"] = (
        Exact(value=fmean(one.error for one in checks), samples=len(checks), details={"held_out": predicted})
        if checks
        else NotMeasured(f"{len(levels)} levels are too few to leave one out: --duration, or a higher --concurrency")
    )
    return found


def _curve(model: Model) -> list[dict[str, float]]:
    """The law's throughput from one request in flight to twice the highest level."""
    far = 2.0 * model.levels[-1].concurrency
    rows = []
    for i in range(CURVE_POINTS):
        concurrency = far ** (i / (CURVE_POINTS - 1))
        at = model.interval(partial(_throughput, concurrency))
        rows.append({"concurrency": concurrency, "throughput": at.value, "low": at.low, "high": at.high})
    return rows


def _throughput(concurrency: float, law: Law) -> float:
    return law.throughput(concurrency)


def _estimate(found: Interval, samples: int, details: Mapping[str, object] | None = None) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high, samples=samples, details=details or {})


def _within(model: Model, limits: list[Criterion], failing: int | None, ended: int) -> Evidence:
    """The highest concurrency at which every criterion on single requests holds."""
    highest = model.levels[-1].concurrency
    value = low = high = highest
    for limit in limits:
        name = labelled(limit.metric, limit.stat)
        if name not in model.latency_names:
            return NotMeasured(f"{name} was not seen at every level")
        one = model.latency(name).interval(limit.target, highest)
        value, low, high = min(value, one.value), min(low, one.low), min(high, one.high)
    if failing is not None and value >= highest:
        return Estimate(value=highest, low=low, high=float(failing), samples=ended)
    if value >= highest:
        more = {"to_decide": f"a higher --concurrency than {highest:g}"}
        return Estimate(value=value, low=low, high=math.inf, samples=ended, details=more)
    return Estimate(value=value, low=low, high=high, samples=ended)
