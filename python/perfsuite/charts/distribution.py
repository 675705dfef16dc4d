"""Distributions as percentile curves, on an axis that gives each further nine the same room."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perfsuite._core import Histogram
from perfsuite.charts.chart import Cell, Chart, plain
from perfsuite.charts.lines import Line, batches, draw, scaled
from perfsuite.charts.plot import blank, finished, hover
from perfsuite.result import MetricResult, PhaseResult

LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999)
NAMED = {
    0.0: "0 %",
    0.5: "50 %",
    0.9: "90 %",
    0.99: "99 %",
    0.999: "99.9 %",
    0.9999: "99.99 %",
    0.99999: "99.999 %",
}
BETWEEN = 24
"""Points of a curve for each nine: it is a curve, not a polygon."""


def distributions(phase: PhaseResult) -> Iterator[Chart]:
    """A chart for each unit in which the phase has histograms."""
    by_unit: dict[str, dict[str, MetricResult]] = {}
    for metric in phase.metrics:
        if metric.histogram is not None:
            by_unit.setdefault(metric.unit, {}).setdefault(metric.name, metric)
    for unit, metrics in by_unit.items():
        found = [
            (name, histogram)
            for name, metric in metrics.items()
            if (histogram := metric.distribution()) is not None and histogram.count
        ]
        for some in batches([percentiles(name, histogram) for name, histogram in found]):
            names = {line.name for line in some}
            yield percentile_chart(
                f"Distribution of {', '.join(line.name for line in some)}",
                [(name, histogram) for name, histogram in found if name in names],
                unit,
            )


def percentile_chart(title: str, histograms: Sequence[tuple[str, Histogram]], unit: str) -> Chart:
    """Percentile curves of histograms by name; their sources have ``x`` = 1 / (1 - share) and ``y``."""
    title = plain(title)
    lines, y_label = scaled([percentiles(name, histogram) for name, histogram in histograms], unit)
    plot = blank("share of samples at or below", y_label, x_axis="log")
    sources = draw(plot, lines)
    plot.xaxis.ticker = [spread(q) for q in NAMED]
    plot.xaxis.major_label_overrides = {spread(q): text for q, text in NAMED.items()}
    hover(plot, [("", "$name"), ("slowest", "1 in @x{0,0.[0]}"), (y_label, "@y{0,0.[000]}")], mode="vline")
    levels = levels_of(max((histogram.count for _, histogram in histograms), default=0))
    divided, _ = scaled([Line(name, levels, _at(histogram, levels)) for name, histogram in histograms], unit)
    rows: list[list[Cell]] = [[f"{q * 100:.6g} %", *(line.y[i] for line in divided)] for i, q in enumerate(levels)]
    return Chart(
        title=title,
        label=f"Percentile curves: {title}, in {y_label}; the table below it holds the figures.",
        figure=finished(plot, len(lines)),
        header=["share at or below", *(f"{plain(line.name)}, {y_label}" for line in lines)],
        rows=rows,
        sources=sources,
    )


def percentiles(name: str, histogram: Histogram) -> Line:
    """The curve of a histogram, as far as its samples reach."""
    reach = max(2.0, float(histogram.count))
    shares = sorted(
        {q for q in LEVELS if spread(q) <= reach}
        | {1.0 - 10.0 ** (-i / BETWEEN) for i in range(BETWEEN * 6) if 10.0 ** (i / BETWEEN) <= reach}
    )
    values = histogram.quantiles(shares) if histogram.count else []
    return Line(name, [spread(q) for q in shares] if values else [], values)


def levels_of(count: int) -> list[float]:
    """The levels that so many samples can show."""
    return [q for q in LEVELS if spread(q) <= count or q <= 0.5]


def spread(q: float) -> float:
    """Where a share is on the axis: 1 / (1 - q)."""
    return 1.0 / (1.0 - q)


def _at(histogram: Histogram, levels: Sequence[float]) -> list[float]:
    """Its values at the levels that it reaches; elsewhere NaN."""
    mine = set(levels_of(histogram.count))
    reached = [q for q in levels if q in mine]
    found = dict(zip(reached, histogram.quantiles(reached) if histogram.count else [], strict=False))
    return [found.get(q, float("nan")) for q in levels]
