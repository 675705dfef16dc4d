"""Quantities as people write them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite import units
from perfsuite.errors import UsageError

UNITS = ("ms", "bytes", "ratio", "1/s", "tokens", "count")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("0.5s", 0.5),
        (".5s", 0.5),
        ("5m", 300),
        ("5 min", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1 min 30 s", 90),
        ("250ms", 0.25),
        ("100us", 1e-4),
        ("100µs", 1e-4),
        ("1e3ms", 1),
        ("1_000ms", 1),
        ("2H", 7200),
        (30, 30),
        (0.25, 0.25),
        ("7", 7),
        ("0", 0),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds, rel=1e-12)


def test_a_bare_duration_is_in_the_unit_that_the_caller_says() -> None:
    assert units.parse_duration("7200000", bare="ms") == 7200
    assert units.parse_duration("2h", bare="ms") == 7200


@pytest.mark.parametrize(
    ("text", "size"),
    [("14GiB", 14 * 2**30), ("100MB", 10**8), ("100 mb", 10**8), ("1.5KiB", 1536), (12, 12), ("12", 12), ("7B", 7)],
)
def test_sizes(text: object, size: float) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "ratio"), [("95%", 0.95), ("95 %", 0.95), (0.95, 0.95), ("1", 1), (0, 0), ("100%", 1)]
)
def test_ratios(text: object, ratio: float) -> None:
    assert units.parse_ratio(text) == pytest.approx(ratio)


@pytest.mark.parametrize(("text", "rate"), [("10", 10), ("10/s", 10), ("600/min", 10), (0.5, 0.5), ("3600/h", 1)])
def test_rates(text: object, rate: float) -> None:
    assert units.parse_rate(text) == pytest.approx(rate)


BAD = [
    "",
    " ",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "abc",
    "5 parsecs",
    "--5",
    "5..0",
    "1,5",
    "ms",
    "\0",
    "٣",
    True,
    None,
    [],
    {},
    math.nan,
    -1,
    10**400,
]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("value", BAD, ids=lambda value: repr(value)[:12])
def test_what_is_not_a_quantity_is_refused_with_the_place_the_value_and_what_to_write(unit: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        units.parse_quantity(value, unit, "perfsuite.toml: threshold.ttft")
    text = str(caught.value)
    assert text.startswith("perfsuite.toml: threshold.ttft: ")
    assert "write " in text
    assert "\n" not in text
    assert len(text) < 260


def test_a_unit_of_another_kind_is_refused() -> None:
    for unit, value in [("ms", "5GiB"), ("bytes", "5s"), ("ratio", "5ms"), ("1/s", "95%"), ("count", "5s")]:
        with pytest.raises(UsageError, match="unknown unit"):
            units.parse_quantity(value, unit)


def test_a_ratio_above_one_asks_for_a_percentage() -> None:
    with pytest.raises(UsageError, match="95%"):
        units.parse_ratio(2)
    with pytest.raises(UsageError):
        units.parse_ratio("101%")


@pytest.mark.parametrize("value", ["1.5", 1.5, "x", -1, "0", True, "1s"])
def test_counts_are_whole_and_in_range(value: object) -> None:
    with pytest.raises(UsageError):
        units.parse_count(value, least=1)


def test_counts_are_exact() -> None:
    assert units.parse_count("9007199254740993") == 9007199254740993
    assert units.parse_count("1e3") == 1000
    with pytest.raises(UsageError, match="too large"):
        units.parse_count(10**30)


def test_no_run_takes_more_than_a_year() -> None:
    with pytest.raises(UsageError, match="more than a year"):
        units.parse_duration("9000h")


@settings(deadline=None)
@given(st.floats(min_value=1e-8, max_value=3e7), st.sampled_from([units.figure, units.goal]))
def test_a_time_reads_back(seconds: float, shown: Callable[[float, str], str]) -> None:
    assert units.parse_duration(shown(seconds, "s").replace(",", "")) == pytest.approx(seconds, rel=5e-3)
    assert shown(seconds, "s") == shown(seconds * 1e3, "ms")


@settings(deadline=None)
@given(st.floats(min_value=1, max_value=1e15), st.sampled_from([units.figure, units.goal]))
def test_a_size_reads_back(size: float, shown: Callable[[float, str], str]) -> None:
    assert units.parse_size(shown(size, "bytes").replace(",", "")) == pytest.approx(size, rel=5e-3)


@settings(deadline=None)
@given(st.text(max_size=30), st.sampled_from(UNITS))
def test_any_text_is_a_quantity_or_a_usage_error(text: str, unit: str) -> None:
    try:
        value = units.parse_quantity(text, unit)
    except UsageError:
        return
    assert math.isfinite(value)
    assert value >= 0


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
        (0.99974, "ratio", "99.97 %"),
        (90.0, "s", "90 s"),
        (0.0, "s", "0 s"),
        (9.93, "1/s", "9.93/s"),
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
    assert units.figure(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (100e6, "bytes", "100 MB"),
        (14 * 2**30, "bytes", "14 GiB"),
        (1.5e9, "bytes", "1.5 GB"),
        (123_456_789, "bytes", "117.7 MiB"),
        (500, "ms", "500 ms"),
        (0.999, "ratio", "99.9 %"),
        (10, "1/s", "10/s"),
        (90, "s", "90 s"),
        (180, "s", "3 min"),
        (5400, "s", "1.5 h"),
        (6000, "s", "100 min"),
        (7200.4, "s", "2 h"),
        (math.inf, "s", "∞ s"),
    ],
)
def test_a_target_reads_as_it_was_written(value: float, unit: str, text: str) -> None:
    assert units.goal(value, unit) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_within_its_digits_of_the_value(value: float) -> None:
    assert float(units.number(value).replace(",", "")) == pytest.approx(value, rel=0.005, abs=0)
