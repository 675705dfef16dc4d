"""What happened while something was measured, marked in the charts over time: the warm-up, failures, events."""

from __future__ import annotations

from perfsuite.charts.chart import Chart, array, plain
from perfsuite.charts.colours import FAILED, RULE
from perfsuite.result import PhaseResult

MOST_EVENTS = 40
MOST_FAILING = 60
"""Seconds with failures that are marked: those with the most of them."""


def marked(chart: Chart, phase: PhaseResult) -> Chart:
    """The chart of a phase with its events, seconds with failed requests, and warm-up."""
    from dataclasses import replace

    notes = [*_warm_up(chart, phase), *_failures(chart, phase), *_events(chart, phase)]
    return replace(chart, notes=(*chart.notes, *notes)) if notes else chart


def load_began(phase: PhaseResult) -> float:
    """When in the phase the load began whose windows it holds, in seconds."""
    return phase.load_began_s or 0.0


def _warm_up(chart: Chart, phase: PhaseResult) -> list[str]:
    times, warm = phase.windows.get("t_s") or [], phase.windows.get("warmup") or []
    last = max((t for t, n in zip(times, warm, strict=False) if n and t is not None), default=None)
    if last is None:
        return []
    from bokeh.models.annotations import BoxAnnotation

    began = load_began(phase)
    chart.figure.add_layout(
        BoxAnnotation(
            left=began, right=began + last + 1.0, fill_color=RULE, fill_alpha=0.15, line_alpha=0.0, level="underlay"
        )
    )
    return ["Shaded: the warm-up, to the second."]


def _failures(chart: Chart, phase: PhaseResult) -> list[str]:
    times, failed = phase.windows.get("t_s") or [], phase.windows.get("failed") or []
    seconds = [(n, t) for t, n in zip(times, failed, strict=False) if n and t is not None]
    if not seconds:
        return []
    began = load_began(phase)
    worst = sorted(seconds, reverse=True)[:MOST_FAILING]
    texts = [f"{n:g} failed" for n, _ in worst]
    _lines_across(chart, [began + t for _, t in worst], texts, colour=FAILED, dash="solid")
    more = f" (the worst {MOST_FAILING} of {len(seconds)})" if len(seconds) > MOST_FAILING else ""
    return [f"Red lines: seconds with failed requests{more}."]


def _events(chart: Chart, phase: PhaseResult) -> list[str]:
    some = phase.events[:MOST_EVENTS]
    if not some:
        return []
    _lines_across(chart, [one.t_s for one in some], [plain(one.text) for one in some], colour=RULE, dash="dotted")
    more = f" (the first {MOST_EVENTS} of {len(phase.events)})" if len(phase.events) > MOST_EVENTS else ""
    return [f"Dotted lines: events, listed below{more}."]


def _lines_across(chart: Chart, at: list[float], texts: list[str], *, colour: str, dash: str) -> None:
    from bokeh.models import ColumnDataSource

    from perfsuite.charts.plot import hover

    source = ColumnDataSource({"x": array(at), "text": texts})
    drawn = chart.figure.vspan(
        x="x", source=source, line_color=colour, line_dash=dash, line_alpha=0.8, line_width=1.4, level="underlay"
    )
    hover(chart.figure, [("at", "@x{0,0.0} s"), ("", "@text")], renderers=[drawn])
