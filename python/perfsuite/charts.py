"""Charts of a result, by Bokeh: the HTML report's, and a notebook's.

Colours are Okabe and Ito's, which people with any colour vision tell apart; lines differ in their dashes as well.  The
background is clear and the text a grey that reads on white and on black, so that a page may be light or dark.  A canvas
says nothing to a screen reader: every chart comes with a label and the table that it was drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfsuite.result import MetricResult, PhaseResult, Result
from perfsuite.stats.thinning import extremes
from perfsuite.units import scale

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM
    from bokeh.plotting import figure as Figure

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
DASHES = ("solid", "dashed", "dotdash", "dotted", "dashdot", "solid", "dashed")
GREY = "#767676"
MOST_LINES = 7
MOST_EVENTS = 40
MOST_POINTS = 2000
TABLE_ROWS = 40
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999)

Line = tuple[str, Sequence[float], Sequence[float]]
"""Name, x, y."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, what it shows in words, and its figures as a table."""

    title: str
    label: str
    figure: Figure
    header: list[str]
    rows: list[list[float | str | None]]


def charts(phase: PhaseResult) -> list[Chart]:
    """The charts of a phase: growth, metrics over time, distributions, requests by second, resources."""
    return [
        *_growth(phase),
        *_over_time(phase),
        *_distributions(phase),
        *_windows(phase),
        *_resources(phase),
    ]


def layout(result: Result) -> LayoutDOM:
    """All charts of a result below one another, for a notebook."""
    from bokeh.layouts import column
    from bokeh.models.widgets import Div

    parts: list[LayoutDOM] = []
    for phase in result.phases:
        drawn = charts(phase)
        parts += [Div(text=f"<b>{_plain(phase.title or phase.name)}</b>")] if drawn else []
        parts += [chart.figure for chart in drawn]
    return column(*(parts or [Div(text="Nothing was measured.")]), sizing_mode="stretch_width")


def _over_time(phase: PhaseResult) -> Iterator[Chart]:
    by_unit: dict[str, dict[str, Line]] = {}
    for metric in phase.metrics:
        if len(metric.series) > 1:
            # A metric held against two criteria has one series.
            by_unit.setdefault(metric.unit, {}).setdefault(metric.name, _line(metric.name, metric.series))
    for unit, lines in by_unit.items():
        for some in _batches(list(lines.values())):
            title = f"{', '.join(name for name, _, _ in some)} over time"
            yield _chart(phase, title, some, "seconds into the phase", unit, events=True)


def _distributions(phase: PhaseResult) -> Iterator[Chart]:
    by_unit: dict[str, dict[str, MetricResult]] = {}
    for metric in phase.metrics:
        if metric.histogram is not None:
            by_unit.setdefault(metric.unit, {}).setdefault(metric.name, metric)
    for unit, metrics in by_unit.items():
        lines = [line for metric in metrics.values() if (line := _percentiles(metric))]
        for some in _batches(lines):
            title = f"Distribution of {', '.join(name for name, _, _ in some)}"
            yield _chart(phase, title, some, "share of samples at or below", unit, percentiles=True)


def _growth(phase: PhaseResult) -> Iterator[Chart]:
    """What a memory system holds at each scale."""
    names = {"memory": "memory_bytes", "disk": "disk_bytes"}
    points = [tuple(row.get(key) for key in ("memories", *names.values())) for row in _scales(phase)]
    if len(points) < 2 or not all(isinstance(value, int | float) for point in points for value in point):
        return
    x, *columns = ([float(value) for value in column] for column in zip(*sorted(points), strict=True))
    lines = [(name, x, column) for name, column in zip(names, columns, strict=True)]
    yield _chart(phase, "Bytes as the store grows", lines, "memories", "bytes", x_tip=("memories", "$x{0,0}"))


def _scales(phase: PhaseResult) -> Iterator[Mapping[str, Any]]:
    for metric in phase.metrics:
        rows = metric.details.get("scales")
        yield from (row for row in rows if isinstance(row, Mapping)) if isinstance(rows, list) else ()


def _windows(phase: PhaseResult) -> Iterator[Chart]:
    columns = phase.windows
    times = columns.get("t_s")
    if not times or len(times) < 2:
        return
    x = [float(t or 0.0) for t in times]
    lines = [
        (name, x, [math.nan if y is None else float(y) for y in columns[name]])
        for name in ("due", "ok", "failed", "over_limit", "waiting")
        if name in columns and len(columns[name]) == len(x)
    ]
    if lines:
        thinned = [(name, *_thin(x, y)) for name, x, y in lines]
        yield _chart(phase, "Requests and errors by second", thinned, "seconds into the load", "1/s")


def _resources(phase: PhaseResult) -> Iterator[Chart]:
    by_unit: dict[str, list[Line]] = {}
    for name, resource in phase.resources.items():
        if len(resource.series) > 1:
            by_unit.setdefault(resource.unit, []).append(_line(name, resource.series))
    for unit, lines in by_unit.items():
        for some in _batches(lines):
            title = f"Resources: {', '.join(name for name, _, _ in some)}"
            yield _chart(phase, title, some, "seconds into the phase", unit, events=True)


