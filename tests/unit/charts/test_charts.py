"""What the charts of a phase are drawn from, marked with and tabled as."""

from __future__ import annotations

import math

import pytest

import results_made
from perfsuite._core import Histogram
from perfsuite.analysis.slices import BANDS, MOST_SLICES, sliced
from perfsuite.charts import charts, layout
from perfsuite.charts.bars import bar_chart
from perfsuite.charts.chart import tabled
from perfsuite.charts.distribution import percentile_chart
from perfsuite.charts.heat_map import heat_map
from perfsuite.charts.lines import Line, line_chart
from perfsuite.result import ErrorCount, Event, MetricResult, PhaseResult, Resource, Slices


def test_a_long_series_is_thinned_and_keeps_its_peak() -> None:
    series = [(float(t), 5000.0 if t == 77_777 else 1.0) for t in range(100_000)]
    phase = PhaseResult(name="p", verdict="passed", resources={"x": Resource(unit="count", series=series)})
    (chart,) = charts(phase)
    (line,) = [r for r in chart.figure.renderers if hasattr(r, "glyph")]
    y = line.data_source.data["y"]
    assert len(y) <= 1000
    assert max(y) == 5000.0
    assert len(chart.rows) <= 30
    assert [77_777.0, 5000.0] in chart.rows


def test_a_notebook_gets_all_charts_in_one_layout() -> None:
    figures = [child for child in layout(results_made.full()).children if hasattr(child, "renderers")]
    assert len(figures) == 7
    assert [child.text for child in layout(results_made.empty()).children] == ["Nothing was measured."]


def test_a_store_that_grows_is_drawn_and_what_is_no_scale_is_not() -> None:
    def drawn(scales: object) -> list[str]:
        metric = MetricResult(name="m", unit="bytes", kind="gauge", details={"scales": scales})
        return [chart.title for chart in charts(PhaseResult(name="p", verdict="passed", metrics=[metric]))]

    rows = [{"memories": n, "memory_bytes": 10 * n, "disk_bytes": 5 * n} for n in (200, 100)]
    assert drawn(rows) == ["Bytes as the store grows"]
    for other in (rows[:1], "text", [1, 2], [{"memories": "x"}, {"memories": [2]}], None):
        assert drawn(other) == []


def test_a_phase_without_series_has_no_chart() -> None:
    assert (
        charts(PhaseResult(name="p", verdict="passed", metrics=[MetricResult(name="m", unit="ms", kind="gauge")])) == []
    )


def phase_with(**fields: object) -> PhaseResult:
    series = [(float(t), float(t)) for t in range(5)]
    common = {"name": "p", "verdict": "passed", "resources": {"x": Resource(unit="count", series=series)}}
    return PhaseResult(**{**common, **fields})  # type: ignore[arg-type]


def test_warm_up_failures_and_events_are_marked_where_they_were() -> None:
    windows: dict[str, list[int | float | None]] = {
        "t_s": [0.0, 1.0, 2.0], "warmup": [5, 0, 0], "due": [5, 5, 5], "failed": [0, 0, 3],
    }  # fmt: skip
    phase = phase_with(windows=windows, load_began_s=1.5, events=[Event(t_s=2.25, text="began")])
    for chart in charts(phase):
        (box,) = [r for r in chart.figure.center if type(r).__name__ == "BoxAnnotation"]
        assert (box.left, box.right) == (1.5, 2.5)
        across = [r.data_source.data for r in chart.figure.renderers if type(r.glyph).__name__ == "VSpan"]
        assert [(list(data["x"]), data["text"]) for data in across] == [([3.5], ["3 failed"]), ([2.25], ["began"])]
        assert len(chart.notes) == 3


def test_nothing_is_marked_where_nothing_happened() -> None:
    windows: dict[str, list[int | float | None]] = {"t_s": [0.0, 1.0], "warmup": [0, 0], "failed": [0, 0]}
    for chart in charts(phase_with(windows=windows)):
        assert chart.notes == ()
        assert not [r for r in chart.figure.renderers if type(r.glyph).__name__ == "VSpan"]


