"""Advice rests on a figure, or is not given."""

from __future__ import annotations

import pytest

import results_made
from perfsuite.analysis.advice import ISSUES, advise
from perfsuite.metric import catalogue
from perfsuite.result import ErrorCount, MetricResult, PhaseResult, Resource, Stats


def phase(*metrics: MetricResult, **fields: object) -> PhaseResult:
    given = {"name": "load", "verdict": "failed", "metrics": list(metrics)}
    return PhaseResult(**{**given, **fields})  # type: ignore[arg-type]


def metric(name: str, **fields: object) -> MetricResult:
    given = {"name": name, "unit": "ms", "kind": "gauge", "value": 700.0, "target": 500.0, "comparison": "<"}
    return MetricResult(**{**given, "verdict": "failed", **fields})  # type: ignore[arg-type]


def issues(*phases: PhaseResult) -> list[str]:
    return [one.text.partition(":")[0] for one in advise(phases)]


@pytest.mark.parametrize(
    ("name", "issue"),
    [
        ("memory_usage", "Memory spikes"),
        ("memory_growth", "Memory spikes"),
        ("model_switch_time", "Slow model switching"),
        ("resource_reallocation", "Slow model switching"),
        ("context_preservation", "Context loss"),
        ("context_accuracy", "Context loss"),
        ("compression_ratio", "Compression"),
        ("recovery_accuracy", "Compression"),
        ("token_counting_accuracy", "Token management"),
        ("cache_hit_rate", "Cache"),
        ("response_time", "Slow responses"),
        ("leak_slope", "Memory leak"),
        ("conversation_memory", "High memory of conversations"),
        ("scale_memory_enterprise", "High memory of conversations"),
        ("growth_10000", "High memory of conversations"),
        ("trim_efficiency", "High memory of conversations"),
        ("untrimmed_time", "Trimming takes much of the time"),
        ("llm_invocation", "Slow model"),
        ("tool_execution", "Slow tools"),
        ("tool_execution_parallel", "Slow tools"),
        ("context_injection", "Slow context"),
        ("content_sanitization", "Slow handling of messages"),
        ("scale_cpu_small", "Slow handling of messages"),
        ("stress_failures", "Not sound under stress"),
    ],
)
def test_a_failed_metric_points_to_its_issue_and_a_passed_one_to_none(name: str, issue: str) -> None:
    (found,) = advise([phase(metric(name))])
    assert found.text.startswith(f"{issue}: {name} is 700 ms (wanted < 500 ms) in load.")
    assert found.because == [f"load.{name}"]
    for verdict in ("passed", "undecided", "informative"):
        assert issues(phase(metric(name, verdict=verdict))) == []
    assert issues(phase(metric(name, verdict="not measured", value=None))) == []


def test_a_leak_that_was_traced_is_told_with_its_line() -> None:
    leak = metric("leak_slope", details={"lines": ["shop.py:7 holds 9,000 bytes more in 9 objects", "another"]})
    (found,) = advise([phase(leak)])
    assert "shop.py:7 holds 9,000 bytes" in found.text
    passed = metric("leak_slope", verdict="passed", details={"lines": ["shop.py:7 holds 10 bytes more in 1 objects"]})
    assert issues(phase(passed)) == []


@pytest.mark.parametrize(
    ("kind", "issue"),
    [
        ("timeout", "Time-outs"),
        ("http_429", "Rate limiting"),
        ("http_5xx", "Errors of the system under test"),
        ("target", "Errors of the system under test"),
        ("connect", "Unreachable"),
    ],
)
def test_failed_requests_point_to_their_issue(kind: str, issue: str) -> None:
    (found,) = advise([phase(errors=[ErrorCount(kind=kind, count=1200)])])
    assert found.text.startswith(f"{issue}: 1,200 failed requests of kind {kind} in load.")
    assert found.because == ["load.error_rate"]
    assert issues(phase(errors=[ErrorCount(kind=kind, count=0)])) == []
    assert issues(phase(errors=[ErrorCount(kind="cancelled", count=3)])) == []


