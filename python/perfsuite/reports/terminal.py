"""The screen at the end of a run: the verdict, what was sent, the criteria worst first, and the files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from perfsuite.analysis.ranking import Placed, ordered, totals
from perfsuite.analysis.verdict import tally
from perfsuite.reports import checkpoint, database
from perfsuite.reports.figures import MetricRow, error_bar, error_bars, printable, requests, row_of
from perfsuite.reports.tables import folded, padded
from perfsuite.result import PhaseResult, Result
from perfsuite.units import number

MOST_ROWS = 24
NARROWEST = 40
MOST_WARNINGS = 3
MOST_ERRORS = 4
LONGEST_ERROR = 200
_COLOURS = {"passed": "32", "failed": "31;1", "undecided": "33", "interrupted": "33", "not measured": "35"}


def render(
    result: Result, files: Sequence[Path] = (), *, width: int = 100, colour: bool = False, verbose: bool = False
) -> str:
    """The screen as text, its last line ended.  ``verbose`` also lists what is informative or was not measured."""
    lines = [_headline(result, colour)]
    lines += [f"  simulated: {printable(text)}" for text in result.run.simulated]
    if result.run.profile == "quick":
        lines.append("  a quick run: enough to see that all works, too short for most intervals")
    if result.run.error is not None:
        lines.append(_paint("  ended by an error: ", "failed", colour) + printable(result.run.error))
    for phase in [phase for phase in result.phases if phase.requirements]:
        lines += ["", *checkpoint.summary(phase), ""]
    tabled = [phase for phase in result.phases if verbose or not phase.requirements]
    placed = [p for p in ordered(tabled) if p.metric.target is not None or verbose]
    if not verbose:
        placed = [p for p in placed if p.metric.verdict != "not measured"]
    several = len({p.phase for p in placed}) > 1
    rows = placed if verbose else placed[:MOST_ROWS]
    lines += _table(rows, several, width, colour)
    if len(rows) < len(placed):
        lines.append(f"  … and {len(placed) - len(rows)} more, no worse (--verbose lists them)")
    lines += [f"  {line}" for line in (*knees(result.phases), *capacities(result.phases))]
    lines += [f"  {line}" for phase in tabled for line in database.lines(phase) if not phase.requirements]
    counts = tally(p.metric for p in ordered(result.phases))
    text = str(counts) if any(counts) else "nothing was measured against a target"
    lines.append(text + (" (--verbose lists them)" if counts.not_measured and not verbose else ""))
    for phase in result.phases:
        if phase.verdict in ("failed", "not measured", "interrupted"):
            lines.append(
                f"  {printable(phase.name)} {_paint(phase.verdict, phase.verdict, colour)}: {_said(phase.reason)}"
            )
    lines += _errors(result, verbose)
    lines += _about_the_client(result, verbose)
    lines += [printable(str(path), 4096) for path in files]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _errors(result: Result, verbose: bool) -> list[str]:
    """What failed, most first, each kind with the first that was said of it unless the phase's reason says it."""
    found = [(phase, error) for phase in result.phases for error in phase.errors if error.kind != "cancelled"]
    found.sort(key=lambda pair: -pair[1].count)
    shown = found if verbose else found[:MOST_ERRORS]
    lines = []
    for phase, error in shown:
        first = error.first[0] if error.first and error.first[0] not in phase.reason else ""
        text = f": {printable(first, LONGEST_ERROR)}" if first else ""
        lines.append(f"  {printable(phase.name)} errors: {error.count:,} {printable(error.kind)}{text}")
    if len(shown) < len(found):
        lines.append(f"  … and {len(found) - len(shown)} more kinds of errors (--verbose lists them)")
    return lines


def _about_the_client(result: Result, verbose: bool) -> list[str]:
    """How far its figures may be off, where that is not known or ``verbose``, and what they may have suffered from."""
    unknown = [one for phase in result.phases for one in phase.error_bars if one.checked is None]
    texts = {error_bar(max(unknown, key=lambda one: (one.streams, one.chunks_per_s)))} if unknown else set()
    if verbose:
        texts = {text for phase in result.phases for text in error_bars(phase)}
    warnings = list(dict.fromkeys(text for phase in result.phases for text in phase.warnings))
    shown = warnings if verbose else warnings[:MOST_WARNINGS]
    lines = [f"  {text}" for text in sorted(texts)] + [f"  warning: {printable(text)}" for text in shown]
    if len(shown) < len(warnings):
        lines.append(f"  … and {len(warnings) - len(shown)} more warnings (--verbose lists them)")
    return lines


