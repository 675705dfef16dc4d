"""One phase: its probes in turn, the collectors beside them, and the evidence that comes of it, judged."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from perfsuite.analysis.summary import summarise
from perfsuite.analysis.verdict import judge, phase_verdict, settle
from perfsuite.collectors import process_of, samplers_for, unit_of
from perfsuite.collectors.server import INTERVAL_S
from perfsuite.collectors.server_page import RUNNING, WAITING
from perfsuite.evidence import Estimate, Evidence, Exact, Level, NotMeasured
from perfsuite.loadgen import RawWriter
from perfsuite.metric import catalogue, metric
from perfsuite.plan import Criterion, Phase, Plan, overridden
from perfsuite.result import ErrorCount, Event, MetricResult, PhaseResult, Resource
from perfsuite.suites.budget import Budget, parts
from perfsuite.suites.expected import expected
from perfsuite.suites.probes import Probe, covering, probe
from perfsuite.suites.searching import with_cpu
from perfsuite.suites.session import Session, Stretch
from perfsuite.suites.streaming import streaming_evidence
from perfsuite.suites.wire_error import WireError
from perfsuite.targets.base import MemoryUnderTest, Target

HELD = "concurrent_requests"
"""Judged last: it counts only while every other criterion of the phase held."""

NO_TIME = "the phase took no time, for nothing of it can be driven here"

STAMPS = (
    "reads", "kernel_reads", "kernel_sends", "coalesced_reads", "coalesced_chunks", "stamps_dropped", "clock_steps",
    "lag_over", "lag_max_ns", "turn_max_ns", "starved", "stale_retries", "paused", "cpu_ns",
)  # fmt: skip
"""Of what the engines of the load counted, what says how far its stamps can be trusted (csrc/wire/pfs_wire.h)."""


class FailedCalls:
    """Failed calls that are no requests of a stretch, by kind."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, list[str]] = {}

    def add(self, kind: str, text: str) -> None:
        """One more; the first few different texts are kept."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        kept = self._first.setdefault(kind, [])
        if len(kept) < 3 and text not in kept:
            kept.append(text)

    def counted(self) -> list[ErrorCount]:
        """As the result has them."""
        return [ErrorCount(kind=kind, count=n, first=self._first[kind]) for kind, n in self._counts.items()]


class PhaseRun:
    """Runs one phase.  ``result`` may be asked for at any time."""

    def __init__(
        self,
        *,
        plan: Plan,
        phase: Phase,
        target: Target,
        stop: asyncio.Event,
        progress: Callable[[float], None],
        raw: RawWriter | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._plan = plan
        self._load = overridden(plan.load, phase)
        own = {"most_requests": phase.settings.get("max_requests"), "most_tokens": phase.settings.get("max_tokens")}
        self._budget = Budget(whose="the phase's", within=budget, **own)  # type: ignore[arg-type]
        self._raw = raw
        self._phase = phase
        self._target = target
        self._stop = stop
        self._progress = progress
        self._evidence: dict[str, Evidence] = {}
        self._stretches: list[Stretch] = []
        self._events: list[Event] = []
        self._session: Session | None = None
        self._broken = False
        self._started = time.monotonic()
        self._ended: float | None = None
        self._timed_out = False
        self._ended_early = asyncio.Event()
        self._own_processes: set[int] = set()
        self._process = process_of(plan, target, self._own_processes)
        self._samplers = samplers_for(self._process, target, phase.duration_s)
        self._error = WireError(target)
        self._failures: list[str] = []
        self._failed_calls = FailedCalls()

    async def run(self) -> None:
        """Measures until the phase's time is over or ``stop`` is set."""
        self._started = time.monotonic()
        for sampler in self._samplers:
            await asyncio.to_thread(sampler.start)  # its first sample may wait for a server in this very loop
        alarm = None
        relay = asyncio.create_task(_relay(self._stop, self._ended_early))
        if self._plan.phase_timeout_s is not None:
            alarm = asyncio.get_running_loop().call_later(self._plan.phase_timeout_s, self._time_out)
        try:
            await self._probes()
        finally:
            if alarm is not None:
                alarm.cancel()
            relay.cancel()
            for sampler in self._samplers:
                await asyncio.to_thread(sampler.stop)
            self._ended = time.monotonic()
            self._progress(1.0)

    def _time_out(self) -> None:
        self._timed_out = True
        self._ended_early.set()
        self._note(f"the phase's time-out of {self._plan.phase_timeout_s:g} s was reached")

    async def _probes(self) -> None:
        chosen = [probe(name) for name in self._phase.probes] or list(covering(self._phase.metrics))
        if self._plan.metrics:
            chosen = [one for one in chosen if set(one.provides) & set(self._plan.metrics)]
        usable: list[Probe] = []
        for one in chosen:
            reason = one.unavailable(self._target)
            if reason is None:
                usable.append(one)
            else:
                self._add({name: NotMeasured(reason) for name in one.provides})
        if not usable and not await self._idle():
            self._add({"memory_growth": NotMeasured(NO_TIME)})
        weight = sum(one.weight for one in usable)
        sends = expected(self._plan, self._phase)
        shares = parts([sends.get(one.name, 0.0) for one in usable])
        done = 0.0
        for one, part in zip(usable, shares, strict=True):
            if self._ended_early.is_set():
                break
            share = one.weight / weight
            if one.drives and self._budget.reached is not None:
                self._add({name: NotMeasured(self._budget.reached) for name in one.provides})
            else:
                await self._probe(one, share, done, self._budget.share(part))
            done += share

    async def _idle(self) -> bool:
        """Nothing can be driven; memory can still be looked at when it is all that was asked for.  Whether it was."""
        if self._process is None or not all(metric(name).sampled for name in self._phase.metrics):
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._phase.duration_s):
                await self._ended_early.wait()
        return True

    async def _probe(self, one: Probe, share: float, done: float, budget: Budget) -> None:
        self._session = Session(
            plan=self._plan,
            phase=self._phase,
            load=self._load,
            workload=overridden(self._plan.workload, self._phase),
            tuning=overridden(self._plan.tuning, self._phase),
            memory=overridden(self._plan.memory, self._phase),
            fail=self._failures.append,
            count_failure=self._failed_calls.add,
            target=self._target,
            duration_s=self._phase.duration_s * share,
            seed=self._plan.seed,
            stop=self._ended_early,
            raw=self._raw,
            note=self._note,
            progress=lambda part: self._progress(done + share * min(1.0, max(0.0, part))),
            own_processes=self._own_processes,
            driven=self._stretches,
            budget=budget,
            phase_started=self._started,
        )
        self._note(f"{one.name} began")
        try:
            self._add(await one.measure(self._session))
        except BaseException:
            self._broken = True
            raise
        finally:
            self._session = None

    def _add(self, found: Mapping[str, Evidence]) -> None:
        """Earlier evidence stands, unless it only says why there was none."""
        for name, evidence in found.items():
            if isinstance(self._evidence.get(name), (type(None), NotMeasured)):
                self._evidence[name] = evidence

    def _note(self, text: str) -> None:
        self._events.append(Event(t_s=round(time.monotonic() - self._started, 3), text=text))

    def result(self, *, error: str | None, partial: bool = False) -> PhaseResult:
        """The phase as far as it is measured, judged."""
        series = {name: points for sampler in self._samplers for name, points in sampler.series().items()}
        evidence = {**self._sampled(series), **self._evidence}
        if HELD in evidence:
            evidence[HELD] = _by_the_server(evidence[HELD], series)
        if "max_rate" in evidence:
            evidence["max_rate"] = with_cpu(evidence["max_rate"], series)
        judged = [one for one in self._stretches if not one.trial]
        if (self._session is not None or self._broken) and judged:  # its probe has not said, or never will
            for name, found in streaming_evidence(judged[-1]).items():
                evidence.setdefault(name, found)
        bars, self._checks = self._error.bars(judged)
        metrics = self._judged(evidence)
        unhandled = [*self._failures, *([error] if error is not None else [])]
        if self._timed_out:
            unhandled.append(f"the phase did not end within its time-out of {self._plan.phase_timeout_s:g} s")
        unhandled += _unanswered(judged)
        interrupted = partial or self._stop.is_set()
        short = [one for one in judged if one.delivered is not None and one.delivered.short is not None]
        undelivered, fell_short = ([_short(one) for one in short if one.chosen is mine] for mine in (False, True))
        verdict, reason = phase_verdict(
            metrics,
            unhandled,
            strict=self._plan.strict,
            interrupted=interrupted,
            named=self._plan.metrics,
            undelivered=undelivered,
            fell_short=fell_short,
        )
        ended = self._ended if self._ended is not None else time.monotonic()
        return PhaseResult(
            name=self._phase.name,
            title=self._phase.title,
            verdict=verdict,
            reason=reason,
            duration_s=ended - self._started,
            errors=[*_errors(self._stretches), *self._failed_calls.counted()],
            unhandled=unhandled,
            requested=self._requested(),
            delivered=_delivered(self._stretches),
            metrics=metrics,
            events=[
                *self._events,
                *(
                    Event(t_s=round(t_s, 3), text=f"{name}: {why}")
                    for sampler in self._samplers
                    for t_s, name, why in sampler.ended
                ),
            ],
            resources={name: Resource(unit=unit_of(name), series=list(points)) for name, points in series.items()},
            windows=_windows(judged),
            undelivered=undelivered,
            error_bars=bars,
            warnings=self._error.warnings(judged),
        )

    def _sampled(self, series: Mapping[str, list[tuple[float, float]]]) -> dict[str, Evidence]:
        points = series.get("process.memory_bytes", [])
        if self._process is None and isinstance(self._target, MemoryUnderTest):
            return {}  # each measurement starts its own process, and footprint is what looks at it
        if self._process is None:
            reason = f"no process of {self._target.name} is known on this machine: name it with --pid"
            return {name: NotMeasured(reason) for name, row in catalogue().items() if row.sampled}
        return memory_evidence(points, self._process.memory_kind, settled_s=self._phase.duration_s * 0.1)

    def _judged(self, evidence: Mapping[str, Evidence]) -> list[MetricResult]:
        wanted = self._plan.metrics or tuple(dict.fromkeys((*self._phase.metrics, *evidence)))
        found: list[MetricResult] = []
        for name in wanted:
            criteria = [one for one in self._phase.criteria if one.metric == name]
            asked = name in self._phase.metrics or name in self._plan.metrics or bool(criteria)
            if not asked and (name not in evidence or _left_out(name, evidence[name])):
                continue
            if name != HELD:
                found += self._judge(name, evidence.get(name), criteria)
        found = settle(found)
        if HELD in wanted and (HELD in evidence or HELD in self._phase.metrics):
            criteria = [one for one in self._phase.criteria if one.metric == HELD]
            found = self._judge(HELD, _held(evidence.get(HELD), found), criteria) + found
        return found

    def _judge(self, name: str, evidence: Evidence | None, criteria: list[Criterion]) -> list[MetricResult]:
        """The metric held against each of its criteria; once, informative, when it has none."""
        spec = metric(name)
        evidence = evidence or NotMeasured("no probe of this phase shows it")
        stats: list[str | None] = [one.stat for one in criteria] or [None]
        found = [self._error.widened(summarise(spec, evidence, stat), self._checks) for stat in stats]
        if not criteria:
            return found
        limited = not self._ended_early.is_set() and any(
            one.delivered is not None and one.delivered.ended is not None for one in self._stretches
        )
        length = None if limited else self._phase.duration_s  # to run longer would not help
        return [judge(one, by, length, limited=limited) for one, by in zip(found, criteria, strict=True)]

    def _requested(self) -> dict[str, object]:
        load = self._load
        return {
            "concurrency": load.concurrency,
            "rate": load.due_rate,
            "users": load.users,
            "duration_s": self._phase.duration_s,
        }


