"""Charts that move together: zooming one over time zooms those beside it, and one pointer shows in all of them."""

from __future__ import annotations

from collections.abc import Sequence

from perfsuite.charts.chart import Chart
from perfsuite.charts.colours import RULE


def linked(charts: Sequence[Chart]) -> list[Chart]:
    """The same charts, of which those over time share their range and their cross-hair."""
    timed = [chart for chart in charts if chart.timed]
    if len(timed) > 1:
        from bokeh.models import CrosshairTool, Range1d
        from bokeh.models.annotations import Span

        ends = [x for chart in timed for source in chart.sources.values() for x in _times(source.data)]
        low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
        room = 0.02 * (high - low) or 0.5
        shared = Range1d(start=low - room, end=high + room)
        across = Span(dimension="height", line_color=RULE, line_width=1)
        for chart in timed:
            chart.figure.x_range = shared
            chart.figure.add_tools(CrosshairTool(overlay=across, dimensions="height"))
    return list(charts)


def _times(data: dict[str, object]) -> list[float]:
    """The first and the last time of a source that is in order of time."""
    x = data.get("x", data.get("left"))
    found = [float(t) for t in x] if x is not None else []  # type: ignore[attr-defined]
    return [min(found), max(found)] if found else []