def test_what_the_load_gave_is_shown_at_the_phases_time() -> None:
    metric = MetricResult(name="ttft", unit="ms", kind="histogram", series=[(0.0, 5.0), (1.0, 6.0)])
    sampled = MetricResult(name="memory_usage", unit="bytes", kind="gauge", series=[(0.0, 5.0), (1.0, 6.0)])
    phase = PhaseResult(name="p", verdict="passed", metrics=[metric, sampled], load_began_s=10.0)
    times = {name: list(s.data["x"]) for chart in charts(phase) for name, s in chart.sources.items()}
    assert times == {"ttft": [10.0, 11.0], "memory_usage": [0.0, 1.0]}


def test_charts_over_time_share_their_range_and_others_do_not() -> None:
    drawn = charts(results_made.full().phases[0])
    timed = {id(chart.figure.x_range) for chart in drawn if chart.timed}
    others = [id(chart.figure.x_range) for chart in drawn if not chart.timed]
    assert len(timed) == 1
    assert len(others) == len(set(others)) >= 1
    assert not timed & set(others)


def test_a_line_chart_may_begin_empty_and_be_streamed_to() -> None:
    chart = line_chart("live", [Line("a", [], []), Line("b", [], [])], "ms")
    assert chart.rows == []
    chart.sources["a"].stream({"x": [1.0], "y": [2.0]})
    assert list(chart.sources["a"].data["y"]) == [2.0]


def test_series_that_are_the_same_are_drawn_once() -> None:
    series = [(0.0, 1.0), (1.0, 2.0)]
    metrics = [MetricResult(name=name, unit="bytes", kind="gauge", series=series) for name in ("usage", "growth")]
    (chart,) = charts(PhaseResult(name="p", verdict="passed", metrics=metrics))
    assert list(chart.sources) == ["usage"]


def test_a_table_has_the_peak_that_even_steps_would_miss() -> None:
    column = {float(t): 0.0 for t in range(1000)} | {501.0: 7.0, 502.0: math.nan}
    rows = tabled([column], most=10)
    assert len(rows) <= 10
    assert [501.0, 7.0] in rows
    assert rows[0][0] == 0.0
    assert rows[-1][0] == 999.0


def test_a_percentile_table_has_the_histograms_own_quantiles() -> None:
    histogram = Histogram(10)
    histogram.record_many([float(i) for i in range(1, 1001)])
    chart = percentile_chart("d", [("a", histogram)], "ms")
    by_level = {row[0]: row[1] for row in chart.rows}
    assert by_level["50 %"] == histogram.quantile(0.5)
    assert by_level["99.9 %"] == histogram.quantile(0.999)
    assert "99.99 %" not in by_level
    (source,) = chart.sources.values()
    assert source.data["x"][-1] <= 1000.0 * (1 + 1e-9)


def blocks_of(*rows: list[float]) -> list[Histogram]:
    made = []
    for values in rows:
        histogram = Histogram(10)
        histogram.record_many(values)
        made.append(histogram)
    return made


def test_slices_hold_every_value_once_and_are_bounded() -> None:
    blocks = blocks_of(*([float(1 + i), 500.0] for i in range(200)))
    found = sliced(blocks, [0.5 * i for i in range(200)])
    assert found is not None
    assert len(found.t_s) == len(found.counts) <= MOST_SLICES
    assert len(found.edges) - 1 == BANDS
    assert sum(map(sum, found.counts)) == 400
    assert found.width_s == 2.0
    assert found.t_s[:2] == [0.0, 2.0]


