"""Figures read well and foreign text does no harm."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from perfsuite.reports.figures import label, printable, row_of, samples, stat
from perfsuite.result import MetricResult, Stats


def metric(**fields: object) -> MetricResult:
    given = {"name": "ttft", "unit": "ms", "kind": "histogram", "stat": "p95", "value": 2100.0}
    return MetricResult(**{**given, **fields})  # type: ignore[arg-type]


def test_a_row_is_in_one_unit() -> None:
    row = row_of(
        metric(interval=(900.0, 2600.0), measurement_error=30.0, target=500.0, comparison="<", verdict="failed")
    )
    assert row == ("ttft p95", "2.1 s", "[0.9–2.6]", "±0.03", "< 500 ms", "failed")


def test_a_target_says_by_how_much_it_is_beaten() -> None:
    found = metric(value=2.0, target=50.0, comparison="<", verdict="passed", details={"times_within_objective": 25.0})
    assert row_of(found).target == "< 50 ms (25 × within)"
    nothing = metric(
        value=1e-9, target=50.0, comparison="<", verdict="passed", details={"times_within_objective": 5e10}
    )
    assert row_of(nothing).target == "< 50 ms (over 1,000 × within)"
    missed = metric(value=80.0, target=50.0, comparison="<", verdict="failed", details={"times_within_objective": 0.6})
    assert row_of(missed).target == "< 50 ms"


def test_a_censored_value_reads_as_more_than_the_longest_wait() -> None:
    row = row_of(metric(value=60_000.0, interval=(math.inf, math.inf), censored=True))
    assert (row.value, row.interval) == ("> 60 s", "")
    row = row_of(metric(value=60_000.0, interval=(900.0, None), censored=True))
    assert row.interval == "[0.9–∞]"


def test_a_point_needs_no_interval_and_nothing_no_value() -> None:
    assert row_of(metric(interval=(2100.0, 2100.0))).interval == ""
    assert row_of(metric(value=None, verdict="not measured", reason="why")) == (
        "ttft p95",
        "",
        "",
        "",
        "",
        "not measured: why",
    )
    assert label(metric(stat="value")) == "ttft"


@given(st.text(max_size=600))
def test_printable_text_is_one_line_without_control_characters(text: str) -> None:
    shown_text = printable(text)
    assert shown_text.isprintable()
    assert len(shown_text) <= 500 * 10


def test_escape_sequences_and_turned_directions_are_spelled_out() -> None:
    assert printable("a\x1b[2J\nb\u202ec") == "a\\x1b[2J b\\x202ec"


def test_samples_say_what_they_are_worth_and_stats_have_their_unit() -> None:
    assert samples(metric(samples=12_000, n_effective=40.2)) == "12,000 (worth 40)"
    assert samples(metric(samples=12, n_effective=12.0)) == "12"
    assert stat(metric(stats=Stats(p50=2134.0)), "p50") == "2.13 s"
    assert stat(metric(stats=Stats()), "p50") == "–"
    assert stat(metric(), "p50") == ""


def test_a_foreign_unit_steers_no_terminal() -> None:
    assert row_of(metric(unit="\x1b[2J", interval=None)).value == "2100 \\x1b[2J"
