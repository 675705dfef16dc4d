"""Two runs of one benchmark: their distributions over one another."""

from __future__ import annotations

from collections.abc import Iterator

from perfsuite.charts.chart import Chart
from perfsuite.charts.distribution import percentile_chart
from perfsuite.result import PhaseResult

MOST = 3
"""Metrics of a phase that are drawn: the first, which are those with a criterion."""


def before_and_after(before: PhaseResult, after: PhaseResult) -> Iterator[Chart]:
    """Percentile curves of what both phases have a histogram of."""
    names = dict.fromkeys(metric.name for metric in after.metrics if metric.histogram is not None)
    drawn = 0
    for name in names:
        old, new = before.metric(name), after.metric(name)
        if old is None or new is None or old.unit != new.unit or drawn == MOST:
            continue
        sides = [(side, metric.distribution()) for side, metric in (("before", old), ("after", new))]
        known = [(side, histogram) for side, histogram in sides if histogram is not None and histogram.count]
        if len(known) == 2:
            drawn += 1
            yield percentile_chart(f"{after.name}: {name} before and after", known, new.unit)
