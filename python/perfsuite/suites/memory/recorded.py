"""A comparison as a result, for the history: a phase for each system on each size or set.

Latencies that are void are not measured, and so is quality that rests on a stand-in model: a later run would be held
against figures that say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from perfsuite.analysis.comparable import RUNS
from perfsuite.analysis.retrieval import MEASURES
from perfsuite.metric import Kind
from perfsuite.result import MetricResult, PhaseResult, PhaseVerdict, Result, Run, Stats
from perfsuite.suites.memory.comparison_result import Comparison, Group, SystemResult, Timing


def as_result(comparison: Comparison, exit_code: int) -> Result:
    """What a history can keep of it."""
    pairs = [(one, group) for one in comparison.systems for group in one.groups]
    phases = [_phase(comparison, one, group) for one, group in pairs]
    verdict: PhaseVerdict = "interrupted" if comparison.interrupted else "failed" if exit_code else "passed"
    described = [
        {"name": phase.name, "data": group.digest, "questions": group.questions, "memories": group.memories}
        for phase, (_, group) in zip(phases, pairs, strict=True)
    ]
    run = Run(
        id=comparison.id,
        started=comparison.started,
        ended=comparison.ended,
        target="compare",
        seed=int(comparison.settings.get("seed", 0)),
        plan={**comparison.settings, "model": comparison.model, "phases": described},
        simulated=[comparison.model] if comparison.heading else [],
        exit_code=exit_code,
        verdict=verdict,
    )
    return Result(run=run, environment=comparison.environment, phases=phases)


def _phase(comparison: Comparison, one: SystemResult, group: Group) -> PhaseResult:
    return PhaseResult(
        name=f"compare {one.name}, {group.name}",
        verdict="failed" if one.status == "failed" else "passed",
        reason=one.reason,
        metrics=[
            _latency("store_latency", group.store),
            _latency("recall_latency", group.recall),
            *_quality(one, group),
            MetricResult(name="disk", unit="bytes", kind="gauge", value=float(group.disk_bytes), samples=1),
        ],
    )


def _latency(name: str, timing: Timing) -> MetricResult:
    if timing.void or timing.p50 is None:
        return MetricResult(
            name=name, unit="ms", kind="histogram", verdict="not measured", reason=timing.void or "most calls failed"
        )
    stats = Stats(mean=timing.mean, p50=timing.p50, p95=timing.p95, p99=timing.p99)
    return MetricResult(
        name=name,
        unit="ms",
        kind="histogram",
        value=timing.p50,
        stat="p50",
        comparison="<",
        samples=timing.samples,
        stats=stats,
        details={RUNS: {"p50": timing.rounds}},
    )


def _quality(one: SystemResult, group: Group) -> Iterator[MetricResult]:
    for name, measure in MEASURES.items():
        figure = group.quality.get("all", {}).get(name)
        if not measure.kept or figure is None or figure.value is None:
            continue
        kind: Kind = "ratio" if measure.share else "gauge"
        if one.rests_on_stand_in:
            yield MetricResult(
                name=name,
                unit=measure.unit,
                kind=kind,
                verdict="not measured",
                reason="a stand-in answered for the model",
            )
            continue
        bounds = None if figure.low is None or figure.high is None else (figure.low, figure.high)
        yield MetricResult(
            name=name,
            unit=measure.unit,
            kind=kind,
            value=figure.value,
            comparison=">" if measure.better == "higher" else "<",
            samples=figure.n,
            interval=bounds,
            definition=measure.meaning,
        )
