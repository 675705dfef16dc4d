"""Every hot path beside its peers, in one run: ``python benchmarks/peers.py [NAME…] [--headlines] [--markdown]``.

The contests are those of the ``benchmarks/test_*.py`` files, each of which may have:

- ``PEERS``: rows of a title and a function that builds the contenders, label → (call, operations in a call);
- ``GOALS``: title → label → how many times as long as ours the peer takes at least (below 1 where a peer is a floor,
  such as an empty call); with the label ``perfsuite``, the most nanoseconds that ours may take;
- ``FIGURES``: rows of a title, a unit, a function that gives label → figure, and the most that ours may be;
- ``missing``: label → why a peer is not there;
- ``close()``: ends what the contenders opened.

A machine that others use only ever adds to a time.  So each sample is short (1 ms, or one call), the
contenders take turns for as many rounds as fit in the time, and a contender's figure is its minimum; ``×`` is the
ratio of the minima, ``turns`` the median of the ratios taken turn by turn.  Where these two differ much, run it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import truediv
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent
OURS = "perfsuite"
SAMPLE_NS = 1_000_000
SECONDS = 2.0
LEAST_ROUNDS = 3
MOST_ROUNDS = 300
HEADLINES = (
    "record a value",
    "p99 of a million values",
    "limiter check",
    "LRU hit",
    "embedding of 384 floats, an entry",
    "trim to a token budget",
    "SSE event, stamped",
    "ROUGE-L",
    "interval of p99",
    "Mann–Whitney",
    "recall 5 of",
)
"""What the README begins with."""

Contenders = dict[str, tuple[Callable[[], object], int]]
Build = Callable[[], Contenders]
Clock = Callable[[], int]


@dataclass
class Row:
    """One contender's result."""

    label: str
    figure: float  # nanoseconds an operation, or the unit of the contest
    ratio: float  # to ours
    turns: float  # the same, as the median of the turns; equal to ratio for figures that are not times


@dataclass
class Contest:
    """One table of the output: the contenders' times, or a figure of each."""

    subject: str
    title: str
    unit: str = "ns"
    goals: dict[str, float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def own(self) -> float | None:
        """Our figure."""
        return next((row.figure for row in self.rows if row.label == OURS), None)

    def judged(self) -> Iterator[tuple[str, str]]:
        """(goal, "reached", "missed" or why it cannot be told)."""
        ratios = {row.label: row.ratio for row in self.rows}
        for label, goal in self.goals.items():
            if label == OURS:
                text = f"≤ {self.shown(goal)}"
            else:
                text = f"{label} ≥ {goal:,.4g}" if goal >= 1 else f"≤ {1 / goal:.3g} × {label}"
            if label not in ratios or self.own is None:
                yield text, "not measured"
            elif label == OURS:
                yield text, "reached" if self.own <= goal else "missed"
            else:
                yield text, "reached" if ratios[label] >= goal else "missed"

    def shown(self, figure: float | None) -> str:
        """A figure with its unit."""
        if figure is None:
            return "missing"
        return readable(figure) if self.unit == "ns" else f"{figure:,.4g} {self.unit}"


def timed(contenders: Contenders, seconds: float = SECONDS, clock: Clock = time.perf_counter_ns) -> list[Row]:
    """Runs all contenders turn by turn; the quickest first."""
    repeats: dict[str, int] = {}
    taken: dict[str, list[float]] = {label: [] for label in contenders}
    for label, (call, _) in contenders.items():
        call()  # whatever is done once is done here
        once = min(sample(call, 1, clock) for _ in range(2))
        repeats[label] = max(1, int(SAMPLE_NS / max(once, 1.0)))
    began = clock()
    share = seconds * 1e9 / len(contenders)
    for turn in range(MOST_ROUNDS):
        for label, (call, operations) in contenders.items():
            if turn >= LEAST_ROUNDS and sum(taken[label]) * repeats[label] * operations > share:
                continue  # a slow one has had its share; the quick ones go on
            taken[label].append(sample(call, repeats[label], clock) / operations)
        if turn >= LEAST_ROUNDS and clock() - began > seconds * 1e9:
            break
    return ranked(
        [
            Row(label, min(own), min(own) / min(taken[OURS]), statistics.median(map(truediv, own, taken[OURS])))
            for label, own in taken.items()
        ]
    )


def sample(call: Callable[[], object], repeats: int, clock: Clock) -> float:
    """Nanoseconds of one call, from `repeats` in a row."""
    turns = range(repeats)
    began = clock()
    for _ in turns:
        call()
    return (clock() - began) / repeats


def ranked(rows: list[Row]) -> list[Row]:
    """By figure, the lowest first."""
    return sorted(rows, key=lambda row: row.figure)


def measured(figures: dict[str, float]) -> list[Row]:
    """Figures that are not times, as rows."""
    own = figures.get(OURS, math.nan)
    ratios = {label: x / own if own else (math.inf if x else 1.0) for label, x in figures.items()}
    return ranked([Row(label, x, ratios[label], ratios[label]) for label, x in figures.items()])


def readable(nanoseconds: float) -> str:
    """A time with three figures."""
    for unit, size in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6)):
        if nanoseconds < 999.5 * size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds / 1e9:.3g} s"


