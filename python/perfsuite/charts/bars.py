"""Bars: quantities of a few named things, beside one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from perfsuite.charts.chart import Chart, array, plain
from perfsuite.charts.colours import LIGHT, MOST_LINES
from perfsuite.charts.lines import Line, scaled
from perfsuite.charts.plot import blank, finished, hover

MOST_BARS = 24
"""Names along an axis: more of them run into one another.  The table has all."""


WIDEST = 0.25
"""Of the axis, for all bars of a name."""


def bar_chart(
    title: str, names: Sequence[str], series: Mapping[str, Sequence[float]], unit: str, *, x_label: str
) -> Chart:
    """Bars of one unit for each of ``names``, a group of them where there are several ``series`` (MOST_LINES at most);
    the source of each has ``x`` (the names) and ``y``."""
    from bokeh.models import BasicTickFormatter, ColumnDataSource, FactorRange
    from bokeh.transform import dodge

    title = plain(title)
    labels = _unique([plain(name) or "–" for name in names])
    shown = labels[:MOST_BARS]
    lines, y_label = scaled([Line(name, range(len(labels)), list(values)) for name, values in series.items()], unit)
    plot = blank(x_label, y_label, x_range=FactorRange(factors=shown))
    width = min(0.8, WIDEST * len(shown)) / max(1, len(lines))
    sources = {}
    for i, line in enumerate(lines):
        name = plain(line.name)
        source = ColumnDataSource({"x": shown, "y": array(line.y[: len(shown)])}, name=name)
        place = dodge("x", (i - (len(lines) - 1) / 2.0) * width, range=plot.x_range)
        drawn = plot.vbar(
            x=place, top="y", width=width * 0.9, source=source, name=name, legend_label=name,
            fill_color=LIGHT[i % MOST_LINES], line_color=LIGHT[i % MOST_LINES],
        )  # fmt: skip
        hover(plot, [("", "@x"), (f"{name}, {y_label}", "@y{0,0.[000]}")], renderers=[drawn])
        sources[line.name] = source
    known = [y for line in lines for y in line.y if math.isfinite(y)]
    if known and min(known) >= 0.0:
        plot.y_range.update(start=0.0)
    plot.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    if len(shown) > 6:
        plot.xaxis.major_label_orientation = 0.6
    more = () if len(labels) == len(shown) else (f"The first {len(shown)} of {len(labels)}.",)
    return Chart(
        title=title,
        label=f"Bar chart: {title}, in {y_label}; the table below it holds the figures.",
        figure=finished(plot, len(lines)),
        header=[x_label, *(f"{plain(line.name)}, {y_label}" for line in lines)],
        rows=[[label, *(line.y[i] for line in lines)] for i, label in enumerate(labels)],
        sources=sources,
        notes=more,
    )


def _unique(names: Sequence[str]) -> list[str]:
    """An axis takes a name once."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
