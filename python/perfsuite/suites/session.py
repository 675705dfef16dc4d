"""What a probe is given: the target, its share of time, and one way to drive requests at it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite._core import Events
from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured, Samples, Share
from perfsuite.loadgen import Delivered, LoadSpec, drive
from perfsuite.suites.probes import STREAMING
from perfsuite.workloads.requests import access_pattern

if TYPE_CHECKING:
    from perfsuite.loadgen import OnReply, RawWriter
    from perfsuite.plan import Load, Phase, Plan, Tuning, Workload
    from perfsuite.targets.base import Request, Target

STABLE_LIMIT_MS = 5000.0
"""A one-second window is good only if its p99 is within this (system_stability)."""

WARMUP_SHARE = 0.1
LONGEST_WARMUP_S = 60.0
OBJECTIVES = ("response_time", "service_time", "ttft", "service_ttft", "answer_ttft", "max_gap", "tpot")
"""Criteria on these, in ms, are what a single response has to meet to count as goodput."""


@dataclass(slots=True)
class Stretch:
    """One driven stretch: its events and what was delivered of what was asked."""

    name: str
    spec: LoadSpec
    events: Events
    objectives: dict[str, float]
    delivered: Delivered | None = None


@dataclass(slots=True, kw_only=True)
class Session:
    """A probe's run.  ``duration_s`` is its share of the phase; ``stop`` is set when the run is to end early."""

    plan: Plan
    phase: Phase
    load: Load
    workload: Workload
    tuning: Tuning
    target: Target
    duration_s: float
    seed: int
    workdir: Path
    stop: asyncio.Event
    raw: RawWriter | None = None
    note: Callable[[str], None] = lambda text: None
    progress: Callable[[float], None] = lambda share: None
    own_processes: set[int] = field(default_factory=set)
    """Ids of the processes that probes start for their own work: not part of the system under test."""
    driven: list[Stretch] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def remaining_s(self) -> float:
        """Seconds left of the probe's share; 0 when it is over or the run is to stop."""
        if self.stop.is_set():
            return 0.0
        return max(0.0, self.started + self.duration_s - time.monotonic())

    @property
    def access_pattern(self) -> str:
        """What is asked how often, in words."""
        return access_pattern(self.workload)

    @property
    def objectives(self) -> dict[str, float]:
        """The phase's upper limits on what a single response takes, in ms, by metric: the strictest of each."""
        limits: dict[str, float] = {}
        for one in self.phase.criteria:
            if one.metric in OBJECTIVES and one.comparison in ("<", "<="):
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
        warmup: bool = True,
        on_reply: OnReply | None = None,
    ) -> Stretch:
        """Drives requests at the target for ``duration_s`` and returns what happened.  ``name`` tells one stretch of
        the phase from another in errors, raw rows and what was delivered."""
        warmup_s = min(LONGEST_WARMUP_S, duration_s * WARMUP_SHARE) if warmup else 0.0
        if self.raw is not None:
            self.raw.label = f"{self.phase.name}/{name}"
        spec = LoadSpec(
            duration_s=duration_s,
            concurrency=concurrency,
            rate=rate,
            arrivals=self.load.arrivals,
            warmup_s=warmup_s,
            max_requests=self.load.max_requests,
            max_tokens=self.load.max_tokens,
            request_timeout_s=self.plan.request_timeout_s,
            seed=self.seed,
        )
        events = Events(
            warmup_ns=int(warmup_s * 1e9),
            limit_ms=STABLE_LIMIT_MS,
            objectives=self.objectives,
            raw=self.raw is not None,
        )
        stretch = Stretch(name, spec, events, self.objectives)
        self.driven.append(stretch)
        stretch.delivered = await drive(
            self.target, requests, spec, events, on_reply=on_reply, stop=self.stop, progress=self.progress, raw=self.raw
        )
        return stretch