def times(ratio: float) -> str:
    """A ratio with three figures, whatever its size."""
    return f"{float(f'{ratio:.3g}'):,.0f}" if ratio >= 1000 else f"{ratio:.3g}"


def modules() -> Iterator[tuple[str, ModuleType]]:
    """(subject, module) of every benchmark file; under names of their own, for tests have files of the same names."""
    for path in sorted(FOLDER.glob("test_*.py")):
        name = f"benchmark_{path.stem}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module  # before it runs: dataclasses look themselves up
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
        yield path.stem.removeprefix("test_"), sys.modules[name]


def contests(names: list[str] | None = None, seconds: float = SECONDS) -> Iterator[Contest]:
    """Measures one contest after the other: all, or those whose subject or title contains one of `names`."""

    def wanted(title: str) -> bool:
        return not names or any(name.lower() in f"{subject}: {title}".lower() for name in names)

    for subject, module in modules():
        goals: dict[str, dict[str, float]] = getattr(module, "GOALS", {})
        missing: dict[str, str] = getattr(module, "missing", {})
        for title, build in getattr(module, "PEERS", ()):
            if wanted(title):
                missing.clear()
                rows = timed(build(), seconds)
                getattr(module, "close", lambda: None)()
                yield Contest(subject, title, "ns", goals.get(title, {}), rows, dict(missing))
        for title, unit, measure, most in getattr(module, "FIGURES", ()):
            if wanted(title):
                missing.clear()
                yield Contest(subject, title, unit, {OURS: most}, measured(measure()), dict(missing))


def table(contest: Contest) -> Iterator[str]:
    """The lines of a contest, missing peers and goals at the end."""
    yield f"{contest.subject}: {contest.title}"
    for row in contest.rows:
        line = f"  {row.label:34} {contest.shown(row.figure):>10}"
        if row.label != OURS:
            line += f"  × {times(row.ratio):9}" + (f" turns {times(row.turns)}" if contest.unit == "ns" else "")
        yield line.rstrip()
    for label, reason in sorted(contest.missing.items()):
        yield f"  {label:34} {'missing':>10}  {reason}"
    for goal, verdict in contest.judged():
        yield f"  goal {goal}: {verdict}"


def markdown(contest: Contest) -> str:
    """A contest as one row of a table."""
    others = [f"{row.label} {times(row.ratio)}" for row in contest.rows if row.label != OURS]
    gone = [f"{label} missing" for label in sorted(contest.missing)]
    goals = [goal if verdict == "reached" else f"{goal}: **{verdict}**" for goal, verdict in contest.judged()]
    cells = (contest.title, contest.shown(contest.own), "; ".join(others + gone) or "—", "; ".join(goals) or "—")
    return "| " + " | ".join(cells) + " |"


HEADING = "| path | perfsuite | beside it, times ours | goal |\n| --- | --- | --- | --- |"


def main() -> int:
    """Prints a table for each contest, or one in Markdown with a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="contests whose subject or title contains one of these; none: all")
    parser.add_argument("--markdown", action="store_true", help="one table in Markdown, one line a contest")
    parser.add_argument("--headlines", action="store_true", help="only those that the README begins with")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for each contest (default %(default)s)")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(HEADING)
    found = False
    names = [*arguments.names, *(HEADLINES if arguments.headlines else ())]
    for contest in contests(names, arguments.seconds):
        found = True
        print(markdown(contest) if arguments.markdown else "\n".join(table(contest)) + "\n", flush=True)
    if not found:
        parser.error(f"no contest is named {' or '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
