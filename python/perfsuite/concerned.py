"""What phases have to do with settings and metrics: which heed a setting, which measure a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perfsuite.criteria import Threshold
from perfsuite.metric import catalogue
from perfsuite.plan import Phase, SystemKind
from perfsuite.settings import HEEDED, OF_DATABASE


def heeded(phase: Phase) -> frozenset[str]:
    """The settings that a phase heeds beside those of every phase; one of a chat system may look at its database."""
    from perfsuite.suites.probes import PROBES

    databases = any(name in PROBES and PROBES[name].needs == "database" for name in phase.probes)
    ignored = [frozenset(PROBES[name].ignores) for name in phase.probes if name in PROBES]
    heeded = HEEDED[phase.of] | (OF_DATABASE if databases else frozenset())
    return heeded - frozenset.intersection(*ignored) if ignored else heeded


def all_of(phases: Sequence[Phase], kind: SystemKind) -> bool:
    """Whether there are phases, and all of systems of that kind."""
    return bool(phases) and all(phase.of == kind for phase in phases)


def showing(phases: Sequence[Phase], name: str) -> list[Phase]:
    """The phases that measure a metric: those that list it, else those one of whose probes shows it beside."""
    from perfsuite.suites.probes import covering, probe

    listed = [phase for phase in phases if name in phase.metrics]
    if listed:
        return listed
    if catalogue()[name].sampled:
        return list(phases)
    return [
        phase
        for phase in phases
        if any(name in p.provides for p in (map(probe, phase.probes) if phase.probes else covering(phase.metrics)))
    ]


def inapplicable(threshold: Threshold, phases: list[Phase], known: Mapping[str, Phase]) -> str:
    """What is wrong with a threshold that none of the ``phases`` that are run has a use for, and what to do."""
    running = ", ".join(phase.name for phase in phases)
    if threshold.phase is not None and all(phase.name != threshold.phase for phase in phases):
        return f"{threshold.where}: the phase {threshold.phase} is not in this run ({running}); name it, or drop this"
    elsewhere = [phase.name for phase in showing(list(known.values()), threshold.metric)]
    hint = f"run {' or '.join(elsewhere)}" if elsewhere else "no phase does"
    named = f"none of the phases {running} measures" if len(phases) > 1 else f"the phase {running} does not measure"
    return f"{threshold.where}: {named} {threshold.metric}; {hint}"
