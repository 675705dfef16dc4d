"""One phase: its probes in turn, the collectors beside them, and what there is of it at any time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping

from perfsuite.analysis.checkpoint import requirements
from perfsuite.analysis.verdict import phase_verdict
from perfsuite.collectors import process_of, samplers_for, unit_of
from perfsuite.errors import PerfsuiteError
from perfsuite.evidence import Evidence, NotMeasured
from perfsuite.loadgen import Here, Loads, RawWriter
from perfsuite.metric import metric
from perfsuite.plan import Phase, Plan, overridden
from perfsuite.result import Event, PhaseResult, Resource
from perfsuite.suites.budget import Budget, parts
from perfsuite.suites.expected import expected
from perfsuite.suites.outcome import FailedCalls, delivered, errors, fallen_short, unanswered, windows
from perfsuite.suites.probes import Probe, covering, probe
from perfsuite.suites.sampled import by_the_server, sampled_evidence
from perfsuite.suites.searching import with_cpu
from perfsuite.suites.session import Session, Stretch
from perfsuite.suites.streaming import streaming_evidence
from perfsuite.suites.verdicts import HELD, judged_metrics
from perfsuite.suites.wire_error import WireError
from perfsuite.targets.base import Target

NO_TIME = "the phase took no time, for nothing of it can be driven here"


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
        watch: Callable[[Stretch], None] | None = None,
        beside: Iterable[int] = (),
        loads: Loads | None = None,
    ) -> None:
        self._plan = plan
        self._loads = loads or Here()
        self._load = overridden(plan.load, phase)
        own = {"most_requests": phase.settings.get("max_requests"), "most_tokens": phase.settings.get("max_tokens")}
        self._budget = Budget(whose="the phase's", within=budget, **own)  # type: ignore[arg-type]
        self._raw = raw
        self._phase = phase
        self._target = target
        self._stop = stop
        self._progress = progress
        self._watch = watch
        self._evidence: dict[str, Evidence] = {}
        self._stretches: list[Stretch] = []
        self._events: list[Event] = []
        self._session: Session | None = None
        self._broken = False
        self._started = time.monotonic()
        self._ended: float | None = None
        self._timed_out = False
        self._ended_early = asyncio.Event()
        self._own_processes = set(beside)
        self._process = process_of(plan, target, self._own_processes)
        self._samplers = samplers_for(self._process, target, phase.duration_s, plan.collectors)
        self._error = WireError(target)
        self._failures: list[str] = []
        self._gone: list[PerfsuiteError] = []
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
            database=overridden(self._plan.database, self._phase),
            fail=self._failures.append,
            gone=self._gone.append,
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
            watch=self._watch,
            budget=budget,
            phase_started=self._started,
            loads=self._loads,
        )
        self._note(f"{one.name} began")
        try:
            self._add(await one.measure(self._session))
        except BaseException:
            self._broken = True
            raise
        finally:
            self._session = None
        if self._gone:
            raise self._gone[0]

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
        evidence = {**sampled_evidence(self._process, self._target, self._phase, series), **self._evidence}
        if HELD in evidence:
            evidence[HELD] = by_the_server(evidence[HELD], series)
        if "max_rate" in evidence:
            evidence["max_rate"] = with_cpu(evidence["max_rate"], series)
        judged = [one for one in self._stretches if not one.trial]
        if (self._session is not None or self._broken) and judged:  # its probe has not said, or never will
            for name, found in streaming_evidence(judged[-1]).items():
                evidence.setdefault(name, found)
        bars, checks = self._error.bars(judged)
        limited = not self._ended_early.is_set() and any(
            one.delivered is not None and one.delivered.ended is not None for one in self._stretches
        )
        metrics = judged_metrics(
            self._plan, self._phase, evidence, lambda found: self._error.widened(found, checks), limited=limited
        )
        unhandled = [*self._failures, *([error] if error is not None else [])]
        if self._timed_out:
            unhandled.append(f"the phase did not end within its time-out of {self._plan.phase_timeout_s:g} s")
        unhandled += unanswered(judged)
        interrupted = partial or self._stop.is_set()
        undelivered, fell_short = (fallen_short(judged, chosen=chosen) for chosen in (False, True))
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
            errors=[*errors(self._stretches), *self._failed_calls.counted()],
            unhandled=unhandled,
            requested=self._requested(),
            delivered=delivered(self._stretches),
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
            windows=windows(judged),
            load_began_s=round(judged[-1].events.start_ns / 1e9 - self._started, 3) if judged else None,
            undelivered=undelivered,
            error_bars=bars,
            warnings=self._error.warnings(judged),
            requirements=requirements(metrics, unhandled),
        )

    def _requested(self) -> dict[str, object]:
        load = self._load
        return {
            "concurrency": load.concurrency,
            "rate": load.due_rate,
            "users": load.users,
            "duration_s": self._phase.duration_s,
        }


async def _relay(outer: asyncio.Event, inner: asyncio.Event) -> None:
    await outer.wait()
    inner.set()
