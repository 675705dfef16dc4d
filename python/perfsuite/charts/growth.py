"""What a memory system holds at each scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perfsuite.charts.chart import Chart
from perfsuite.charts.lines import Line, line_chart
from perfsuite.result import PhaseResult

NAMES = {"memory": "memory_bytes", "disk": "disk_bytes"}


def growth(phase: PhaseResult) -> Iterator[Chart]:
    """Bytes by memories stored."""
    points = [tuple(row.get(key) for key in ("memories", *NAMES.values())) for row in _scales(phase)]
    if len(points) < 2 or not all(isinstance(value, int | float) for point in points for value in point):
        return
    x, *columns = ([float(value) for value in column] for column in zip(*sorted(points), strict=True))
    lines = [Line(name, x, column) for name, column in zip(NAMES, columns, strict=True)]
    tip = ("memories", "@x{0,0}")
    yield line_chart("Bytes as the store grows", lines, "bytes", x_label="memories", x_tip=tip, timed=False)


def _scales(phase: PhaseResult) -> Iterator[Mapping[str, Any]]:
    for metric in phase.metrics:
        rows = metric.details.get("scales")
        yield from (row for row in rows if isinstance(row, Mapping)) if isinstance(rows, list) else ()
