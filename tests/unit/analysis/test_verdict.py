"""Verdicts follow the interval, never the value alone, and what was not measured never passes."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perfsuite.analysis.verdict import (
    exit_code,
    judge,
    phase_verdict,
    run_verdict,
    settle,
    tally,
)
from perfsuite.metric import Comparison
from perfsuite.plan import Criterion, Plan
from perfsuite.result import MetricResult, PhaseResult, PhaseVerdict, Verdict

COMPARISONS: tuple[Comparison, ...] = ("<", "<=", ">", ">=")
NUMBERS = st.floats(-1e6, 1e6)


def measured(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    name: str = "response_time",
    **fields: object,
) -> MetricResult:
    interval = None if value is None else (value if low is None else low, value if high is None else high)
    given = {"name": name, "unit": "ms", "kind": "histogram", "stat": "p95", "value": value, "interval": interval}
    return MetricResult(**{**given, **fields})  # type: ignore[arg-type]


def criterion(target: float = 100.0, comparison: Comparison = "<", **fields: object) -> Criterion:
    given = {"metric": "response_time", "stat": "p95", "comparison": comparison, "target": target}
    return Criterion(**{**given, **fields})  # type: ignore[arg-type]


def verdict_of(value: float | None, low: float, high: float, target: float, comparison: Comparison) -> Verdict:
    return judge(measured(value, low, high), criterion(target, comparison)).verdict


@pytest.mark.parametrize(
    ("comparison", "low", "high", "verdict"),
    [
        ("<", 80, 99, "passed"),
        ("<", 80, 100, "undecided"),
        ("<", 100, 120, "failed"),
        ("<", 99, 120, "undecided"),
        ("<=", 80, 100, "passed"),
        ("<=", 80, 101, "undecided"),
        ("<=", 101, 120, "failed"),
        ("<=", 100, 120, "undecided"),
        (">", 101, 120, "passed"),
        (">", 100, 120, "undecided"),
        (">", 80, 100, "failed"),
        (">", 80, 101, "undecided"),
        (">=", 100, 120, "passed"),
        (">=", 99, 120, "undecided"),
        (">=", 80, 99, "failed"),
        (">=", 80, 100, "undecided"),
    ],
)
def test_the_whole_interval_decides(comparison: Comparison, low: float, high: float, verdict: Verdict) -> None:
    assert verdict_of((low + high) / 2, low, high, 100.0, comparison) == verdict


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("interval", [None, (None, None), (-math.inf, math.inf)])
def test_without_an_interval_nothing_is_decided(comparison: Comparison, interval: object) -> None:
    assert judge(measured(50.0, interval=interval), criterion(100.0, comparison)).verdict == "undecided"


def test_not_measured_is_never_a_pass() -> None:
    judged = judge(measured(None, reason="no cache to see"), criterion())
    assert (judged.verdict, judged.reason, judged.target) == ("not measured", "no cache to see", 100.0)


def test_a_quantile_among_the_failures_fails_whatever_the_target() -> None:
    censored = measured(5.0, math.inf, math.inf, censored=True)
    assert judge(censored, criterion(1e9)).verdict == "failed"
    assert judge(measured(5.0, 4.0, math.inf, censored=True), criterion(1e9)).verdict == "undecided"


def test_without_a_criterion_a_metric_is_informative() -> None:
    assert judge(measured(5.0), None).verdict == "informative"


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(COMPARISONS))
def test_a_better_interval_never_has_a_worse_verdict(
    low: float, width: float, target: float, shift: float, comparison: Comparison
) -> None:
    """Moving the interval to the better side, or the target to the laxer one, never takes a verdict down."""
    rank: list[Verdict] = ["failed", "undecided", "passed"]
    shift, high = abs(shift), low + abs(width)
    better = -shift if comparison in ("<", "<=") else shift
    before = rank.index(verdict_of(low, low, high, target, comparison))
    assert rank.index(verdict_of(low, low + better, high + better, target, comparison)) >= before
    assert rank.index(verdict_of(low, low, high, target - better, comparison)) >= before


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(COMPARISONS))
def test_a_narrower_interval_never_reverses_a_verdict(
    low: float, high: float, target: float, comparison: Comparison
) -> None:
    assume(low < high)
    middle = (low + high) / 2
    wide = verdict_of(middle, low, high, target, comparison)
    assert wide in ("undecided", verdict_of(middle, middle, middle, target, comparison))


@pytest.mark.parametrize(
    ("value", "low", "high", "needed"),
    [
        # The bound has to come from 40 above to 20 above: half the width, four times the length.
        (80.0, 40.0, 120.0, "run 20 s or more"),
        (120.0, 80.0, 160.0, "run 20 s or more"),
        (99.0, 90.0, 150.0, "run 4 h or more"),
        (100.0, 90.0, 110.0, "at its target"),
        (99.9999, 90.0, 110.0, "too close"),
        (math.nextafter(100.0, 0.0), -1e300, 1e300, "too few samples for any bound"),
    ],
)
def test_undecided_says_how_long_a_run_would_decide(value: float, low: float, high: float, needed: str) -> None:
    judged = judge(measured(value, low, high, stat="mean", samples=50), criterion(stat="mean"), duration_s=5.0)
    assert judged.verdict == "undecided"
    assert needed in judged.reason


def test_without_a_duration_the_reason_is_relative() -> None:
    assert (
        judge(measured(80.0, 40.0, 120.0, stat="mean"), criterion(stat="mean")).reason == "run 4 times as long or more"
    )


def test_where_a_limit_ended_the_run_a_longer_one_would_not_help() -> None:
    open_one = measured(95.0, 90.0, 101.0)
    assert "times as long" in judge(open_one, criterion()).reason
    assert judge(open_one, criterion(), limited=True).reason == "raise the limit of the run 1.5 times or more"
    hopeless = measured(100.0, 90.0, 101.0)
    assert judge(hopeless, criterion(), limited=True).reason == judge(hopeless, criterion()).reason


def test_no_failure_of_50_still_allows_5_8_per_cent() -> None:
    """299 requests without a failure show less than 1 %; 298 do not."""
    errors = {"name": "error_rate", "unit": "ratio", "kind": "ratio", "stat": "value"}
    wanted = criterion(0.01, "<", metric="error_rate", stat="value")
    fifty = judge(measured(0.0, 0.0, 0.0582, samples=50, **errors), wanted, duration_s=10.0)  # type: ignore[arg-type]
    assert (fifty.verdict, fifty.reason) == ("undecided", "run 60 s or more")
    for n, verdict in ((299, "passed"), (298, "undecided")):
        bound = 1 - 0.05 ** (1 / n)
        assert judge(measured(0.0, 0.0, bound, samples=n, **errors), wanted).verdict == verdict  # type: ignore[arg-type]


def test_a_p99_without_an_upper_bound_needs_299_samples() -> None:
    few = measured(50.0, 40.0, math.inf, stat="p99", samples=100, n_effective=50.0)
    judged = judge(few, criterion(stat="p99"), duration_s=10.0)
    assert (judged.verdict, judged.reason) == ("undecided", "run 60 s or more")


@pytest.mark.parametrize(
    ("failed", "said"),
    [(0, "run 10 s or more"), (19, "run 20 s or more"), (60, "60 of 1,000 requests failed: too many")],
)
def test_a_bound_among_the_failures_needs_the_quantile_clear_of_them(failed: int, said: str) -> None:
    few = measured(50.0, 40.0, math.inf, samples=1000, n_effective=100.0, details={"failed": failed})
    assert judge(few, criterion(), duration_s=10.0).reason.startswith(said)


def test_no_sample_shows_100_per_cent() -> None:
    all_good = measured(1.0, 0.99, 1.0, name="budget_compliance", unit="ratio", kind="ratio", stat="value", samples=412)
    judged = judge(all_good, criterion(1.0, ">=", metric="budget_compliance", stat="value"))
    assert judged.verdict == "undecided"
    assert "no sample can show 100 %" in judged.reason


def phase(verdict: PhaseVerdict, *metrics: MetricResult, unhandled: tuple[str, ...] = ()) -> PhaseResult:
    return PhaseResult(name="p", verdict=verdict, metrics=list(metrics), unhandled=list(unhandled))


def critical(verdict: Verdict, **fields: object) -> MetricResult:
    value = None if verdict == "not measured" else 1.0
    given = {"target": 2.0, "comparison": "<", "critical": True, "verdict": verdict, **fields}
    return measured(value, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["passed", "passed"], "passed"),
        (["passed", "undecided", "not measured"], "passed"),
        (["passed", "failed"], "failed"),
        (["failed", "not measured"], "failed"),
        (["undecided", "not measured"], "undecided"),
        (["not measured", "not measured"], "not measured"),
        ([], "not measured"),
    ],
)
def test_a_phase_is_as_good_as_its_critical_metrics(verdicts: list[Verdict], expected: PhaseVerdict) -> None:
    assert phase_verdict([critical(v) for v in verdicts])[0] == expected


def test_a_metric_that_is_not_critical_fails_no_phase() -> None:
    assert phase_verdict([critical("passed"), critical("failed", critical=False)])[0] == "passed"
    assert phase_verdict([critical("passed"), critical("failed", critical=False, required=True)])[0] == "failed"


def test_memory_that_is_not_stable_fails_every_phase() -> None:
    growth = critical("failed", name="memory_growth", critical=False)
    assert phase_verdict([critical("passed"), growth]) == ("failed", "memory is not stable")
    assert phase_verdict([critical("passed"), critical("passed", name="memory_growth")])[0] == "passed"


def test_stable_memory_alone_passes_no_phase_that_is_about_something_else() -> None:
    stable = critical("passed", name="memory_growth")
    assert phase_verdict([critical("not measured", reason="no time"), stable]) == (
        "not measured",
        "nothing critical could be measured: no time",
    )
    assert phase_verdict([critical("undecided"), stable])[0] == "undecided"
    assert phase_verdict([critical("not measured"), critical("passed"), stable])[0] == "passed"
    assert phase_verdict([stable])[0] == "passed"


def test_an_unhandled_error_fails_the_phase() -> None:
    verdict, reason = phase_verdict([critical("passed")], ["KeyError: 'x'"])
    assert (verdict, reason) == ("failed", "unhandled error: KeyError: 'x'")


@pytest.mark.parametrize("verdict", ["undecided", "not measured"])
def test_strict_and_required_and_named_make_it_fail(verdict: Verdict) -> None:
    metrics = [critical("passed"), critical(verdict, name="ttft")]
    assert phase_verdict(metrics)[0] == "passed"
    assert phase_verdict(metrics, strict=True)[0] == "failed"
    assert phase_verdict(metrics, named=["ttft"])[0] == "failed"
    assert phase_verdict(metrics, named=["itl"])[0] == "passed"
    assert phase_verdict([critical("passed"), critical(verdict, required=True)])[0] == "failed"


def test_an_interrupted_phase_says_so() -> None:
    assert phase_verdict([critical("failed")], interrupted=True)[0] == "interrupted"


def test_a_phase_without_criteria_passes_when_something_was_measured() -> None:
    assert phase_verdict([measured(5.0)])[0] == "passed"
    assert phase_verdict([measured(None, verdict="not measured")])[0] == "not measured"


def test_a_mean_does_not_pass_while_error_rate_fails() -> None:
    mean, quantile = critical("passed", stat="mean"), critical("passed")
    errors = {"name": "error_rate", "unit": "ratio", "kind": "ratio", "stat": "value"}
    failing = measured(0.5, 0.4, 0.6, **errors)  # type: ignore[arg-type]
    fine = measured(0.0, 0.0, 0.005, **errors)  # type: ignore[arg-type]
    settled = settle([mean, quantile, failing])
    assert [m.verdict for m in settled] == ["failed", "passed", "informative"]
    assert "error_rate is 50 %" in settled[0].reason
    assert [m.verdict for m in settle([mean, quantile, fine])] == ["passed", "passed", "informative"]
    judged = judge(failing, criterion(0.7, "<", metric="error_rate", stat="value"))
    assert settle([mean, judged])[0].verdict == "passed", "a criterion of the user's own is the one that counts"


def test_a_mean_goes_by_the_failures_of_its_own_calls() -> None:
    share = {"unit": "ratio", "kind": "ratio", "stat": "value"}
    requests = measured(1.0, 0.9, 1.0, name="error_rate", **share)
    statements = measured(1.0, 0.9, 1.0, name="database_errors", **share)
    sound = measured(0.0, 0.0, 0.005, name="database_errors", **share)
    asked = critical("passed", stat="mean", name="query_time")
    answered = critical("passed", stat="mean", name="simple_response_time")
    free = critical("passed", stat="mean", name="truncation_time")  # nothing fails that it is the rest of
    assert [m.verdict for m in settle([asked, answered, free, requests, sound])[:3]] == ["passed", "failed", "passed"]
    settled = settle([asked, answered, free, statements])
    assert [m.verdict for m in settled[:3]] == ["failed", "passed", "passed"]
    assert settled[0].reason == "a mean is of answers only, and database_errors is 100 %"


PLAN = Plan()
STRICT = Plan(strict=True)


@pytest.mark.parametrize(
    ("phases", "plan", "verdict", "code"),
    [
        ([phase("passed", critical("passed"))], PLAN, "passed", 0),
        ([phase("passed", critical("passed"), critical("undecided"))], PLAN, "undecided", 0),
        ([phase("undecided", critical("undecided"))], PLAN, "undecided", 0),
        ([phase("passed", critical("passed")), phase("failed", critical("failed"))], PLAN, "failed", 3),
        ([phase("passed", critical("passed")), phase("not measured", critical("not measured"))], PLAN, "passed", 0),
        ([phase("not measured", critical("not measured"))], PLAN, "not measured", 3),
        ([], PLAN, "not measured", 3),
        ([phase("failed", critical("undecided"))], STRICT, "failed", 5),
        ([phase("failed", critical("undecided"), critical("failed"))], STRICT, "failed", 3),
        ([phase("failed", critical("passed"), critical("not measured"))], STRICT, "failed", 3),
        ([phase("failed", critical("undecided", required=True))], PLAN, "failed", 3),
        ([phase("failed", critical("passed"), unhandled=("boom",))], PLAN, "failed", 3),
    ],
)
def test_the_run_has_a_verdict_and_an_exit_code(
    phases: list[PhaseResult], plan: Plan, verdict: PhaseVerdict, code: int
) -> None:
    assert run_verdict(phases, plan) == verdict
    assert exit_code(phases, plan) == code


def test_an_interruption_and_an_error_come_first() -> None:
    failed = [phase("failed", critical("failed"))]
    assert exit_code(failed, PLAN, interrupted=True, error="boom") == 130
    assert exit_code(failed, PLAN, error="boom") == 1
    assert run_verdict(failed, PLAN, interrupted=True) == "interrupted"
    assert run_verdict([*failed, phase("interrupted")], PLAN) == "interrupted"


def test_the_tally_reads_as_documented() -> None:
    metrics = [critical("passed")] * 4 + [critical("undecided")] * 2 + [critical("not measured")] * 18
    assert str(tally([*metrics, measured(1.0)])) == "passed 4 of 6, 2 undecided, 18 not measurable here"
    assert str(tally([critical("passed")])) == "passed 1 of 1"