def _chart(
    phase: PhaseResult,
    title: str,
    lines: Sequence[Line],
    x_label: str,
    unit: str,
    *,
    events: bool = False,
    percentiles: bool = False,
    x_tip: tuple[str, str] = ("t", "$x{0,0.0} s"),
) -> Chart:
    from bokeh.models import BasicTickFormatter, HoverTool

    title = _plain(title)
    lines, y_label = _scaled(lines, unit)
    plot = _figure(x_label, y_label, logarithmic=percentiles)
    for i, (name, x, y) in enumerate(lines):
        colour, dash = OKABE_ITO[i % len(OKABE_ITO)], DASHES[i % len(DASHES)]
        # The legend and the tooltip are drawn as text, never as markup; the name is foreign all the same.
        plot.line(_array(x), _array(y), color=colour, line_dash=dash, line_width=1.6, legend_label=_plain(name))
    if percentiles:
        plot.xaxis.ticker = [_spread(q) for q in LEVELS if q in (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)]
        names = {0.0: "0 %", 0.5: "50 %", 0.9: "90 %", 0.99: "99 %", 0.999: "99.9 %", 0.9999: "99.99 %"}
        plot.xaxis.major_label_overrides = {_spread(q): text for q, text in names.items()}
        tooltips = [("1 in", "$x{0,0}"), (y_label, "$y{0,0.00}")]
    else:
        tooltips = [x_tip, (y_label, "$y{0,0.00}")]
    plot.add_tools(HoverTool(tooltips=tooltips, mode="mouse"))
    plot.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    if events:
        _mark(plot, phase)
    _style_legend(plot, len(lines))
    label = f"Line chart, {title}, in {y_label}; the table below it holds the figures."
    header = [x_label, *(_plain(name) for name, _, _ in lines)]
    return Chart(title, label, plot, header, _table(lines, percentiles))


def _figure(x_label: str, y_label: str, *, logarithmic: bool) -> Figure:
    from bokeh.plotting import figure

    plot = figure(
        height=260,
        sizing_mode="stretch_width",
        x_axis_label=x_label,
        y_axis_label=y_label,
        x_axis_type="log" if logarithmic else "linear",
        tools="xpan,xbox_zoom,xwheel_zoom,reset,save",
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        outline_line_color=GREY,
        output_backend="canvas",
    )
    plot.toolbar.logo = None
    plot.toolbar.active_scroll = None
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_label_text_color = axis.major_label_text_color = GREY
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = GREY
        axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.2
    return plot


def _style_legend(plot: Figure, lines: int) -> None:
    for legend in plot.legend:
        legend.background_fill_alpha = 0.0
        legend.border_line_alpha = 0.0
        legend.label_text_color = GREY
        legend.click_policy = "hide"
        legend.ncols = min(lines, 4)
        plot.add_layout(legend, "above")


def _mark(plot: Figure, phase: PhaseResult) -> None:
    """What happened in the phase: a line across for each event."""
    from bokeh.models.annotations import Span

    for event in phase.events[:MOST_EVENTS]:
        plot.add_layout(
            Span(location=event.t_s, dimension="height", line_color=GREY, line_dash="dotted", line_alpha=0.6)
        )


def _line(name: str, series: Iterable[tuple[float, float | None]]) -> Line:
    points = [(float(t), math.nan if y is None else float(y)) for t, y in series]
    return (name, *_thin([t for t, _ in points], [y for _, y in points]))


def _percentiles(metric: MetricResult) -> Line | None:
    """The values at LEVELS, as far as the samples reach."""
    histogram = metric.distribution()
    if histogram is None or not histogram.count:
        return None
    levels = [q for q in LEVELS if (1.0 - q) * histogram.count >= 1.0 or q <= 0.5]
    return metric.name, [_spread(q) for q in levels], histogram.quantiles(levels)


def _scaled(lines: Sequence[Line], unit: str) -> tuple[list[Line], str]:
    """The lines in the unit that their highest point reads well in, and the label of their axis."""
    peak = max((abs(y) for _, _, ys in lines for y in ys if math.isfinite(y)), default=0.0)
    divisor, name = scale(peak, unit)
    label = "per second" if name == "/s" else _plain(name) or "count"
    return [(title, x, [y / divisor for y in ys]) for title, x, ys in lines], label


def _spread(q: float) -> float:
    """Where a share is on the axis that gives each further nine the same room: 1 / (1 - q)."""
    return 1.0 / (1.0 - q)


def _thin(x: Sequence[float], y: Sequence[float]) -> tuple[Sequence[float], Sequence[float]]:
    kept = extremes(y, MOST_POINTS)
    return [x[k] for k in kept], [y[k] for k in kept]


def _table(lines: Sequence[Line], percentiles: bool) -> list[list[float | str | None]]:
    """The figures by x, at most TABLE_ROWS of them, evenly taken, the first and the last among them."""
    columns: list[Mapping[float, float]] = [dict(zip(x, y, strict=True)) for _, x, y in lines]
    every = sorted({x for column in columns for x in column})
    if len(every) > TABLE_ROWS:
        every = [every[i * (len(every) - 1) // (TABLE_ROWS - 1)] for i in range(TABLE_ROWS)]
    rows: list[list[float | str | None]] = []
    for x in every:
        first: float | str = f"{(1.0 - 1.0 / x) * 100:.6g} %" if percentiles else x
        rows.append([first, *(column.get(x) for column in columns)])
    return rows


def _batches(lines: list[Line]) -> Iterator[list[Line]]:
    for start in range(0, len(lines), MOST_LINES):
        yield lines[start : start + MOST_LINES]


def _array(values: Sequence[float]) -> Any:
    """Bokeh writes numpy arrays as base64, a third of the size of numbers in text."""
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def _plain(text: str) -> str:
    """Foreign text for a label: one printable line, without what would be markup or TeX."""
    text = " ".join(str(text).split())[:120]
    return "".join(c for c in text if c.isprintable()).translate(
        {ord("<"): "‹", ord(">"): "›", ord("&"): "+", ord("$"): "＄"}
    )