@pytest.mark.parametrize(("level", "advised"), [(0.97, True), (0.5, False)])
def test_a_busy_machine_is_a_conflict_for_resources(level: float, advised: bool) -> None:
    busy = Resource(unit="%", series=[(float(t), level * 100) for t in range(10)])
    found = issues(phase(metric("itl"), resources={"host.cpu_percent": busy}))
    assert found == (["Conflicts for resources"] if advised else [])
    assert issues(phase(resources={"process.cpu_percent": busy})) == [], "the system under test may be busy"
    kept = metric("memory_usage", unit="bytes", verdict="passed")
    advice = advise([phase(kept, metric("itl"), resources={"host.cpu_percent": busy})])
    assert [one.because for one in advice] == ([["load.itl"]] if advised else []), "a figure that the CPU shapes"


@pytest.mark.parametrize(
    ("text", "advised"),
    [
        ("400 Bad Request: request (4220 tokens) exceeds the available context size (4096 tokens)", True),
        ("400: This model's maximum context length is 8192 tokens", True),
        ("400: prompt is too long: 201000 tokens > 200000 maximum", True),
        ("401 Unauthorized: bad key", False),
        ("404 Not Found: no such context", False),
    ],
)
def test_a_prompt_that_was_refused_for_its_length(text: str, advised: bool) -> None:
    found = issues(phase(errors=[ErrorCount(kind="http_4xx", count=3, first=["else", text])]))
    assert ("Prompts too long" in found) is advised


def test_a_ramp_that_was_delivered_is_no_undelivered_rate() -> None:
    for due_rate, advised in ((10.0, False), (20.0, True), (None, True)):
        one = phase(requested={"rate": 20.0}, delivered={"rate": 9.9, "due_rate": due_rate})
        assert ("Queueing" in issues(one)) is advised


def test_slow_is_what_took_long() -> None:
    fast = metric("response_time", stat="mean", value=44.0, target=1000.0)
    assert issues(phase(fast)) == [], "it failed for the errors beside it"
    assert issues(phase(metric("response_time", value=6000.0, target=None, verdict="informative"))) == [
        "Slow responses"
    ]
    assert issues(phase(metric("response_time", value=900.0, target=None, verdict="informative"))) == []


def test_late_sends_are_the_measuring_sides_fault() -> None:
    (found,) = advise([phase(delivered={"late_sends": 60, "requests": 1000})])
    assert "60 of 1,000 requests were sent late" in found.text
    assert issues(phase(delivered={"late_sends": 10, "requests": 1000})) == []


@pytest.mark.parametrize(("served", "advised"), [(100.0, True), (1900.0, False)])
def test_queueing_is_response_time_far_above_service_time(served: float, advised: bool) -> None:
    response = metric("response_time", verdict="undecided", stats=Stats(p95=2000.0))
    service = metric("service_time", verdict="informative", stats=Stats(p95=served))
    assert issues(phase(response, service)) == (["Queueing"] if advised else [])


def test_an_undelivered_rate_is_named() -> None:
    (found,) = advise([phase(requested={"rate": 10.0}, delivered={"rate": 7.5})])
    assert "7.5 of 10 requests/s were delivered" in found.text
    assert issues(phase(requested={"rate": 10.0}, delivered={"rate": 9.9})) == []
    assert issues(phase(requested={"rate": None}, delivered={"rate": 7.5})) == []


def test_what_several_phases_show_is_one_recommendation() -> None:
    found = advise([phase(metric("memory_growth")), phase(metric("memory_growth"), name="token")])
    assert [one.because for one in found] == [["load.memory_growth", "token.memory_growth"]]


def test_no_figures_no_advice() -> None:
    assert advise([]) == []
    assert advise(results_made.empty().phases) == []


def test_the_advice_names_only_metrics_that_exist() -> None:
    assert all(issue.remedy.endswith(".") for issue in ISSUES)
    names = {name for name in catalogue() if advise([phase(metric(name))])}
    assert {"memory_usage", "memory_savings", "truncation_time", "context_recall"} <= names
    assert "token_efficiency" not in names
