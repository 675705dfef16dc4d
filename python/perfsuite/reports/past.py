"""The history on a screen: runs, and how figures went.  Nothing here computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from perfsuite.analysis.forecast import FEWEST
from perfsuite.analysis.projection import within
from perfsuite.metric import labelled
from perfsuite.reports.figures import printable
from perfsuite.reports.tables import lines
from perfsuite.units import figure, goal, number

if TYPE_CHECKING:
    from perfsuite.analysis.projection import Projection, Reach
    from perfsuite.analysis.trends import FigureTrend
    from perfsuite.history.store import Past

BARS = "▁▂▃▄▅▆▇█"
MOST_BARS = 40
GAP = 2
NARROWEST = 10
COMPARED = "compare "
"""With which the benchmarks of a comparison begin, one for each system on each size or set."""


def runs(found: Sequence[Past], width: int, *, verbose: bool = False) -> Iterator[str]:
    """A table of runs, as wide as ``width`` where the names of benchmarks and targets can be shortened to that; of the
    hosts where there are several, or, like the runs' ids, where it is ``verbose``."""
    hosts = verbose or len({one.host.host for one in found}) > 1
    names = ("started", "verdict", "commit", *(["host"] if hosts else []), *(["id"] if verbose else []))
    rows = [names]
    rows += [
        (
            one.started[:16].replace("T", " "),
            one.verdict,
            _commit(one.commit),
            *([one.host.host] if hosts else []),
            *([one.id] if verbose else []),
        )
        for one in found
    ]
    left = width - sum(max(map(len, column)) + GAP for column in zip(*rows, strict=True)) - GAP
    longest = max((len(one.target) for one in found), default=0)
    target = min(longest, max(NARROWEST, left // 2))
    benchmarks = max(NARROWEST, left - max(target, len("target")))
    middle = [("benchmarks", "target")]
    middle += [(_benchmarks(list(one.benchmarks), benchmarks), _cut(one.target, target)) for one in found]
    yield from _table([(row[0], *two, *row[1:]) for row, two in zip(rows, middle, strict=True)])


def _benchmarks(names: list[str], width: int) -> str:
    """Their names, or the first ones and how many more; of a comparison how many systems took part."""
    systems = {name.partition(",")[0] for name in names if name.startswith(COMPARED)}
    shown = [name for name in names if not name.startswith(COMPARED)]
    if systems:
        shown.insert(0, f"compare {len(systems)} system{'s' if len(systems) != 1 else ''}")
    for kept in range(len(shown), 0, -1):
        text = " ".join(shown[:kept]) + (f" +{len(shown) - kept}" if kept < len(shown) else "")
        if len(text) <= width:
            return text
    return _cut(" ".join(shown), width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


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


def projections(found: Sequence[Projection], runs: int) -> Iterator[str]:
    """A table of what is expected of each figure, how such predictions did, and a line for what limits one."""
    if not found:
        yield f"nothing is predicted from {runs} run{'s' if runs != 1 else ''}: it takes {FEWEST}, of finite values"
        return
    ahead = found[0].ahead
    when = "next run" if ahead == 1 else f"{ahead} runs on"
    yield from _table([("figure", "runs", "newest", when, "95 %", "tried on its past"), *map(_projected, found)])
    for one in found:
        yield from (f"  {labelled(one.figure.metric, one.figure.stat)}: {line}" for line in _cautions(one))
    if ahead > runs:
        yield f"  EXTRAPOLATED: that is further ahead than the {_runs(runs)} go back"


def _projected(one: Projection) -> tuple[str, str, str, str, str, str]:
    unit = one.figure.unit
    past = "not tried: too few runs"
    if one.tried is not None:
        past = f"{one.tried.held} of {one.tried.made} held, off by {_off(one, one.tried.off)}"
    return (
        labelled(one.figure.metric, one.figure.stat),
        f"{one.runs}",
        figure(one.newest, unit),
        figure(one.value.estimate, unit),
        f"{figure(one.value.low, unit)} to {figure(one.value.high, unit)}",
        past,
    )


def _cautions(one: Projection) -> Iterator[str]:
    """What a prediction does not know, and when a drift leaves its limit."""
    if one.limit is not None and one.reach is not None:
        limit = f"{one.limit.comparison} {goal(one.limit.target, one.figure.unit)}"
        extrapolated = ": EXTRAPOLATED" if (one.reach.at or 0) > one.runs else ""
        yield f"it drifts, and leaves {limit} {_when(one.reach)}{extrapolated}"
    elif one.limit is not None and not within(one.value.estimate, one.limit):
        yield f"that is not {one.limit.comparison} {goal(one.limit.target, one.figure.unit)}"
    if one.steps:
        yield f"its level changed {_times(one.steps)} in {one.runs} runs; when it will again, nobody foresees"
    if one.tried is not None and one.tried.too_sure:
        yield f"too narrow: 19 in 20 of its past predictions were off by {_off(one, one.tried.most_off)} or less"


def _when(reach: Reach) -> str:
    if reach.at is None:
        return "not within ten times these runs" + (f"; at worst in {_runs(reach.earliest)}" if reach.earliest else "")
    if reach.at == 1:
        return "with the next run"
    latest = "more" if reach.latest is None else str(reach.latest)
    return f"in about {_runs(reach.at)} [{reach.earliest} to {latest}]"


def _off(one: Projection, off: float) -> str:
    return figure(off, one.figure.unit) if one.absolute else f"{number(off * 100.0, 2)} %"


def _runs(number: int) -> str:
    return f"{number} run{'s' if number != 1 else ''}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


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
    return "–" if commit is None else commit[:7] + ("+" if commit.endswith("+") else "")


def _percent(share: float) -> str:
    return f"{'+' if share > 0 else ''}{number(share * 100.0, 2)} %"
