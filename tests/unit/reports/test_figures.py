"""Figures read well and foreign text does no harm."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite.reports.figures import figure, goal, label, number, printable, shown
from perfsuite.result import MetricResult


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (431.2, "ms", "431 ms"),
        (2134.0, "ms", "2.13 s"),
        (0.0421, "ms", "42.1 µs"),
        (999.4, "ms", "999 ms"),
        (999.6, "ms", "1 s"),
        (90_000.0, "ms", "90 s"),
        (125_000.0, "ms", "2.08 min"),
        (7.2e6, "ms", "2 h"),
        (0.0, "ms", "0 ms"),
        (14 * 2**30, "bytes", "14 GiB"),
        (1536, "bytes", "1.5 KiB"),
        (12, "bytes", "12 B"),
        (-3e6, "bytes", "-2.86 MiB"),
        (0.007, "ratio", "0.7 %"),
        (0.99974, "ratio", "100 %"),
        (9.93, "1/s", "9.93 /s"),
        (4096, "tokens", "4096 tokens"),
        (12, "count", "12"),
        (1234567, "count", "1,234,567"),
        (None, "ms", "–"),
        (math.nan, "ms", "–"),
        (math.inf, "ms", "∞ ms"),
        (1e-9, "count", "1.00e-09"),
    ],
)
def test_figures_have_their_unit(value: float | None, unit: str, text: str) -> None:
    assert figure(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"), [(100e6, "100 MB"), (14 * 2**30, "14 GiB"), (1.5e9, "1.5 GB"), (123_456_789, "117.7 MiB")]
)
def test_a_target_reads_as_it_was_written(value: float, text: str) -> None:
    assert goal(value, "bytes") == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_within_its_digits_of_the_value(value: float) -> None:
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.005, abs=0)


def metric(**fields: object) -> MetricResult:
    given = {"name": "ttft", "unit": "ms", "kind": "histogram", "stat": "p95", "value": 2100.0}
    return MetricResult(**{**given, **fields})  # type: ignore[arg-type]


def test_a_row_is_in_one_unit() -> None:
    row = shown(
        metric(interval=(900.0, 2600.0), measurement_error=30.0, target=500.0, comparison="<", verdict="failed")
    )
    assert row == ("ttft p95", "2.1 s", "[0.9–2.6]", "±0.03", "< 500 ms", "failed")


def test_a_censored_value_reads_as_more_than_the_longest_wait() -> None:
    row = shown(metric(value=60_000.0, interval=(math.inf, math.inf), censored=True))
    assert (row.value, row.interval) == ("> 60 s", "")
    row = shown(metric(value=60_000.0, interval=(900.0, None), censored=True))
    assert row.interval == "[0.9–∞]"


def test_a_point_needs_no_interval_and_nothing_no_value() -> None:
    assert shown(metric(interval=(2100.0, 2100.0))).interval == ""
    assert shown(metric(value=None, verdict="not measured", reason="why")) == (
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
