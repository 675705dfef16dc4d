"""Metrics and resources over the time of a phase."""

from __future__ import annotations

from collections.abc import Iterator

from perfsuite.charts.chart import Chart
from perfsuite.charts.lines import Line, batches, line_chart, line_of
from perfsuite.charts.marks import load_began, marked
from perfsuite.metric import streamed
from perfsuite.result import PhaseResult


def metrics_over_time(phase: PhaseResult) -> Iterator[Chart]:
    """A chart for each unit in which something was measured over time."""
    by_unit: dict[str, dict[str, Line]] = {}
    of_the_load = set(streamed())
    for metric in phase.metrics:
        if len(metric.series) > 1:
            shift = load_began(phase) if metric.name in of_the_load else 0.0
            lines = by_unit.setdefault(metric.unit, {})
            line = line_of(metric.name, metric.series, shift)
            # A metric held against two criteria has one series, and so have two that look at the same readings.
            if not any(line[1:] == other[1:] for other in lines.values()):
                lines.setdefault(metric.name, line)
    for unit, found in by_unit.items():
        yield from _charts(phase, "{} over time", list(found.values()), unit)


def resources(phase: PhaseResult) -> Iterator[Chart]:
    """What the collectors saw, a chart for each unit."""
    by_unit: dict[str, list[Line]] = {}
    for name, resource in phase.resources.items():
        if len(resource.series) > 1:
            by_unit.setdefault(resource.unit, []).append(line_of(name, resource.series))
    for unit, lines in by_unit.items():
        yield from _charts(phase, "Resources: {}", lines, unit)


def _charts(phase: PhaseResult, title: str, lines: list[Line], unit: str) -> Iterator[Chart]:
    for some in batches(lines):
        names = ", ".join(line.name for line in some)
        yield marked(line_chart(title.format(names), some, unit), phase)
