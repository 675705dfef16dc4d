"""Lines: one quantity or several of one unit, over time or over anything that goes up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from perfsuite.charts.chart import Chart, array, plain, tabled
from perfsuite.charts.colours import DASHES, LIGHT, MOST_LINES
from perfsuite.charts.plot import blank, finished, hover
from perfsuite.stats.thinning import extremes
from perfsuite.units import scale

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure as Figure

MOST_POINTS = 1000
"""Of a line, its extremes among them: more than a screen has columns."""


class Line(NamedTuple):
    """Points in order of x; NaN in ``y`` is a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def line_of(name: str, series: Iterable[tuple[float, float | None]], shift: float = 0.0) -> Line:
    """A series of the result as a line that is thinned; ``shift``: what its times are behind the phase's."""
    points = [(float(t) + shift, math.nan if y is None else float(y)) for t, y in series]
    return thinned(Line(name, [t for t, _ in points], [y for _, y in points]))


def thinned(line: Line) -> Line:
    """At most MOST_POINTS of a line's points, so that what stands out stays."""
    kept = extremes(line.y, MOST_POINTS)
    return Line(line.name, [line.x[k] for k in kept], [line.y[k] for k in kept])


def scaled(lines: Sequence[Line], unit: str) -> tuple[list[Line], str]:
    """The lines in the unit that their highest point reads well in, and that unit's name."""
    peak = max((abs(y) for line in lines for y in line.y if math.isfinite(y)), default=0.0)
    divisor, name = scale(peak, unit)
    label = "per second" if name == "/s" else plain(name) or "count"
    return [line._replace(y=[y / divisor for y in line.y]) for line in lines], label


def batches(lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    """As many lines as colours tell apart."""
    for start in range(0, len(lines), MOST_LINES):
        yield lines[start : start + MOST_LINES]


def line_chart(
    title: str,
    lines: Sequence[Line],
    unit: str,
    *,
    x_label: str = "seconds into the phase",
    x_tip: tuple[str, str] = ("at", "@x{0,0.0} s"),
    timed: bool = True,
    steps: bool = False,
    x_axis: Literal["linear", "log"] = "linear",
) -> Chart:
    """A chart of lines of one unit, which may still be empty: its sources have the columns ``x`` and ``y``, the latter
    in the unit that the axis names."""
    title = plain(title)
    lines, y_label = scaled(lines, unit)
    plot = blank(x_label, y_label, x_axis=x_axis)
    sources = draw(plot, lines, steps=steps)
    hover(plot, [("", "$name"), x_tip, (y_label, "@y{0,0.[000]}")], mode="vline")
    return Chart(
        title=title,
        label=f"Line chart: {title}, in {y_label}; the table below it holds the figures.",
        figure=finished(plot, len(lines)),
        header=[x_label, *(f"{plain(line.name)}, {y_label}" for line in lines)],
        rows=tabled(_columns(lines)),
        sources=sources,
        timed=timed,
    )


def draw(plot: Figure, lines: Sequence[Line], *, steps: bool = False) -> dict[str, ColumnDataSource]:
    """Draws lines, each with a colour and a dash of its own; the source of each by its name."""
    from bokeh.models import BasicTickFormatter, ColumnDataSource

    sources = {}
    for i, line in enumerate(lines):
        # The legend and the tooltip are drawn as text, never as markup; the name is foreign all the same.
        name = plain(line.name)
        source = ColumnDataSource({"x": array(line.x), "y": array(line.y)}, name=name)
        look: dict[str, Any] = {
            "source": source,
            "name": name,
            "legend_label": name,
            "line_color": LIGHT[i % MOST_LINES],
            "line_dash": DASHES[i % MOST_LINES],
            "line_width": 1.8,
        }
        if steps:
            plot.step("x", "y", mode="after", **look)
        else:
            plot.line("x", "y", **look)
        if len(line.x) < 3:  # a line of a point or two is hardly seen
            plot.scatter("x", "y", source=source, size=6, color=LIGHT[i % MOST_LINES], name=name)
        sources[line.name] = source
    plot.yaxis.formatter = BasicTickFormatter(use_scientific=False)
    return sources


def _columns(lines: Sequence[Line]) -> list[Mapping[float, float]]:
    return [dict(zip(line.x, line.y, strict=True)) for line in lines]
