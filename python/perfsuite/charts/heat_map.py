"""A distribution over time: slices of time across, values upwards on a logarithmic axis, darker (on a dark page
brighter) the more values."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from perfsuite.charts.chart import Chart, array, plain
from perfsuite.charts.colours import HEAT_LIGHT, INK
from perfsuite.charts.marks import load_began, marked
from perfsuite.charts.plot import blank, hover
from perfsuite.result import PhaseResult, Slices
from perfsuite.units import scale

if TYPE_CHECKING:
    from bokeh.models import ColorMapper
    from bokeh.plotting import figure as Figure

MAPPER = "heat"
"""The name of the colour mapper, by which a dark page finds it."""


def heat_maps(phase: PhaseResult) -> Iterator[Chart]:
    """A map of each metric of a phase whose distribution was kept over time."""
    seen = set()
    for metric in phase.metrics:
        if metric.slices is not None and metric.name not in seen:
            seen.add(metric.name)
            yield marked(heat_map(f"{metric.name} over time", metric.slices, metric.unit, load_began(phase)), phase)


def heat_map(title: str, slices: Slices, unit: str, shift: float = 0.0) -> Chart:
    """The map; its source has ``left right bottom top count``, a row for each cell that is not empty."""
    from bokeh.models import BasicTickFormatter, ColumnDataSource, LogColorMapper

    title = plain(title)
    divisor, name = scale(slices.edges[-1], unit)
    edges = [edge / divisor for edge in slices.edges]
    floor = min(edge for edge in edges if edge > 0.0)
    edges = [max(edge, floor / 2.0) for edge in edges]  # a logarithmic axis has no zero
    cells = [
        (shift + t, shift + t + slices.width_s, edges[k], edges[k + 1], float(count))
        for t, row in zip(slices.t_s, slices.counts, strict=True)
        for k, count in enumerate(row)
        if count
    ]
    columns = zip(("left", "right", "bottom", "top", "count"), zip(*cells, strict=True), strict=True)
    source = ColumnDataSource({column: array(values) for column, values in columns}, name=title)
    most = max(cell[4] for cell in cells)
    mapper = LogColorMapper(palette=list(HEAT_LIGHT), low=1, high=max(2.0, most), name=MAPPER)
    label = plain(name) or "count"
    plot = blank("seconds into the phase", label, y_axis="log")
    drawn = plot.quad(
        left="left", right="right", bottom="bottom", top="top", source=source, line_color=None,
        fill_color={"field": "count", "transform": mapper},
    )  # fmt: skip
    plot.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    hover(
        plot,
        [("from", "@left{0,0.0} s"), (label, "@bottom{0,0.[00]} to @top{0,0.[00]}"), ("values", "@count{0,0}")],
        renderers=[drawn],
    )
    _legend(plot, mapper)
    return Chart(
        title=title,
        label=f"Heat map: {title}, in {label}, over seconds into the phase; the table below it holds the figures.",
        figure=plot,
        header=["seconds into the phase", "values", f"lowest, {label}", f"median, {label}", f"highest, {label}"],
        rows=[[shift + t, float(sum(row)), *_of(row, edges)] for t, row in zip(slices.t_s, slices.counts, strict=True)],
        sources={title: source},
        timed=True,
        notes=("The table has the middles of the bands that the values of a slice of time fall into.",),
    )


def _legend(plot: Figure, mapper: ColorMapper) -> None:
    from bokeh.models.annotations import ColorBar

    bar = ColorBar(
        color_mapper=mapper, background_fill_alpha=0.0, major_label_text_color=INK, title="values", width=10,
        title_text_color=INK, title_text_font_style="normal",
    )  # fmt: skip
    plot.add_layout(bar, "right")


def _of(row: list[int], edges: list[float]) -> list[float]:
    """The middles of the lowest, the median's and the highest band of a slice."""
    middles = [(a * b) ** 0.5 for a, b in pairwise(edges)]
    held = [k for k, count in enumerate(row) if count]
    half, seen, median = sum(row) / 2.0, 0, held[0]
    for k in held:
        seen += row[k]
        if seen >= half:
            median = k
            break
    return [middles[held[0]], middles[median], middles[held[-1]]]
