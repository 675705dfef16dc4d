"""A figure over past runs, with the runs at which its level changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perfsuite.charts.chart import Chart, array, plain
from perfsuite.charts.colours import RULE
from perfsuite.charts.lines import Line, line_chart, thinned
from perfsuite.charts.plot import hover
from perfsuite.metric import labelled

if TYPE_CHECKING:
    from perfsuite.analysis.trends import FigureTrend


def trend_chart(one: FigureTrend) -> Chart:
    """Its values run by run, the newest last; lines across mark the first run of each new level."""
    name = labelled(one.figure.metric, one.figure.stat)
    x = [float(i + 1) for i in range(len(one.values))]
    title = f"{one.figure.phase}: {name} over {len(x)} runs, {one.course}"
    line = thinned(Line(name, x, one.values))
    chart = line_chart(title, [line], one.figure.unit, x_label="run", x_tip=("run", "@x{0}"), timed=False)
    (source,) = chart.sources.values()
    chart.figure.scatter("x", "y", source=source, size=5)
    notes = [f"Newest run: {one.started[-1][:19].replace('T', ' ')}."] if one.started else []
    at = [float(i + 1) for i in one.step_indices]
    if at:
        from bokeh.models import ColumnDataSource

        texts = [f"{step.share:+.1%} since {plain(step.started[:19])}" for step in one.steps]
        drawn = chart.figure.vspan(
            x="x", source=ColumnDataSource({"x": array(at), "text": texts}), line_color=RULE, line_dash="dotted"
        )
        hover(chart.figure, [("from run", "@x{0}"), ("", "@text")], renderers=[drawn])
        notes.append(f"Dotted lines: changes of level ({'; '.join(texts)}).")
    if one.suspicious:
        notes.append("The newest run is worse than those before it let one expect.")
    return replace(chart, notes=tuple(notes))
