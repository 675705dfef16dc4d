"""What a probe is given: the target, its share of time, and one way to drive requests at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from perfsuite._core import Histogram
from perfsuite.loadgen import Delivered, Here, Loads, LoadSpec
from perfsuite.metric import catalogue
from perfsuite.suites.budget import Budget
from perfsuite.targets.base import MemoryUnderTest, OverWire
from perfsuite.workloads.requests import access_pattern

if TYPE_CHECKING:
    from perfsuite.errors import PerfsuiteError
    from perfsuite.loadgen import OnReply, RawWriter, Recording, Times
    from perfsuite.plan import DatabaseLoad, Load, MemoryLoad, Phase, Plan, Tuning, Workload
    from perfsuite.targets.base import Failure, Reply, Request, Target

STABLE_LIMIT_MS = 5000.0
"""A one-second window is good only if its p99 is within this (system_stability)."""

WARMUP_SHARE = 0.1
LONGEST_WARMUP_S = 60.0


@dataclass(slots=True)
class Stretch:
    """One driven stretch: its events and what was delivered of what was asked.

    ``trial``: a level of a search, which may be more than the system bears: it is judged by the search, and the phase's
    figures are not of it.  ``chosen``: its rate was the suite's choice, not the user's.
    """

    name: str
    spec: LoadSpec
    events: Recording
    objectives: dict[str, float]
    delivered: Delivered | None = None
    trial: bool = False
    chosen: bool = False
    process_cpu_s: float | None = None
    """What this process had used of processors when it was over; None where the system under test is in it."""
    counted_by: set[str] = field(default_factory=set)
    """How the tokens of its replies were counted: by the server's usage, or by what here."""
    times: dict[str, Histogram] = field(default_factory=dict)
    """Further times that its replies tell, by name, in ms; the warm-up's too."""

    @property
    def measured_s(self) -> float:
        """The measured time, which ends with the last answer where the load came to an end before its time."""
        if self.delivered is not None:
            return self.delivered.duration_s
        return self.spec.duration_s - self.spec.warmup_s


