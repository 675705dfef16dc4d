"""What the collectors beside a phase show: evidence for every sampled metric, and the server's own counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from perfsuite.collectors.processes import ProcessCollector
from perfsuite.collectors.server import INTERVAL_S
from perfsuite.collectors.server_page import RUNNING, WAITING
from perfsuite.evidence import Estimate, Evidence, Exact, Level, NotMeasured
from perfsuite.metric import catalogue
from perfsuite.plan import Phase
from perfsuite.targets.base import MemoryUnderTest, Target

Series = list[tuple[float, float]]


def sampled_evidence(
    process: ProcessCollector | None, target: Target, phase: Phase, series: Mapping[str, Series]
) -> dict[str, Evidence]:
    """What the samples of a phase show of its process; ``series``: values by second, by the collectors' names."""
    points = series.get("process.memory_bytes", [])
    if process is None and (isinstance(target, MemoryUnderTest) or phase.of == "database"):
        return {}  # each measurement starts its own process, and footprint looks at it; a database's is its server's
    if process is None:
        reason = f"no process of {target.name} is known on this machine: name it with --pid"
        return {name: NotMeasured(reason) for name, row in catalogue().items() if row.sampled}
    return memory_evidence(points, process.memory_kind, settled_s=phase.duration_s * 0.1)


def memory_evidence(points: Series, kind: str, *, settled_s: float) -> dict[str, Evidence]:
    """Evidence for every metric that is ``sampled``; ``points``: the memory of the process, by second."""
    details = {"kind": kind}
    return {
        "memory_usage": Level(series=points, summary="max", details=details),
        "memory_growth": Level(series=points, summary="growth", settled_s=settled_s, details=details),
    }


def by_the_server(evidence: Evidence, series: Mapping[str, Series]) -> Evidence:
    """concurrent_requests beside the server's own count, where it shows one: its largest, by what it says of them."""
    counts = {
        f"server_{state}": max(value for _, value in points)
        for state in (RUNNING, WAITING)
        if (points := series.get(f"server.{state}"))
    }
    if not isinstance(evidence, Exact | Estimate) or not counts:
        return evidence
    return replace(evidence, details={**evidence.details, **counts, "server_read_every_s": INTERVAL_S})