def memory_evidence(points: list[tuple[float, float]], kind: str, *, settled_s: float) -> dict[str, Evidence]:
    """Evidence for every metric that is ``sampled``; ``points``: the memory of the process, by second."""
    details = {"kind": kind}
    return {
        "memory_usage": Level(series=points, summary="max", details=details),
        "memory_growth": Level(series=points, summary="growth", settled_s=settled_s, details=details),
    }


async def _relay(outer: asyncio.Event, inner: asyncio.Event) -> None:
    await outer.wait()
    inner.set()


def _left_out(name: str, evidence: Evidence) -> bool:
    return metric(name).incidental and isinstance(evidence, NotMeasured)


def _by_the_server(evidence: Evidence, series: Mapping[str, list[tuple[float, float]]]) -> Evidence:
    """concurrent_requests beside the server's own count, where it shows one: its largest, by what it says of them."""
    counts = {
        f"server_{state}": max(value for _, value in points)
        for state in (RUNNING, WAITING)
        if (points := series.get(f"server.{state}"))
    }
    if not isinstance(evidence, Exact | Estimate) or not counts:
        return evidence
    return replace(evidence, details={**evidence.details, **counts, "server_read_every_s": INTERVAL_S})


def _held(evidence: Evidence | None, others: list[MetricResult]) -> Evidence | None:
    """concurrent_requests counts only while every other criterion of the phase held."""
    failed = [one.name for one in others if one.critical and one.verdict == "failed"]
    if not isinstance(evidence, Exact | Estimate) or not failed:
        return evidence
    details = {**evidence.details, "in_flight": evidence.value, "criteria_failed": failed}
    return Exact(value=0.0, samples=evidence.samples, series=evidence.series, details=details)


