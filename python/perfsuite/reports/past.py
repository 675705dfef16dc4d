"""The history on a screen: runs, and how figures went.  Nothing here computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from perfsuite.metric import labelled
from perfsuite.reports.figures import printable
from perfsuite.reports.tables import lines
from perfsuite.units import figure, number

if TYPE_CHECKING:
    from perfsuite.analysis.trends import FigureTrend
    from perfsuite.history.store import Past

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 40


def runs(found: Sequence[Past]) -> Iterator[str]:
    """A table of runs."""
    rows = [("started", "benchmarks", "target", "commit", "host", "verdict", "id")]
    rows += [
        (
            one.started[:19].replace("T", " "),
            " ".join(one.benchmarks),
            one.target,
            _commit(one.commit),
            one.host.host,
            one.verdict,
            one.id,
        )
        for one in found
    ]
    yield from _table(rows)


def trends(found: Sequence[FigureTrend]) -> Iterator[str]:
    """A table of figures, and a line below it for each step."""
    yield from _table([("figure", "runs", "median", "newest", "", "course"), *map(course, found)])
    for one in found:
        for step in one.steps:
            name = labelled(one.figure.metric, one.figure.stat)
            yield f"  {name} {_percent(step.share)} since {step.started[:19].replace('T', ' ')} ({printable(step.run)})"


def course(one: FigureTrend) -> tuple[str, str, str, str, str, str]:
    """A figure's row: name, runs, median, newest, bars, course."""
    unit = one.figure.unit
    went = one.course + (f" {_percent(one.drift)}" if one.course == "drifting" else "")
    return (
        labelled(one.figure.metric, one.figure.stat),
        f"{len(one.values)}",
        figure(one.median, unit),
        figure(one.newest, unit),
        bars(one.values),
        went + ("; the newest is suspicious" if one.suspicious else ""),
    )


def bars(values: Sequence[float]) -> str:
    """The newest values, one character each, from the lowest to the highest of them."""
    shown = values[-MOST_BARS:]
    low, high = min(shown), max(shown)
    if high <= low:
        return BARS[0] * len(shown)
    return "".join(BARS[min(len(BARS) - 1, int((x - low) / (high - low) * len(BARS)))] for x in shown)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield from lines([[printable(cell) for cell in row] for row in rows])


def _commit(commit: str | None) -> str:
    return "–" if commit is None else commit[:10] + ("+" if commit.endswith("+") else "")


def _percent(share: float) -> str:
    return f"{'+' if share > 0 else ''}{number(share * 100.0, 2)} %"
