"""What probes broke a figure down by: tokens by agent, codecs by size, facts by age, errors by kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from perfsuite.charts.bars import bar_chart
from perfsuite.charts.chart import Chart
from perfsuite.charts.lines import Line, batches, line_chart
from perfsuite.result import PhaseResult


class Breakdown(NamedTuple):
    """A detail that is a list of rows: the column that names a row, and those that are drawn, in a unit."""

    detail: str
    title: str
    names: str
    columns: Sequence[str]
    unit: str


BREAKDOWNS = (
    Breakdown("by_agent", "Tokens by agent", "agent", ("prompt_tokens", "completion_tokens"), "tokens"),
    Breakdown(
        "by_window", "Relevant tokens by window", "window_tokens", ("relevant_possible", "relevant_placed"), "tokens"
    ),
    Breakdown("by_age", "Facts kept by their age in turns", "turns", ("share",), "ratio"),
)

CODEC_FIGURES = {"ratio": "ratio", "compress_ms": "ms", "decompress_ms": "ms"}
"""What is drawn of each codec by the size of a payload, with its unit."""
CODEC_TITLES = {
    "ratio": "Compression ratio by codec",
    "compress_ms": "Time to compress by codec",
    "decompress_ms": "Time to decompress by codec",
}


def breakdowns(phase: PhaseResult) -> Iterator[Chart]:
    """A chart of each of BREAKDOWNS that a metric of the phase has."""
    for one in BREAKDOWNS:
        for name, rows in _tables(phase, one.detail):
            series = {column: [_number(row.get(column)) for row in rows] for column in one.columns}
            drawn = {column: values for column, values in series.items() if None not in values}
            if rows and drawn:
                names = [str(row.get(one.names, "–")) for row in rows]
                yield bar_chart(f"{one.title} ({name})", names, drawn, one.unit, x_label=one.names)  # type: ignore[arg-type]


def codecs(phase: PhaseResult) -> Iterator[Chart]:
    """What each codec gives by the size of a payload, and how long it takes."""
    for _, rows in _tables(phase, "codecs"):
        for figure, unit in CODEC_FIGURES.items():
            lines = [
                line for codec in dict.fromkeys(row.get("codec") for row in rows) if (line := _of(rows, codec, figure))
            ]
            for some in batches(lines):
                title = CODEC_TITLES[figure] + (
                    "" if len(some) == len(lines) else f": {', '.join(x.name for x in some)}"
                )
                tip = ("bytes", "@x{0,0}")
                yield line_chart(title, some, unit, x_label="bytes of a payload", x_tip=tip, timed=False, x_axis="log")


def errors(phase: PhaseResult) -> Iterator[Chart]:
    """Failed requests by kind."""
    if phase.errors:
        kinds, counts = [one.kind for one in phase.errors], [float(one.count) for one in phase.errors]
        yield bar_chart("Failed requests by kind", kinds, {"failed": counts}, "count", x_label="kind")


def _tables(phase: PhaseResult, detail: str) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    seen = set()
    for metric in phase.metrics:
        rows = metric.details.get(detail)
        if metric.name not in seen and isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows):
            seen.add(metric.name)
            yield metric.name, rows


def _of(rows: Sequence[Mapping[str, Any]], codec: object, figure: str) -> Line | None:
    points = sorted(
        (size, value)
        for row in rows
        if row.get("codec") == codec
        and (size := _number(row.get("bytes"))) is not None
        and (value := _number(row.get(figure))) is not None
    )
    return Line(str(codec), [x for x, _ in points], [y for _, y in points]) if points else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
