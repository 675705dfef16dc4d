"""The levels of a capacity phase and the law through them."""

from __future__ import annotations

from perfsuite.charts.capacity import capacity
from perfsuite.result import MetricResult, PhaseResult


def phase(**details: object) -> PhaseResult:
    found = MetricResult(name="peak_throughput", unit="1/s", kind="gauge", value=40.0, details=details)
    return PhaseResult(name="capacity", verdict="passed", metrics=[found])


LEVELS = [
    {"concurrency": float(n), "throughput": 10.0 * min(n, 4), "error": 0.0, "latencies_ms": {}} for n in (1, 4, 8)
]
CURVE = [{"concurrency": float(n), "throughput": 10.0 * n, "low": 9.0 * n, "high": 11.0 * n} for n in (1, 16)]


def test_levels_and_law_are_drawn_and_tabled() -> None:
    (chart,) = capacity(phase(levels=LEVELS, curve=CURVE))
    assert list(chart.sources) == ["measured", "the law", "… 95 % from", "… to"]
    assert list(chart.sources["measured"].data["y"]) == [10.0, 40.0, 40.0]
    assert list(chart.sources["… to"].data["y"]) == [11.0, 176.0]
    assert chart.header[0] == "requests in flight"
    assert len(chart.rows) == 4


def test_without_levels_there_is_no_chart() -> None:
    assert list(capacity(phase())) == []
    assert list(capacity(phase(levels=LEVELS[:1], curve=CURVE))) == []
    assert list(capacity(phase(levels=LEVELS))) == []
    assert list(capacity(PhaseResult(name="load", verdict="passed"))) == []
