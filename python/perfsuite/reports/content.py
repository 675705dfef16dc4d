"""What the Markdown and the HTML report both say, in the order in which they say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perfsuite.analysis.ranking import Placed, Totals, margin, ordered, totals, worst
from perfsuite.analysis.verdict import tally
from perfsuite.reports import checkpoint
from perfsuite.reports.figures import MetricRow, error_bars, printable, row_of
from perfsuite.result import ErrorCount, MetricResult, PhaseResult, Result
from perfsuite.units import figure, number

LONGEST_DETAIL = 400
Rows = list[tuple[MetricResult, MetricRow]]


@dataclass(frozen=True, slots=True)
class Place:
    """A metric somewhere, ready to be shown."""

    phase: str
    metric: MetricResult
    row: MetricRow
    margin: str


@dataclass(frozen=True, slots=True)
class PhaseContent:
    """A phase with its metrics sorted by what is said of them."""

    name: str
    title: str
    verdict: str
    reason: str
    duration_s: float
    criteria: Rows
    informative: Rows
    missing: Rows
    errors: list[ErrorCount]
    events: list[tuple[str, str]]
    unhandled: list[str]
    error_bars: list[str]
    warnings: list[str]
    load: str
    details: list[tuple[str, str]]
    tables: list[Table]
    summary: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A detail that is a list of rows."""

    title: str
    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True, slots=True)
class Content:
    """The whole report."""

    verdict: str
    tally: str
    totals: Totals
    failures: list[Place]
    worst: list[Place]
    phases: list[PhaseContent]
    environment: list[tuple[str, str]]


def content(result: Result) -> Content:
    """The report of a result."""
    counts = tally(placed.metric for placed in ordered(result.phases))
    failed = [p for p in ordered(result.phases) if p.metric.verdict == "failed"]
    return Content(
        verdict=result.verdict.upper(),
        tally=str(counts) if any(counts) else "Nothing was measured",
        totals=totals(result.phases),
        failures=[_place(p) for p in failed],
        worst=[_place(p) for p in worst(result.phases)],
        phases=[_phase(phase) for phase in result.phases],
        environment=list(_environment(result)),
    )


def _place(placed: Placed) -> Place:
    gap = margin(placed.metric)
    return Place(placed.phase, placed.metric, row_of(placed.metric), "" if gap is None else _percent(gap))


def _percent(gap: float) -> str:
    text = number(gap / 0.01, 2)
    return f"{'+' if gap > 0 else ''}{text} %".replace("∞ %", "∞")


def _phase(phase: PhaseResult) -> PhaseContent:
    rows = [(p.metric, row_of(p.metric)) for p in ordered([phase])]
    return PhaseContent(
        name=phase.name,
        title=phase.title,
        verdict=phase.verdict,
        reason=phase.reason,
        duration_s=phase.duration_s,
        criteria=[(m, row) for m, row in rows if m.target is not None and m.verdict != "not measured"],
        informative=[(m, row) for m, row in rows if m.target is None and m.verdict != "not measured"],
        missing=[(m, row) for m, row in rows if m.verdict == "not measured"],
        errors=phase.errors,
        events=[(figure(event.t_s, "s"), printable(event.text)) for event in phase.events],
        unhandled=phase.unhandled,
        error_bars=error_bars(phase),
        warnings=phase.warnings,
        load=_load(phase),
        details=[
            (f"{m.name}, {name}", printable(_said(value), LONGEST_DETAIL))
            for m in phase.metrics
            for name, value in m.details.items()
            if not _is_table(value)
        ],
        summary=checkpoint.summary(phase) if phase.requirements else [],
        tables=[
            _table(f"{m.name}, {name}", value)
            for m in phase.metrics
            for name, value in m.details.items()
            if _is_table(value)
        ]
        + [_table(name, value) for name, value in phase.delivered.items() if _is_table(value)],
    )


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _table(title: str, rows: list[Mapping[str, Any]]) -> Table:
    header = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[printable(_said(row.get(name)), LONGEST_DETAIL) for name in header] for row in rows]
    return Table(printable(title), [printable(name) for name in header], cells)


def _load(phase: PhaseResult) -> str:
    asked = [f"{name} {_said(value)}" for name, value in phase.requested.items() if value is not None]
    got = [
        f"{name} {_said(value)}"
        for name, value in phase.delivered.items()
        if value is not None and value != [] and not _is_table(value)
    ]
    return "; ".join(
        f"{head} {', '.join(texts)}" for head, texts in (("requested", asked), ("delivered", got)) if texts
    )


def _said(value: Any) -> str:
    """A detail as text: numbers short, lists and mappings in the order that they have."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value, 4)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_said(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(map(_said, value))
    return str(value)


def _environment(result: Result) -> Iterator[tuple[str, str]]:
    here = result.environment
    yield "host", here.host
    yield "system", here.os
    yield "processor", f"{here.cpu}, {here.cores} cores"
    yield "memory", figure(here.memory_bytes, "bytes")
    yield "Python", here.python
    yield "perfsuite", here.perfsuite + (f", commit {here.commit}" if here.commit else "")
    yield "clock", here.clock
    yield "times from", here.stamps
    if here.packages:
        yield "packages", ", ".join(f"{name} {version}" for name, version in here.packages.items())