def _errors(stretches: list[Stretch]) -> list[ErrorCount]:
    counts: dict[str, int] = {}
    first: dict[str, list[str]] = {}
    for one in stretches:
        for kind, count in one.events.errors.items():
            counts[kind] = counts.get(kind, 0) + count
        if one.delivered is not None:
            for kind, texts in one.delivered.examples.items():
                known = first.setdefault(kind, [])
                known += [text for text in texts if text not in known]
    return [ErrorCount(kind=kind, count=count, first=first.get(kind, [])[:3]) for kind, count in counts.items()]


def _short(stretch: Stretch) -> str:
    assert stretch.delivered is not None
    return f"{stretch.name}: {stretch.delivered.short}"


def _unanswered(stretches: list[Stretch]) -> Iterator[str]:
    """The stretches of which nothing was answered, not even in the warm-up: a system that hangs from its first request
    on has no sample to fail by, and must not pass for one that was not measurable."""
    for one in stretches:
        events, delivered = one.events, one.delivered
        begun = events.started + events.warmup
        if delivered is None or not begun or events.completed + events.warmup > events.warmup_failed:
            continue
        first = next((f" ({kind}: {texts[0]})" for kind, texts in delivered.examples.items() if texts), "")
        yield f"{one.name}: none of {begun:,} requests was answered{first}"


