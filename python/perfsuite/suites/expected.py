"""About how many requests a phase's probes send of themselves: said before a run, and what a limit is shared out by."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from perfsuite.plan import overridden
from perfsuite.suites.probes import capacity, conversation, counting, covering, load, probe

if TYPE_CHECKING:
    from perfsuite.plan import Load, Phase, Plan

ANSWER_S = 1.0
"""How long an answer is taken to last where none was seen."""
LEAST_S = 0.001

CLIMBING = {"ramp": 0.5, "step": 0.6}
"""The mean of what climbs to its rate, as a share of that (csrc/core/pfs_arrivals.h)."""

IN_FLIGHT = {"conversation": conversation.CONCURRENCY, "load": load.CONCURRENCY}


def expected(plan: Plan, phase: Phase, answer_s: float = ANSWER_S) -> Mapping[str, float]:
    """Requests by the name of the probe, each for its share of the phase's time; those that send some."""
    asked = overridden(plan.load, phase)
    probes = [probe(name) for name in phase.probes] or list(covering(phase.metrics))
    usable = [one for one in probes if one.needs == "anything" or (one.needs == "models" and len(plan.models) > 1)]
    weight = sum(one.weight for one in usable)
    found = {
        one.name: phase.duration_s * one.weight / weight * _a_second(one.name, asked, answer_s)
        for one in usable
        if one.drives
    }
    if "checkpoint" in found:  # which sends what it has to, however long that takes
        from perfsuite.suites.checkpoint.scenarios import about

        found["checkpoint"] = float(about(plan.seed, plan.profile)[0])
    if plan.tokenizer is not None and any(one.needs == "counter" for one in probes):
        found["counting"] = float(counting.PROMPTS)
    return found


def _a_second(name: str, asked: Load, answer_s: float) -> float:
    if asked.due_rate is not None:
        climbing = CLIMBING.get(asked.arrivals, 1.0) if asked.rate is not None else 1.0
        return climbing * asked.due_rate
    if name == "capacity":
        return fmean(capacity.steps(asked.concurrency or capacity.HIGHEST)) / max(answer_s, LEAST_S)
    return (asked.concurrency or IN_FLIGHT.get(name, 1)) / (max(answer_s, LEAST_S) + asked.think)
