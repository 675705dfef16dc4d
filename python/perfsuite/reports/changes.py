"""What changed, for a terminal and for a pull request.  Nothing here computes: what is shown is in the judgements."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from perfsuite.metric import labelled
from perfsuite.reports.figures import printable
from perfsuite.reports.markdown import escape
from perfsuite.reports.tables import padded
from perfsuite.units import figure, number

if TYPE_CHECKING:
    from perfsuite.analysis.judging import Judgement
    from perfsuite.analysis.regression import Change, Verdict

STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
MANIFOLD = 10.0
"""Changes of so many times and more are not told apart."""


class Look(NamedTuple):
    """How a verdict is shown: the mark before its heading, and the terminal's colour."""

    mark: str
    colour: str


LOOKS: dict[Verdict, Look] = {
    "regressed": Look("🔴", "31;1"),
    "drifting": Look("🟠", "33;1"),
    "inconclusive": Look("⚪", "33"),
    "improved": Look("🟢", "32;1"),
    "ok": Look("🟢", "32"),
}
HEADER = ("figure", "before", "after", "change", "99 %", "p", "could have seen", "verdict")


def lines(judgements: Sequence[Judgement], *, colour: bool = False, verbose: bool = False) -> Iterator[str]:
    """The screen: each benchmark's verdict and the figures it rests on; ``verbose`` also those that decide nothing."""
    for judged in judgements:
        word = judged.verdict.upper()
        verdict = _paint(word, judged.verdict, colour)
        yield f"{verdict}  {printable(judged.benchmark)}   against {printable(judged.against)}"
        shown = judged.changes if verbose else _worth_showing(judged)
        cells = [_cells(change) for change in shown]
        for change, texts in zip(shown, padded(cells), strict=True):
            *before, said_of_it = texts
            said_of_it = _paint(said_of_it.rstrip(), change.verdict if change.figure.gates else None, colour)
            yield f"  {'  '.join(before)}  {said_of_it}".rstrip()
        if len(shown) < len(judged.changes):
            yield f"  … and {len(judged.changes) - len(shown)} figures that decide nothing (--verbose lists them)"
        for note in judged.notes:
            yield f"  {printable(note)}"


def markdown(title: str, judgements: Sequence[Judgement], notes: Sequence[str] = ()) -> str:
    """The summary for a pull request: one table of what decides, one folded away of what does not."""
    parts = [f"## {escape(title)}", ""]
    parts += [f"{escape(note)}\n" for note in notes]
    for judged in judgements:
        parts += [f"### {LOOKS[judged.verdict].mark} {escape(judged.benchmark)}: {judged.verdict}", ""]
        parts += [f"Against {escape(judged.against)}.", ""]
        parts += [f"- {escape(note)}" for note in judged.notes] + ([""] if judged.notes else [])
        if judged.gating:
            parts += [*_table(judged.gating), ""]
        others = [change for change in judged.changes if not change.figure.gates]
        if others:
            count = f"{len(others)} more figures, which decide nothing"
            parts += [f"<details><summary>{count}</summary>", "", *_table(others), "", "</details>", ""]
    if any(judged.gating for judged in judgements):
        parts.append(
            "A change is real at p < 0.01 (adjusted for all figures) and more than 3 %; “could have seen” is the least "
            "change that these runs would have shown four times in five."
        )
    return "\n".join(parts).rstrip() + "\n"


def rows(judged: Judgement) -> list[tuple[str, ...]]:
    """A judgement's figures for a table under HEADER: those that decide, or all where none does."""
    return [_cells(change) for change in _worth_showing(judged)]


def append_step_summary(text: str) -> Path | None:
    """Adds it to the page of a GitHub job, where there is one.  Raises OSError when that cannot be written."""
    name = os.environ.get(STEP_SUMMARY, "")
    if not name:
        return None
    path = Path(name)
    with path.open("a", encoding="utf-8", errors="replace") as file:
        file.write(text + "\n")
    return path


def said(change: Change) -> str:
    """A change in one line: ``response_time p50 84.2 ms → 92.9 ms, +10.3 %: regressed (warning)``."""
    name, before, after, share, interval, p, visible, verdict = _cells(change)
    extra = ", ".join(
        text for text in (share, interval, p and f"p {p}", visible and f"could have seen {visible}") if text
    )
    return f"{name} {before} → {after}{', ' + extra if extra else ''}: {verdict}"


def _worth_showing(judged: Judgement) -> list[Change]:
    return [change for change in judged.changes if change.figure.gates] or list(judged.changes)


def _table(changes: Sequence[Change]) -> Iterator[str]:
    yield "| " + " | ".join(HEADER) + " |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    for change in changes:
        *cells, verdict = (escape(text) for text in _cells(change))
        bold = change.figure.gates and change.verdict != "ok"
        yield "| " + " | ".join([*cells, f"**{verdict}**" if bold else verdict]) + " |"


def _cells(change: Change) -> tuple[str, ...]:
    one = change.figure
    interval = ""
    if change.low is not None and change.high is not None and change.low != change.high:
        less = 0.0 if change.absolute else 1.0
        interval = f"[{_percent(change.low - less)}, {_percent(change.high - less)}]"
    verdict: str = change.verdict if one.gates else "shown only"
    if change.severity is not None:
        verdict += f" ({change.severity})"
    if change.reason and one.gates:
        verdict += f": {change.reason}"
    return (
        printable(labelled(one.metric, one.stat)),
        figure(change.before, one.unit),
        figure(change.after, one.unit),
        "" if change.share is None else _percent(change.share) + (" points" if change.absolute else ""),
        interval,
        "" if change.p_value is None else _p(change.p_value),
        "" if change.smallest_visible is None else _visible(change.smallest_visible),
        printable(verdict),
    )


def _percent(share: float) -> str:
    return f"{share * 100.0:+.1f} %" if abs(share) < MANIFOLD else f"> +{MANIFOLD:.0%}".replace("%", " %")


def _visible(share: float) -> str:
    """A handful of runs that differ wildly would have seen nothing but the absurd."""
    return f"{number(share * 100.0, 2)} %" if share < MANIFOLD else f"> {MANIFOLD:.0%}".replace("%", " %")


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else number(value, 2)


def _paint(text: str, verdict: Verdict | None, colour: bool) -> str:
    return f"\x1b[{LOOKS[verdict].colour}m{text}\x1b[0m" if colour and verdict is not None else text
