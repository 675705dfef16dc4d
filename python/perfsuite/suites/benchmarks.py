"""Benchmarks of other packages and of plan files: phases, and the probes and metrics that they need.

One is found by an entry point in the group ``perfsuite.benchmarks``, or by a file's ``[plugins.benchmarks]``; from then
on its phases run by their names, as the built-in ones do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfsuite import metric
from perfsuite.errors import Mistakes
from perfsuite.plugins import Plugin
from perfsuite.suites.probes import PROBES, Probe

if TYPE_CHECKING:
    from perfsuite.phases import KnownPhases


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """What is added: ``phases`` as the ``[[phases]]`` tables of a plan file say them, ``metrics`` by name, each with
    ``unit``, ``kind``, ``stat``, ``comparison`` and ``definition`` (what they mean: ``perfsuite.metric.Metric``), and
    ``probes`` that give the evidence for them, each with a ``function`` (``async def measure(session)``, which returns
    what ``perfsuite.evidence`` has, by metric)."""

    phases: Sequence[Mapping[str, object]]
    metrics: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    probes: Sequence[Probe] = ()


def adopt(plugin: Plugin, known: KnownPhases, taken: dict[str, str]) -> None:
    """Adds a benchmark: its phases to ``known``, the rest to what every phase may use.

    ``taken``: who brought what, so far.  Raises BrokenPlugin, and has added nothing then.
    """
    benchmark = plugin.load()
    if not isinstance(benchmark, Benchmark):
        raise plugin.broken(f"{plugin.value} is no perfsuite.Benchmark")
    try:
        added = _checked(benchmark, known, taken)
        metric.add(benchmark.metrics)
        for one in benchmark.probes:
            PROBES[one.name] = one
        mistakes = Mistakes()
        try:
            _check_probes(benchmark)
            known.read([dict(table) for table in benchmark.phases], plugin.value, plugin.package, mistakes)
            if mistakes.texts:
                raise ValueError("; ".join(mistakes.texts))
        except Exception:
            _drop(benchmark)
            raise
    except Exception as error:
        raise plugin.broken(error) from error
    taken.update(dict.fromkeys(added, plugin.package))


def _checked(benchmark: Benchmark, known: KnownPhases, taken: Mapping[str, str]) -> list[str]:
    """Its names, each with its kind, when none is anybody else's."""
    names = {
        "phase": [str(table.get("name")) for table in benchmark.phases],
        "metric": list(benchmark.metrics),
        "probe": [one.name for one in benchmark.probes],
    }
    built_in = {"phase": known.phases.keys(), "metric": metric.built_in(), "probe": BUILT_IN}
    found = []
    for kind, of_it in names.items():
        for name in of_it:
            full = f"{kind} {name}"
            if full in taken:
                raise ValueError(f"{taken[full]} has a {full} already")
            if name in built_in[kind]:
                raise ValueError(f"there is a {full} already")
            found.append(full)
    return found


def _check_probes(benchmark: Benchmark) -> None:
    for one in benchmark.probes:
        if one.function is None and not one.module:
            raise ValueError(f"the probe {one.name} has no function that measures")
        for name in one.shows:
            metric.metric(name, f"the probe {one.name}")


def _drop(benchmark: Benchmark) -> None:
    metric.drop(benchmark.metrics)
    for one in benchmark.probes:
        PROBES.pop(one.name, None)


BUILT_IN = frozenset(PROBES)