def write(result: Result, files: Sequence[Path] | None, stream: TextIO, *, verbose: bool = False) -> None:
    """Writes the screen to ``stream``, as wide as its terminal, coloured only on one (and not under NO_COLOR).

    What the stream's encoding cannot hold is written as an escape.
    """
    terminal = stream.isatty()
    width = shutil.get_terminal_size().columns if terminal else 100
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    text = render(result, files or (), width=width, colour=colour, verbose=verbose)
    if terminal:
        text = "".join(f"{part}\n" for line in text.splitlines() for part in folded(line, width))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))


def _headline(result: Result, colour: bool) -> str:
    sums = totals(result.phases)
    parts = [requests(sums)] if sums.sent or sums.warmup else []
    if sums.delivered is not None and sums.wanted is not None:
        parts.append(f"{number(sums.delivered)} of {number(sums.wanted)} requests/s delivered")
    verdict = _paint(result.verdict.upper(), result.verdict, colour)
    return f"{verdict}  {printable(result.run.target)}   {', '.join(parts)}"


def knees(phases: Iterable[PhaseResult]) -> Iterator[str]:
    """What a search for the highest rate found, a line for each phase that made one."""
    several = sum(phase.metric("max_rate") is not None for phase in phases) > 1
    for phase in phases:
        found = phase.metric("max_rate")
        if found is None or found.value is None:
            continue
        parts = [f"about {number(found.value, 2)} requests/s {row_of(found).interval or '[only so far tried]'}"]
        cpu, held = found.details.get("server_cpu_percent"), found.details.get("concurrency")
        if isinstance(held, int):
            parts.append(f"{held:,} in flight")
        if isinstance(cpu, float):
            parts.append(f"server CPU {number(cpu, 2)} %")
        enough_s, within = found.details.get("enough_s"), found.details.get("resolution")
        if isinstance(enough_s, float) and isinstance(within, float):
            parts.append(f"within {number(within * 100)} % with --duration {number(enough_s, 2)}s or so")
        yield f"{printable(phase.name) + '.' if several else ''}knee  {'; '.join(parts)}"


def capacities(phases: Iterable[PhaseResult]) -> Iterator[str]:
    """What a capacity model says, a line for each phase that fitted one."""
    named = (
        ("peak_throughput", "at most {} requests/s"),
        ("knee_concurrency", "knee at {} in flight"),
        ("capacity_concurrency", "within the criteria up to {}"),
    )
    for phase in phases:
        found = [(phase.metric(name), form) for name, form in named]
        parts = [
            form.format(f"{number(one.value, 3)} {row_of(one).interval}".strip())
            for one, form in found
            if one is not None and one.value is not None
        ]
        if parts:
            yield f"{printable(phase.name)}  {'; '.join(parts)}"


def _said(reason: str) -> str:
    return printable(reason) if reason else "no reason is known"


def _table(rows: Iterable[Placed], several: bool, width: int, colour: bool) -> list[str]:
    table = [(f"{printable(p.phase)}." if several else "", p.metric.verdict, row_of(p.metric)) for p in rows]
    if not table:
        return []
    cells = [_cells(prefix, row) for prefix, _, row in table]
    cells = padded(cells)
    widths = [*map(len, cells[0])]
    # The interval and the error go first where the screen is too narrow for all.
    kept = list(range(len(widths)))
    for dropped in (3, 2):
        if sum(widths[i] + 2 for i in kept) + 12 > max(width, NARROWEST):
            kept.remove(dropped)
    lines = []
    for (_, verdict, row), texts in zip(table, cells, strict=True):
        start = "  " + "".join(texts[i] + "  " for i in kept if widths[i])
        lines += _fit(start, row.verdict, verdict, width, colour)
    return lines


def _cells(prefix: str, row: MetricRow) -> list[str]:
    return [prefix + row.name, row.value or "–", row.interval, row.error, row.target]


def _fit(start: str, text: str, verdict: str, width: int, colour: bool) -> list[str]:
    """The row and its verdict; a reason that is too long goes on, indented, in lines of its own."""
    import textwrap

    room = max(width, NARROWEST) - len(start)
    if len(text) <= room:
        return [start + _paint(verdict, verdict, colour) + text[len(verdict) :]]
    rest = text[len(verdict) + 2 :]
    folded = textwrap.wrap(rest, max(width, NARROWEST) - 8) if rest else []
    return [start + _paint(verdict, verdict, colour), *("      " + line for line in folded)]


def _paint(text: str, verdict: str, colour: bool) -> str:
    return f"\x1b[{_COLOURS[verdict]}m{text}\x1b[0m" if colour and verdict in _COLOURS else text
