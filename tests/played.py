"""A runner that is played, where what is tested is around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from perfsuite.plan import Plan
from perfsuite.result import Environment, MetricResult, PhaseResult, Result, Run


def a_result(verdict: str = "passed", exit_code: int = 0) -> Result:
    """A small result; its verdict and exit code as told."""
    metric = MetricResult(
        name="response_time",
        unit="ms",
        kind="histogram",
        value=12.0,
        stat="p95",
        target=50.0,
        comparison="<",
        verdict="passed",
    )
    return Result(
        run=Run(
            id="20261121_101500-0",
            started="2026-11-21T10:15:00.000+00:00",
            ended="2026-11-21T10:15:05.000+00:00",
            target="reference",
            exit_code=exit_code,
            verdict=verdict,  # type: ignore[arg-type]
        ),
        environment=Environment(
            host="h", os="Linux", cpu="c", cores=2, memory_bytes=1, python="3.11", perfsuite="0.1.0"
        ),
        phases=[PhaseResult(name="load", verdict="passed", metrics=[metric])],
    )


@dataclass
class Played:
    """What the played runner was given, and what it is to do."""

    result: Result = field(default_factory=a_result)
    plans: list[Plan] = field(default_factory=list)
    during: Callable[..., object] | None = None
    error: BaseException | None = None

    async def execute_async(  # type: ignore[no-untyped-def]
        self, plan: Plan, *, progress=None, stop=None, save=None, notes=(), announce=None, watch=None, beside=()
    ) -> Result:
        self.plans.append(plan)
        self.result.run.notes.extend(notes)
        if self.error is not None:
            raise self.error
        if self.during is not None:
            done = self.during(progress=progress, stop=stop, save=save)
            if asyncio.iscoroutine(done):
                await done
        return self.result
