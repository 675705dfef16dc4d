"""What a capacity phase measured at each level, and the law through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perfsuite.charts.chart import Chart
from perfsuite.charts.lines import Line, line_chart
from perfsuite.result import PhaseResult

CURVE = {"throughput": "the law", "low": "… 95 % from", "high": "… to"}


def capacity(phase: PhaseResult) -> Iterator[Chart]:
    """Throughput by requests in flight."""
    found = phase.metric("peak_throughput")
    levels, curve = (_rows(found.details.get(name) if found is not None else None) for name in ("levels", "curve"))
    if len(levels) < 2 or not curve:
        return
    x = [float(row["concurrency"]) for row in curve]
    measured = Line(
        "measured", [float(row["concurrency"]) for row in levels], [float(row["throughput"]) for row in levels]
    )
    lines = [measured, *(Line(name, x, [float(row[key]) for row in curve]) for key, name in CURVE.items())]
    tip = ("in flight", "@x{0,0.[0]}")
    title = "Throughput by requests in flight, measured and by the fitted law"
    yield line_chart(title, lines, "1/s", x_label="requests in flight", x_tip=tip, timed=False, x_axis="log")


def _rows(found: object) -> list[Mapping[str, Any]]:
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