@dataclass(slots=True, kw_only=True)
class Session:
    """A probe's run.  ``duration_s`` is its share of the phase; ``stop`` is set when the run is to end early."""

    plan: Plan
    phase: Phase
    load: Load
    workload: Workload
    tuning: Tuning
    target: Target
    memory: MemoryLoad
    database: DatabaseLoad
    duration_s: float
    seed: int
    stop: asyncio.Event
    raw: RawWriter | None = None
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[float], None] = lambda share: None
    fail: Callable[[str], None] = lambda text: None
    """Tells what went wrong with the system under test as a whole: the phase fails, what was measured stays."""
    gone: Callable[[PerfsuiteError], None] = lambda error: None
    """Tells that the system under test is not there any more: what was measured stays, the run ends by that error."""
    count_failure: Callable[[str, str], None] = lambda kind, text: None
    """Counts a failed call that no stretch has, by its kind, with its text."""
    own_processes: set[int] = field(default_factory=set)
    """Ids of the processes that probes start for their own work: not part of the system under test."""
    driven: list[Stretch] = field(default_factory=list)
    watch: Callable[[Stretch], None] | None = None
    """Looks at the stretch that is being driven, at each of its ticks, outside of every measured time."""
    budget: Budget = field(default_factory=lambda: Budget(whose="the run's"))
    started: float = field(default_factory=time.monotonic)
    phase_started: float = field(default_factory=time.monotonic)
    loads: Loads = field(default_factory=Here)
    """Drives the requests: this process, or others."""

    def remaining_s(self) -> float:
        """Seconds left of the probe's share; 0 when it is over, the run is to stop, or nothing more may be sent."""
        if self.stop.is_set() or self.budget.reached is not None:
            return 0.0
        return max(0.0, self.started + self.duration_s - time.monotonic())

    @property
    def now_s(self) -> float:
        """Seconds since the phase began."""
        return time.monotonic() - self.phase_started

    def tiered(self, count: int) -> Mapping[str, object]:
        """Options by which ``count`` memories reach all tiers of the memory system under test."""
        return self.target.tier_options(count) if isinstance(self.target, MemoryUnderTest) else {}

    @property
    def access_pattern(self) -> str:
        """What is asked how often, in words."""
        return access_pattern(self.workload)

    @property
    def objectives(self) -> dict[str, float]:
        """The phase's upper limits on what a single response takes, in ms, by metric: the strictest of each."""
        limits: dict[str, float] = {}
        for one in self.phase.criteria:
            if catalogue()[one.metric].objective and one.lower_is_better:
                limits[one.metric] = min(one.target, limits.get(one.metric, one.target))
        return limits

    async def drive(
        self,
        name: str,
        requests: Iterable[Request],
        *,
        duration_s: float,
        concurrency: int | None = None,
        rate: float | None = None,
        users: int | None = None,
        think_s: float = 0.0,
        request_timeout_s: float | None = None,
        trial: bool = False,
        chosen: bool = False,
        few: bool = False,
        share: float = 1.0,
        on_reply: OnReply | None = None,
    ) -> Stretch:
        """Drives requests at the target for ``duration_s`` and returns what happened; see LoadSpec for the loops.

        ``name`` tells one stretch of the phase from another in errors, raw rows and what was delivered.  The budget
        must not be spent yet (``remaining_s`` is 0 then); what this sends is taken from it, and is at most ``share`` of
        what it has left.  ``few``: the requests come to an end, which is no limit that anybody set, none is to warm
        up, and the texts of the answers are wanted.
        """
        budget = self.budget.share(share)
        warmup_s = min(LONGEST_WARMUP_S, duration_s * WARMUP_SHARE)
        if few or budget.about * WARMUP_SHARE < (concurrency or users or 1):
            warmup_s = 0.0  # the first of every slot would be more than its share
        if self.raw is not None:
            self.raw.label = f"{self.phase.name}/{name}"
        spec = LoadSpec(
            duration_s=duration_s,
            concurrency=concurrency,
            rate=rate,
            arrivals=self.load.arrivals,
            users=users,
            pace_s=self.load.pace,
            warmup_s=warmup_s,
            max_requests=budget.requests_left,
            max_tokens=budget.tokens_left,
            request_timeout_s=request_timeout_s or self.plan.request_timeout_s,
            think_s=think_s,
            seed=self.seed,
        )
        events = self.loads.recording(
            self.target,
            requests,
            spec,
            limit_ms=STABLE_LIMIT_MS,
            objectives=self.objectives,
            raw=self.raw is not None,
        )
        whole = self.duration_s

        def progress(share: float) -> None:  # of the stretch, which the probe may follow with others
            self.progress(min(1.0, (time.monotonic() - self.started) / whole))
            if self.watch is not None:
                self.watch(stretch)

        stretch = Stretch(name, spec, events, self.objectives, trial=trial, chosen=chosen)
        self.driven.append(stretch)

        def heard(request: Request, reply: Reply | None, failure: Failure | None, times: Times) -> None:
            if reply is not None:
                stretch.counted_by.add(reply.counted_by)
                for name, ms in reply.times.items():
                    stretch.times.setdefault(name, Histogram()).record(ms)
            if on_reply is not None:
                on_reply(request, reply, failure, times)

        delivered = await self.loads.drive(
            self.target,
            requests,
            spec,
            events,
            on_reply=heard,
            stop=self.stop,
            progress=progress,
            raw=self.raw,
            answers=few or self.workload.turns is not None,
        )
        budget.spend(delivered.sent, delivered.tokens)
        if delivered.ended is not None and budget.reached is not None:
            delivered = replace(delivered, ended=budget.reached)
        elif few:
            delivered = replace(delivered, ended=None)
        stretch.delivered = delivered
        if isinstance(self.target, OverWire):
            stretch.process_cpu_s = time.process_time()
        if delivered.where:
            self.note(f"{name}: {delivered.where}")
        for warning in delivered.warnings:
            self.note(f"{name}: {warning}")
        return stretch
