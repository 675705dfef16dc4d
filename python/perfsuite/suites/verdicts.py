"""A phase's metrics, each held against its criteria."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from perfsuite.analysis.summary import summarise
from perfsuite.analysis.verdict import judge, settle
from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured
from perfsuite.metric import metric
from perfsuite.plan import Criterion, Phase, Plan
from perfsuite.result import MetricResult

Widened = Callable[[MetricResult], MetricResult]

HELD = "concurrent_requests"
"""Judged last: it counts only while every other criterion of the phase held."""


def judged_metrics(
    plan: Plan, phase: Phase, evidence: Mapping[str, Evidence], widened: Widened, *, limited: bool
) -> list[MetricResult]:
    """Every metric that the phase or the plan asks for, and what else there is evidence of.

    ``widened`` adds what is known of the client's own error.  ``limited``: a budget ended the load, so that to run
    longer would not decide what is open.
    """

    def judged(name: str, evidence: Evidence | None, criteria: Sequence[Criterion]) -> list[MetricResult]:
        return _judged(name, evidence, criteria, widened, phase.duration_s, limited=limited)

    wanted = plan.metrics or tuple(dict.fromkeys((*phase.metrics, *evidence)))
    found: list[MetricResult] = []
    for name in wanted:
        criteria = [one for one in phase.criteria if one.metric == name]
        asked = name in phase.metrics or name in plan.metrics or bool(criteria)
        if not asked and (name not in evidence or _left_out(name, evidence[name])):
            continue
        if name != HELD:
            found += judged(name, evidence.get(name), criteria)
    found = settle(found)
    if HELD in wanted and (HELD in evidence or HELD in phase.metrics):
        criteria = [one for one in phase.criteria if one.metric == HELD]
        found = judged(HELD, _held(evidence.get(HELD), found), criteria) + found
    return found


def _judged(
    name: str,
    evidence: Evidence | None,
    criteria: Sequence[Criterion],
    widened: Widened,
    length_s: float,
    *,
    limited: bool,
) -> list[MetricResult]:
    """The metric held against each of its criteria; once, informative, when it has none."""
    spec = metric(name)
    evidence = evidence or NotMeasured("no probe of this phase shows it")
    stats: list[str | None] = [one.stat for one in criteria] or [None]
    found = [widened(summarise(spec, evidence, stat)) for stat in stats]
    if not criteria:
        return found
    length = None if limited else length_s  # to run longer would not help
    void = isinstance(evidence, NotMeasured) and evidence.void
    return [judge(one, by, length, limited=limited, void=void) for one, by in zip(found, criteria, strict=True)]


def _left_out(name: str, evidence: Evidence) -> bool:
    return metric(name).incidental and isinstance(evidence, NotMeasured)


def _held(evidence: Evidence | None, others: list[MetricResult]) -> Evidence | None:
    """concurrent_requests counts only while every other criterion of the phase held."""
    failed = [one.name for one in others if one.critical and one.verdict == "failed"]
    if not isinstance(evidence, Exact | Estimate) or not failed:
        return evidence
    details = {**evidence.details, "in_flight": evidence.value, "criteria_failed": failed}
    return Exact(value=0.0, samples=evidence.samples, series=evidence.series, details=details)