@pytest.mark.parametrize("rows", [[], [[1.0]], [[1.0], []]])
def test_fewer_than_two_slices_show_no_course(rows: list[list[float]]) -> None:
    assert sliced(blocks_of(*rows), [float(i) for i in range(len(rows))]) is None
    assert sliced(blocks_of([1.0], [2.0]), []) is None


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0, 5.0], [0.0, 1e6], [1e-9, 1e9]])
def test_slices_of_extreme_values_have_rising_edges_and_a_map(values: list[float]) -> None:
    found = sliced(blocks_of(*([value] for value in values)), [0.0, 1.0])
    assert found is not None
    assert all(a < b for a, b in zip(found.edges, found.edges[1:], strict=False))
    assert sum(map(sum, found.counts)) == 2
    (source,) = heat_map("m", found, "ms").sources.values()
    assert min(source.data["bottom"]) > 0.0


def test_a_heat_map_has_a_cell_for_each_band_with_values() -> None:
    slices = Slices(t_s=[0.0, 3.0], width_s=1.0, edges=[1.0, 10.0, 100.0], counts=[[3, 0], [1, 2]])
    chart = heat_map("m", slices, "ms", shift=2.0)
    (source,) = chart.sources.values()
    cells = list(
        zip(*(source.data[name].tolist() for name in ("left", "right", "bottom", "top", "count")), strict=True)
    )
    assert cells == [(2.0, 3.0, 1.0, 10.0, 3.0), (5.0, 6.0, 1.0, 10.0, 1.0), (5.0, 6.0, 10.0, 100.0, 2.0)]
    assert [row[:2] for row in chart.rows] == [[2.0, 3.0], [5.0, 3.0]]


def test_breakdowns_are_drawn_where_probes_gave_them() -> None:
    agents = [
        {"agent": "planner", "prompt_tokens": 900, "completion_tokens": 20},
        {"agent": "<writer>", "prompt_tokens": 300, "completion_tokens": 200},
    ]
    codecs = [
        {"codec": name, "bytes": size, "ratio": 0.5, "compress_ms": 0.1 * size, "decompress_ms": None}
        for name in ("zlib", "bz2")
        for size in (100, 1000)
    ]
    metrics = [
        MetricResult(name="tokens_per_message", unit="tokens", kind="histogram", details={"by_agent": agents}),
        MetricResult(name="compression_ratio", unit="ratio", kind="ratio", details={"codecs": codecs}),
    ]
    errors = [ErrorCount(kind="timeout", count=3), ErrorCount(kind="reset", count=1)]
    drawn = {c.title: c for c in charts(PhaseResult(name="p", verdict="failed", metrics=metrics, errors=errors))}
    assert list(drawn) == [
        "Failed requests by kind", "Tokens by agent (tokens_per_message)", "Compression ratio by codec",
        "Time to compress by codec",
    ]  # fmt: skip
    assert drawn["Failed requests by kind"].rows == [["timeout", 3.0], ["reset", 1.0]]
    assert drawn["Tokens by agent (tokens_per_message)"].rows == [["planner", 900.0, 20.0], ["‹writer›", 300.0, 200.0]]
    assert drawn["Compression ratio by codec"].rows == [[100.0, 50.0, 50.0], [1000.0, 50.0, 50.0]]


@pytest.mark.parametrize(
    "rows", [None, "text", [1, 2], [], [{"agent": "a"}], [{"agent": "a", "prompt_tokens": "many"}]]
)
def test_what_is_no_breakdown_is_not_drawn(rows: object) -> None:
    metric = MetricResult(name="m", unit="tokens", kind="histogram", details={"by_agent": rows, "codecs": rows})
    assert charts(PhaseResult(name="p", verdict="passed", metrics=[metric])) == []


def test_bars_beyond_what_an_axis_takes_are_in_the_table() -> None:
    names = [f"n{i % 40}" for i in range(50)]
    chart = bar_chart("b", names, {"count": [float(i) for i in range(50)]}, "count", x_label="name")
    assert len(chart.rows) == 50
    assert chart.notes == ("The first 24 of 50.",)
    assert len({row[0] for row in chart.rows}) == 50