def samples(stretch: Stretch, name: str) -> Evidence:
    """The evidence of one of the events' histograms; failed requests count as slower than any answer."""
    events = stretch.events
    histogram = events.histogram(name)
    failed = events.failed if name in ("response_time", "service_time", "ttft", "service_ttft", "answer_ttft") else 0
    if histogram.count == 0 and not failed:
        return NotMeasured("no request gave one")
    return Samples(
        histogram=histogram,
        blocks=events.blocks(name),
        failed=failed,
        longest_wait=events.longest_wait_ms,
        series=mean_series(stretch) if name == "response_time" else (),
    )


def mean_series(stretch: Stretch) -> list[tuple[float, float]]:
    """Mean response time by second of due."""
    windows = stretch.events.windows()
    return [
        (t_s, total / ok) for t_s, total, ok in zip(windows["t_s"], windows["sum_ms"], windows["ok"], strict=True) if ok
    ]


def streaming_evidence(stretch: Stretch) -> dict[str, Evidence]:
    """What a driven stretch shows of the metrics in STREAMING."""
    events = stretch.events
    windows = events.windows()
    found: dict[str, Evidence] = {
        name: samples(stretch, name)
        for name in STREAMING
        if name not in ("goodput", "tokens_per_chunk", "error_rate")
    }
    ended = events.completed + events.failed
    if not ended:
        return dict.fromkeys(STREAMING, NotMeasured("no request ended in the measured time"))
    by_second = [(failed, failed + ok) for failed, ok in zip(windows["failed"], windows["ok"], strict=True)]
    found["error_rate"] = Share(
        hits=events.failed,
        trials=ended,
        clusters=[pair for pair in by_second if pair[1]],
        series=[(t_s, failed / of) for t_s, (failed, of) in zip(windows["t_s"], by_second, strict=True) if of],
        details={"kinds": dict(events.errors)},
    )
    found["goodput"] = goodput(stretch)
    if events.tokens_per_chunk is not None:
        found["tokens_per_chunk"] = Exact(value=events.tokens_per_chunk, samples=events.chunks)
    else:
        found["tokens_per_chunk"] = NotMeasured("no content chunk was seen")
    return found


def goodput(stretch: Stretch) -> Evidence:
    """Responses a second that met all of the phase's objectives."""
    if not stretch.objectives:
        return NotMeasured(f"the phase states no objective on any of {', '.join(OBJECTIVES)}")
    measured_s = stretch.spec.duration_s - stretch.spec.warmup_s
    rate = stretch.events.good / measured_s
    # Which second a response was good in is not kept; counts of arrivals vary as a Poisson count does, or less.
    spread = 1.96 * math.sqrt(stretch.events.good) / measured_s
    return Estimate(
        value=rate,
        low=max(0.0, rate - spread),
        high=rate + spread,
        samples=stretch.events.good,
        details={"objectives_ms": stretch.objectives},
    )


def good_windows(stretches: Iterable[Stretch]) -> Evidence:
    """system_stability of one or more stretches: see metrics.md for what makes a window good."""
    hits = trials = 0
    series: list[tuple[float, float]] = []
    offset = 0.0
    for stretch in stretches:
        windows = stretch.events.windows()
        rows = zip(
            windows["t_s"],
            windows["due"],
            windows["ok"],
            windows["failed"],
            windows["over_limit"],
            windows["finished"],
            windows["waiting"],
            windows["warmup"],
            strict=True,
        )
        last = 0.0
        for t_s, due, ok, failed, over_limit, finished, waiting, warmup in rows:
            last = t_s
            if warmup or (not due and not waiting):
                continue  # of the warm-up, or nothing was asked of it
            ended = ok + failed
            few_failed = failed <= max(1.0, 0.01 * ended)
            in_time = over_limit <= 0.01 * ended
            good = few_failed and in_time and finished > 0
            hits += good
            trials += 1
            series.append((offset + t_s, float(good)))
        offset += last + 1.0
    if not trials:
        return NotMeasured("no full second was measured")
    return Share(hits=hits, trials=trials, series=series)
