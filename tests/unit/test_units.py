"""Quantities as people write them."""

from __future__ import annotations

import math

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
@given(st.floats(min_value=1e-8, max_value=1e6))
def test_a_formatted_duration_reads_back(seconds: float) -> None:
    text = units.format_duration(seconds)
    # Four digits below a minute, whole seconds to an hour, whole minutes above.
    slack = 60 if seconds >= 3600 else 1 if seconds >= 59 else seconds * 1e-3
    assert units.parse_duration(text) == pytest.approx(seconds, abs=slack)


@settings(deadline=None)
@given(st.floats(min_value=1, max_value=1e15))
def test_a_formatted_size_reads_back(size: float) -> None:
    assert units.parse_size(units.format_size(size)) == pytest.approx(size, rel=1e-3)


@settings(deadline=None)
@given(st.text(max_size=30), st.sampled_from(UNITS))
def test_any_text_is_a_quantity_or_a_usage_error(text: str, unit: str) -> None:
    try:
        value = units.parse_quantity(text, unit)
    except UsageError:
        return
    assert math.isfinite(value)
    assert value >= 0


def test_formats() -> None:
    shown = [
        units.format_duration(s) for s in (0, 5e-8, 2e-5, 0.25, 0.99999, 5, 59.9, 90, 3600, 5400, 7200.4, math.inf)
    ]
    assert shown == [
        "0 s",
        "50 ns",
        "20 µs",
        "250 ms",
        "1 s",
        "5 s",
        "59.9 s",
        "1 min 30 s",
        "1 h",
        "1 h 30 min",
        "2 h",
        "∞",
    ]
    assert units.format_quantity(14 * 2**30, "bytes") == "14 GiB"
    assert [units.format_size(n) for n in (0, 10**8, 2**20, 10**8 + 1)] == ["0 B", "100 MB", "1 MiB", "95.37 MiB"]
    assert units.format_quantity(0.999, "ratio") == "99.9 %"
    assert units.format_quantity(500, "ms") == "500 ms"
    assert units.format_quantity(10, "count") == "10"
    assert units.format_quantity(math.nan, "count") == "nan"
