"""One set of charts, by Bokeh: the HTML report's, the live page's and a notebook's.

One file for each kind of chart.  Each takes pieces of a result (lines, histograms, a phase) and gives a `Chart`: a
Bokeh figure, the sources that it is drawn from, and the same figures as a table.  Nothing here computes.

A page embeds them by `embed.py`; what it needs besides Bokeh's script is in `paint.js` (colours) and `page.js` (keys,
drawing in turn).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfsuite.charts.breakdowns import breakdowns, codecs, errors
from perfsuite.charts.capacity import capacity
from perfsuite.charts.chart import Chart, plain
from perfsuite.charts.distribution import distributions
from perfsuite.charts.growth import growth
from perfsuite.charts.heat_map import heat_maps
from perfsuite.charts.knee import knee
from perfsuite.charts.linked import linked
from perfsuite.charts.over_time import metrics_over_time, resources
from perfsuite.charts.requests import requests_by_second
from perfsuite.result import PhaseResult, Result

if TYPE_CHECKING:
    from bokeh.models import LayoutDOM

__all__ = ["Chart", "charts", "layout"]

KINDS = (
    growth,
    capacity,
    knee,
    metrics_over_time,
    distributions,
    heat_maps,
    requests_by_second,
    errors,
    breakdowns,
    codecs,
    resources,
)
"""The charts of a phase, in the order in which they are shown."""


def charts(phase: PhaseResult) -> list[Chart]:
    """The charts of a phase; those over time move together."""
    return linked([chart for kind in KINDS for chart in kind(phase)])


def layout(result: Result) -> LayoutDOM:
    """All charts of a result below one another, for a notebook."""
    from bokeh.layouts import column
    from bokeh.models.widgets import Div

    parts: list[LayoutDOM] = []
    for phase in result.phases:
        drawn = charts(phase)
        parts += [Div(text=f"<b>{plain(phase.title or phase.name)}</b>")] if drawn else []
        parts += [chart.figure for chart in drawn]
    return column(*(parts or [Div(text="Nothing was measured.")]), sizing_mode="stretch_width")
