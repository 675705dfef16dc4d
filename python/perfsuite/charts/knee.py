"""The search for the highest rate: what each level that was tried gave, and where the knee is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from perfsuite.charts.chart import Cell, Chart, array, plain
from perfsuite.charts.colours import LIGHT, RULE
from perfsuite.charts.lines import Line, line_chart
from perfsuite.charts.plot import hover
from perfsuite.result import MetricResult, PhaseResult
from perfsuite.units import number, scale

MARKS = {"passed": "circle", "failed": "x", "undecided": "triangle"}
ASKED = "requests/s asked for"


class Shown(NamedTuple):
    """A figure of the levels, its unit, and its title."""

    column: str
    unit: str
    title: str


SHOWN = (
    Shown("delivered", "1/s", "Throughput by the rate that was asked for"),
    Shown("p95_ms", "ms", "Response time p95 by the rate that was asked for"),
)


def knee(phase: PhaseResult) -> Iterator[Chart]:
    """Throughput and response time by rate, where a phase looked for the highest."""
    found = phase.metric("max_rate")
    if found is None:
        return
    levels = [row for row in found.details.get("levels") or () if isinstance(row, Mapping) and _of(row, "rate")]
    for one in SHOWN:
        last = {x: y for row in levels if (x := _of(row, "rate")) and (y := _of(row, one.column)) is not None}
        if last:
            yield _chart(one, sorted(last.items()), levels, found)


def _chart(
    shown: Shown, points: Sequence[tuple[float, float]], levels: Sequence[Mapping[str, Any]], found: MetricResult
) -> Chart:
    line = Line(shown.column.removesuffix("_ms"), [x for x, _ in points], [y for _, y in points])
    tip = ("asked", "@x{0,0.[00]}/s")
    chart = line_chart(shown.title, [line], shown.unit, x_label=ASKED, x_tip=tip, timed=False)
    divisor, _ = scale(max(abs(y) for _, y in points), shown.unit)
    _marks(chart, shown, levels, divisor)
    return replace(
        chart,
        label=f"Line chart: {chart.title}, with the knee; the table below it holds the figures.",
        header=[ASKED, chart.header[1], "failed, %", "most in flight", "verdict", "why"],
        rows=[_row(row, shown.column, divisor) for row in levels],
        notes=tuple(_knee(chart, found)),
    )


def _row(row: Mapping[str, Any], column: str, divisor: float) -> list[Cell]:
    value, failed = _of(row, column), _of(row, "error_rate")
    return [
        _of(row, "rate"),
        None if value is None else value / divisor,
        None if failed is None else failed * 100.0,
        _of(row, "in_flight"),
        plain(row.get("verdict", "")),
        plain(row.get("why", "")),
    ]


def _marks(chart: Chart, shown: Shown, levels: Sequence[Mapping[str, Any]], divisor: float) -> None:
    """A mark for each try of a level, its shape by the verdict."""
    from bokeh.models import ColumnDataSource

    for verdict, mark in MARKS.items():
        some = [
            (x, y / divisor, plain(row.get("why", "")))
            for row in levels
            if row.get("verdict") == verdict and (x := _of(row, "rate")) and (y := _of(row, shown.column)) is not None
        ]
        if some:
            columns = {"x": array([x for x, *_ in some]), "y": array([y for _, y, _ in some])}
            source = ColumnDataSource({**columns, "why": [why for *_, why in some]}, name=verdict)
            drawn = chart.figure.scatter(
                "x", "y", source=source, marker=mark, size=9, line_color=LIGHT[0], fill_color=LIGHT[0],
                legend_label=verdict, name=verdict,
            )  # fmt: skip
            hover(chart.figure, [("asked", "@x{0,0.[00]}/s"), (verdict, "@why")], renderers=[drawn])
    for legend in chart.figure.legend:
        legend.ncols = 1 + len(MARKS)


def _knee(chart: Chart, found: MetricResult) -> Iterator[str]:
    """Shades the interval of the highest rate and draws a line at it; what that means, in words."""
    from bokeh.models.annotations import BoxAnnotation, Span

    if found.value is None:
        return
    low, high = found.interval or (None, None)
    band: dict[str, Any] = {"left": low or 0.0}
    if high is not None and math.isfinite(high):  # else to the right edge
        band["right"] = high
    chart.figure.add_layout(BoxAnnotation(**band, fill_color=RULE, fill_alpha=0.15, line_alpha=0.0, level="underlay"))
    said = f"{number(low or 0.0)}–{number(math.inf if high is None else high)}"
    if found.value > 0.0:
        chart.figure.add_layout(Span(location=found.value, dimension="height", line_color=RULE, line_dash="dashed"))
        yield f"Dashed: the highest rate, about {number(found.value)} requests/s. Shaded: where it surely lies, {said}."
    else:
        yield f"No level was seen to pass. Shaded: where the highest rate lies, {said} requests/s."


def _of(row: Mapping[str, Any], column: str) -> float | None:
    value = row.get(column)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