def _delivered(stretches: list[Stretch]) -> dict[str, object]:
    ended = [one for one in stretches if one.delivered is not None]
    if not ended:
        return {}
    rows = [one.delivered for one in ended if one.delivered is not None]
    asked = [row for one, row in zip(ended, rows, strict=True) if not one.trial]  # the rate is not of a search's levels
    seconds = sum(row.duration_s for row in asked)
    due = [(row.due_rate * row.duration_s, row.duration_s) for row in asked if row.due_rate is not None]
    return {
        "max_in_flight": max(row.max_in_flight for row in rows),
        "rate": sum(row.rate * row.duration_s for row in asked) / seconds if seconds else 0.0,
        "due_rate": sum(number for number, _ in due) / sum(length for _, length in due) if due else None,
        "warmup": sum(row.warmup for row in rows),
        "requests": sum(row.requests for row in rows),
        "completed": sum(row.completed for row in rows),
        "failed": sum(row.failed for row in rows),
        "duration_s": sum(row.duration_s for row in rows),
        "late_sends": sum(row.late_sends for row in rows),
        "coalesced_reads": sum(row.coalesced_reads for row in rows),
        "stretches": [
            {
                "stretch": one.name,
                "asked": str(one.spec),
                "duration_s": row.duration_s,
                "rate": row.rate,
                "due_rate": row.due_rate,
                "warmup": row.warmup,
                "max_in_flight": row.max_in_flight,
                "mean_in_flight": row.mean_in_flight,
                "requests": row.requests,
                "completed": row.completed,
                "failed": row.failed,
                "late_sends": row.late_sends,
                "pauses": row.pauses,
                "paused_s": row.paused_s,
                "ended": row.ended,
                "short": row.short,
            }
            for one, row in zip(ended, rows, strict=True)
        ],
        "stamps": [
            {"stretch": one.name, **{name: row.wire[name] for name in STAMPS}}
            for one, row in zip(ended, rows, strict=True)
            if row.wire
        ],
    }


def _windows(stretches: list[Stretch]) -> dict[str, list[float | None]]:
    """The windows of the last driven stretch, the one that the phase's latencies are of."""
    if not stretches:
        return {}
    return {name: [float(value) for value in column] for name, column in stretches[-1].events.windows().items()}
