"""What is sampled beside a phase: processes, the host, and what a server says of itself.

A collector is a file here and a line in ``collectors_for``; its series are named by unit: ``…_bytes``, ``…_percent``.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING

from perfsuite.collectors.base import Collector, Sampler
from perfsuite.collectors.container import ContainerCollector
from perfsuite.collectors.gpu import GpuCollector
from perfsuite.collectors.host import HostCollector
from perfsuite.collectors.plugged import plugged
from perfsuite.collectors.processes import ProcessCollector
from perfsuite.collectors.server import INTERVAL_S, ServerCollector
from perfsuite.targets.base import ShowsMetrics

if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.plugins import Plugin
    from perfsuite.targets.base import Target

POINTS = 60
"""Enough for a slope and a peak; each costs the client that measures, and holds up the process that is looked at."""
OFTENEST_S = 0.25
FEWEST = 12
"""Of a phase, whatever they cost: its trend is fitted to those after the warm-up."""

UNITS = {"bytes": "bytes", "percent": "%", "tokens": "tokens", "seconds": "s"}

__all__ = [
    "Collector",
    "ContainerCollector",
    "GpuCollector",
    "HostCollector",
    "ProcessCollector",
    "Sampler",
    "ServerCollector",
    "asked_for",
    "collectors_for",
    "present",
    "process_of",
    "said_of",
    "samplers_for",
    "unit_of",
]


def process_of(plan: Plan, target: Target, own: Set[int] = frozenset()) -> ProcessCollector | None:
    """The processes of the system under test: ``--pid``, or those that the target knows; None when none is known.
    ``own`` are the suite's, to be left out."""
    pids: Sequence[int] = [plan.pid] if plan.pid is not None else list(target.process_ids)
    return ProcessCollector(pids, own) if pids else None


def collectors_for(process: ProcessCollector | None, named: Sequence[Plugin] = ()) -> list[Collector]:
    """All that a phase samples; ``named``: plug-ins that the plan names."""
    return [HostCollector(), *([process] if process is not None else []), *present(process, named)]


def present(process: ProcessCollector | None, named: Sequence[Plugin] = ()) -> list[Collector]:
    """Those of what not every machine has: the container of the process, or of this one; GPUs; what other packages
    bring, and the plug-ins that are ``named``."""
    pid = None if process is None else process.first
    own: list[Collector] = [ContainerCollector("self" if pid is None else pid), GpuCollector()]
    others = [one.collector for one in plugged(pid, named) if one.collector is not None]
    return [*(one for one in own if one.absent is None), *others]


def said_of(named: Sequence[Plugin] = ()) -> dict[str, str]:
    """What there is of them here, by name, or why they are absent."""
    own = {one.name: one.says() for one in (ContainerCollector(), GpuCollector())}
    return {**own, **{one.name: one.says() for one in plugged(None, named)}}


def asked_for(names: Sequence[str]) -> dict[str, str]:
    """What is only looked at when it is asked for (``--collect``), by name; waits for it, some seconds at most."""
    from perfsuite.collectors.cloud import CloudCollector

    kinds = {"cloud": CloudCollector}
    return {name: kinds[name]().says() for name in names}


def samplers_for(
    process: ProcessCollector | None, target: Target, duration_s: float, named: Sequence[Plugin] = ()
) -> list[Sampler]:
    """The samplers of a phase of that length: as often as it takes for POINTS samples, from OFTENEST_S to INTERVAL_S.
    What a server's page takes to come does not hold up the processes' samples."""
    interval_s = min(INTERVAL_S, max(OFTENEST_S, duration_s / POINTS))
    samplers = [Sampler(collectors_for(process, named), interval_s, longest_s=max(OFTENEST_S, duration_s / FEWEST))]
    pages = target.metrics_pages if isinstance(target, ShowsMetrics) else ()
    if pages:
        samplers.append(Sampler([ServerCollector(pages)], INTERVAL_S))
    return samplers


def unit_of(series: str) -> str:
    """The unit of a collector's series, by the end of its name; labels and a counter's ``_total`` are no part of it."""
    name = series.partition("{")[0].partition(" ")[0].removesuffix("_total")
    if name.endswith("_tokens_seconds"):  # llama.cpp's tokens a second
        return "1/s"
    return UNITS.get(name.rpartition("_")[2], "count")
