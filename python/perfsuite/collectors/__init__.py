"""What is sampled beside a phase: processes and the host.

A collector is a file here and a line in ``collectors_for``; its series are named by unit: ``…_bytes``, ``…_percent``.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from perfsuite.collectors.base import Collector, Sampler
from perfsuite.collectors.host import HostCollector
from perfsuite.collectors.processes import ProcessCollector

if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.targets.base import Target

UNITS = {"bytes": "bytes", "percent": "%"}

__all__ = ["Collector", "HostCollector", "ProcessCollector", "Sampler", "collectors_for", "process_of", "unit_of"]


def process_of(plan: Plan, target: Target, own: Set[int] = frozenset()) -> ProcessCollector | None:
    """The processes of the system under test: ``--pid``, or those that the target knows; None when none is known.
    ``own`` are the suite's, to be left out."""
    pids: Sequence[int] = [plan.pid] if plan.pid is not None else list(target.process_ids)
    return ProcessCollector(pids, own) if pids else None


def collectors_for(process: ProcessCollector | None) -> list[Collector]:
    """All that a phase samples."""
    return [HostCollector(), *([process] if process is not None else [])]


def unit_of(series: str) -> str:
    """The unit of a collector's series, by the end of its name."""
    return UNITS.get(series.rpartition("_")[2], "count")
