"""What a plan cannot decide is told before it runs."""

from __future__ import annotations

from pathlib import Path

from perfsuite.analysis.feasibility import undecidable
from perfsuite.metric import Comparison
from perfsuite.plan import Criterion, Load, Phase, Plan


def criterion(target: float = 100.0, comparison: Comparison = "<", **fields: object) -> Criterion:
    given = {"metric": "response_time", "stat": "p95", "comparison": comparison, "target": target}
    return Criterion(**{**given, **fields})  # type: ignore[arg-type]


def plan_of(duration_s: float, *criteria: Criterion, load: Load | None = None) -> Plan:
    one = Phase(name="load", title="", duration_s=duration_s, metrics=(), criteria=criteria)
    return Plan(phases=(one,), load=load or Load(), output=Path())


def test_plan_names_what_its_duration_cannot_decide() -> None:
    stability = criterion(0.99, ">=", metric="system_stability", stat="value")
    (found,) = undecidable(plan_of(240.0, stability))
    assert (found.phase, found.criterion, found.needed_s) == ("load", stability, 299.0)
    assert "299 windows of a second" in found.why
    assert undecidable(plan_of(299.0, stability)) == []
    slow = Load(rate=1.0)
    p99 = criterion(5000.0, stat="p99")
    assert [one.needed_s for one in undecidable(plan_of(60.0, p99, load=slow))] == [299.0]
    assert undecidable(plan_of(60.0, p99)) == []
    assert undecidable(plan_of(60.0, criterion(5000.0, stat="mean"), load=slow)) == []
    (found,) = undecidable(plan_of(3600.0, p99, load=Load(max_requests=100)))
    assert found.needed_s is None
    assert "--max-requests allows 100" in found.why
