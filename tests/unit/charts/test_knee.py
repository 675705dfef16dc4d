"""The chart of a search for the highest rate: its levels, its knee, and what is no search."""

from __future__ import annotations

import math

import msgspec
import pytest

from perfsuite.charts.chart import Chart
from perfsuite.charts.knee import knee
from perfsuite.result import MetricResult, PhaseResult
from results_made import LEVELS, searched


def drawn(high: float | None = 40.0, value: float = 33.6) -> list[Chart]:
    return list(knee(searched(high, value).phases[0]))


def band(chart: Chart) -> tuple[float, float | None]:
    from bokeh.models.annotations import BoxAnnotation

    (box,) = (one for one in chart.figure.center if isinstance(one, BoxAnnotation))
    return box.left, box.right if isinstance(box.right, float) else None  # type: ignore[attr-defined]


def test_each_try_is_in_the_table_and_marked_by_its_verdict() -> None:
    throughput, latency = drawn()
    assert [row[0] for row in throughput.rows] == [level["rate"] for level in LEVELS]
    assert [row[1] for row in throughput.rows] == [level["delivered"] for level in LEVELS]
    assert latency.header[1].endswith(", s")
    assert [row[1] for row in latency.rows] == [
        None if (p95 := level["p95_ms"]) is None else pytest.approx(p95 / 1000.0)  # type: ignore[operator]
        for level in LEVELS
    ]
    marks = {one.name: len(one.data_source.data["x"]) for one in throughput.figure.renderers if one.name != "delivered"}
    assert marks == {"passed": 2, "failed": 1, "undecided": 1}  # the last was not measured


def test_the_line_goes_up_in_rate_by_the_last_try_of_each_level() -> None:
    throughput, _ = drawn()
    data = throughput.sources["delivered"].data
    assert list(data["x"]) == [20.0, 28.3, 40.0]
    assert list(data["y"]) == [20.1, 28.4, 33.0]


def test_the_knee_and_its_interval_are_drawn_and_said() -> None:
    for chart in drawn():
        assert band(chart) == (28.3, 40.0)
        assert chart.notes == (
            "Dashed: the highest rate, about 33.6 requests/s. Shaded: where it surely lies, 28.3–40.",
        )


@pytest.mark.parametrize("high", [None, math.inf])
def test_a_knee_that_was_not_reached_is_open_above(high: float | None) -> None:
    chart, _ = drawn(high)
    assert band(chart) == (28.3, None)
    assert "28.3–∞" in chart.notes[0]


def test_where_nothing_passed_it_says_so() -> None:
    chart, _ = drawn(value=0.0)
    assert chart.notes == ("No level was seen to pass. Shaded: where the highest rate lies, 0–40 requests/s.",)


@pytest.mark.parametrize("levels", [None, [], ["no row"], [{"rate": "fast", "delivered": 3.0}], [{"rate": True}]])
def test_what_is_no_search_is_not_drawn(levels: object) -> None:
    found = searched().phases[0].metrics[0]
    other = msgspec.structs.replace(found, details={} if levels is None else {"levels": levels})
    assert list(knee(PhaseResult(name="load", verdict="passed", metrics=[other]))) == []
    assert list(knee(PhaseResult(name="load", verdict="passed"))) == []


def test_a_search_without_a_value_shows_its_levels_alone() -> None:
    found = MetricResult(
        name="max_rate", unit="1/s", kind="gauge", verdict="not measured", details={"levels": LEVELS[:1]}
    )
    charts = list(knee(PhaseResult(name="load", verdict="not measured", metrics=[found])))
    assert [chart.notes for chart in charts] == [(), ()]
