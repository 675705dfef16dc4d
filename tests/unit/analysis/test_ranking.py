"""What comes first is what is worst."""

from __future__ import annotations

import math

import pytest

import results_made
from perfsuite.analysis.ranking import margin, ordered, totals, worst
from perfsuite.result import MetricResult, PhaseResult


def metric(
    value: float | None, target: float | None, comparison: str, unit: str = "ms", **fields: object
) -> MetricResult:
    given = {"name": "m", "unit": unit, "kind": "gauge", "value": value, "target": target, "comparison": comparison}
    return MetricResult(**{**given, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (metric(50.0, 100.0, "<"), 0.5),
        (metric(150.0, 100.0, "<="), -0.5),
        (metric(150.0, 100.0, ">"), 0.5),
        (metric(0.98, 0.99, ">=", "ratio"), -1.0),
        (metric(1.0, 0.99, ">=", "ratio"), 1.0),
        (metric(1.0, 1.0, ">=", "ratio"), 0.0),
        (metric(0.9, 1.0, ">=", "ratio"), -math.inf),
        (metric(0.005, 0.01, "<", "ratio"), 0.5),
        (metric(3.0, 100.0, "<", censored=True), -math.inf),
        (metric(None, 100.0, "<"), None),
        (metric(3.0, None, "<"), None),
        (metric(1.0, 0.0, "<="), -math.inf),
    ],
)
def test_margins(one: MetricResult, expected: float | None) -> None:
    assert margin(one) == (None if expected is None else pytest.approx(expected))


def test_worst_first() -> None:
    placed = ordered(results_made.full().phases)
    assert [p.metric.verdict for p in placed] == ["failed", "undecided", "not measured", "passed", "passed"]
    assert [p.metric.name for p in placed][-2:] == ["response_time", "memory_growth"]
    assert [p.metric.name for p in worst(results_made.full().phases, 2)] == ["ttft", "response_time"]
    assert worst([]) == []


def phase_of(*verdicts: tuple[str, float], critical: bool = True) -> PhaseResult:
    """Metrics by verdict and value, each of which is to be less than 100."""
    metrics = [
        metric(value, 100.0, "<", name=f"{verdict} {value:g}", verdict=verdict, critical=critical)
        for verdict, value in verdicts
    ]
    return PhaseResult(name="p", verdict="passed", metrics=metrics)


def names(phase: PhaseResult) -> list[str]:
    return [placed.metric.name for placed in worst([phase])]


def test_what_makes_the_verdict_is_among_the_worst() -> None:
    near = [("passed", 99.0 - i) for i in range(5)]
    phase = phase_of(*near, ("undecided", 1.0))
    assert names(phase) == ["passed 99", "passed 98", "passed 97", "passed 96", "undecided 1"]
    assert names(phase_of(*near, ("undecided", 1.0), critical=False))[-1] == "passed 95"


def test_what_failed_makes_it_before_what_is_undecided() -> None:
    near = [("passed", 99.0 - i) for i in range(5)]
    phase = phase_of(*near, ("undecided", 1.0), ("failed", 2.0))
    assert names(phase)[-1] == "failed 2"
    assert "undecided 1" not in names(phase)
    many = phase_of(*[("failed", 200.0 + i) for i in range(7)], ("passed", 99.0))
    assert names(many) == [f"failed {200 + i}" for i in (6, 5, 4, 3, 2)]


def test_totals_add_the_phases_up() -> None:
    delivered = {"rate": 9.9, "requests": 5, "failed": 1}
    one = PhaseResult(name="a", verdict="passed", requested={"rate": 10.0}, delivered=delivered)
    two = PhaseResult(name="b", verdict="passed", requested={"rate": None}, delivered={"requests": 7, "failed": 0})
    assert totals([one, two]) == (12, 0, 0, 1, 9.9, 10.0)
    assert totals([one, one]) == (10, 0, 0, 2, None, None)
    assert totals([]) == (0, 0, 0, 0, None, None)


def test_a_ramp_is_held_against_what_fell_due_of_it() -> None:
    delivered = {"rate": 9.9, "due_rate": 10.0, "requests": 50, "warmup": 6, "warmup_failed": 2, "failed": 0}
    ramp = PhaseResult(name="a", verdict="passed", requested={"rate": 20.0}, delivered=delivered)
    assert totals([ramp]) == (50, 6, 2, 0, 9.9, 10.0)
