"""Requests by second: due, answered, failed, over the limit, waiting."""

from __future__ import annotations

import math
from collections.abc import Iterator

from perfsuite.charts.chart import Chart
from perfsuite.charts.lines import Line, line_chart, thinned
from perfsuite.charts.marks import load_began, marked
from perfsuite.result import PhaseResult

COLUMNS = ("due", "ok", "failed", "over_limit", "waiting")


def requests_by_second(phase: PhaseResult) -> Iterator[Chart]:
    """The one-second windows of a phase's load."""
    columns = phase.windows
    times = columns.get("t_s")
    if not times or len(times) < 2:
        return
    began = load_began(phase)
    x = [began + float(t or 0.0) for t in times]
    lines = [
        thinned(Line(name, x, [math.nan if y is None else float(y) for y in columns[name]]))
        for name in COLUMNS
        if len(columns.get(name, ())) == len(x)
    ]
    if lines:
        yield marked(line_chart("Requests and errors by second", lines, "1/s", steps=True), phase)
