"""``perfsuite history``: past runs listed, trended, what they predict, exported, and added from their files."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfsuite.analysis.judging import RunFigures
    from perfsuite.history.store import Group, History
    from perfsuite.plan import Criterion

ACTIONS = {
    "list": "the runs, the newest first",
    "trend": "how the figures of benchmarks (NAME…) went, by host and configuration",
    "predict": "what their next run will measure, and how often such predictions came true",
    "export": "every figure of every run, as rows",
    "add": "put results (FILE…) into it",
}


def configure(parser: ArgumentParser) -> None:
    """What to do, with which history."""
    from perfsuite.exports.forms import FORMS

    what = "; ".join(f"{name}: {text}" for name, text in ACTIONS.items())
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help=f"{what} [list]")
    parser.add_argument(
        "names", nargs="*", metavar="NAME|FILE", help="benchmarks for trend and predict, results for add"
    )
    parser.add_argument("--history", metavar="URL|FILE", help="the history [~/.local/share/perfsuite/history.db]")
    parser.add_argument("-n", "--limit", metavar="N", help="so many runs [20 to list, else 200]")
    parser.add_argument("--all-hosts", action="store_true", help="the groups of other hosts too, each on its own")
    parser.add_argument("--all", action="store_true", help="trend figures that decide nothing too")
    parser.add_argument("--ahead", metavar="N", help="predict the run so many ahead [1: the next]")
    parser.add_argument("--format", metavar="|".join(FORMS), default="csv", help="of export [csv]")
    parser.add_argument("-o", "--output", metavar="FILE", help="of export [stdout]")
    parser.add_argument("-v", "--verbose", action="store_true", help="list hosts and ids; show tracebacks")


def execute(arguments: Namespace) -> int:
    """Does what the action says."""
    from perfsuite.errors import UsageError, unknown
    from perfsuite.history.store import History

    if arguments.action not in ACTIONS:
        raise unknown("action", arguments.action, ACTIONS, "history")
    if arguments.names and arguments.action in ("list", "export"):
        raise UsageError(f"history {arguments.action} takes no {arguments.names[0]!r}; see perfsuite history --help")
    if arguments.action == "add" and not arguments.names:
        raise UsageError("history add: name the results to add")
    with History(place_of(arguments.history)) as history:
        if arguments.action != "add" and not history.exists:
            print(f"there is no history at {history.name} yet: perfsuite run makes one")
            return 0
        if arguments.action == "list":
            return _list(history, arguments)
        if arguments.action == "trend":
            return _trend(history, arguments)
        if arguments.action == "predict":
            return _predict(history, arguments)
        return _export(history, arguments) if arguments.action == "export" else _add(history, arguments)


def place_of(given: str | None) -> str | None:
    """The history's URL: the flag's, else that of the configuration, else None for the default.  Raises UsageError
    where it is off."""
    from perfsuite.configuration import configure
    from perfsuite.errors import UsageError

    found = configure({"history": given}).history
    if found is not None and found.off:
        raise UsageError("the history is off: name one with --history")
    return found.reveal() if found is not None else None


def _limit(arguments: Namespace, default: int) -> int:
    from perfsuite.units import parse_count

    return default if arguments.limit is None else parse_count(arguments.limit, "--limit", least=1, most=100_000)


def _list(history: History, arguments: Namespace) -> int:
    from perfsuite.cli.options import columns
    from perfsuite.cli.screen import put
    from perfsuite.reports.past import runs

    found = history.runs(_limit(arguments, 20))
    for line in runs(found, columns(), verbose=arguments.verbose):
        put(line)
    return 0


def _trend(history: History, arguments: Namespace) -> int:
    from perfsuite.analysis.trends import trends
    from perfsuite.cli.screen import put
    from perfsuite.reports import past

    for _, heading, runs in _asked(history, arguments):
        put(heading)
        for line in past.trends(trends(runs, gating=not arguments.all)):
            put(f"  {line}")
    return 0


def _predict(history: History, arguments: Namespace) -> int:
    from perfsuite.analysis.projection import project
    from perfsuite.cli.screen import put
    from perfsuite.reports import past
    from perfsuite.units import parse_count

    ahead = 1 if arguments.ahead is None else parse_count(arguments.ahead, "--ahead", least=1, most=1000)
    for group, heading, runs in _asked(history, arguments):
        put(heading)
        for line in past.projections(project(runs, ahead, _limits(group.benchmark)), len(runs)):
            put(f"  {line}")
    return 0


def _asked(history: History, arguments: Namespace) -> Iterator[tuple[Group, str, list[RunFigures]]]:
    """The groups that are asked for, with their headings and their runs, oldest first; then a line on what is left
    out."""
    from perfsuite.analysis.comparable import host_of
    from perfsuite.cli.screen import put
    from perfsuite.environment import environment
    from perfsuite.errors import unknown
    from perfsuite.history.store import host_key

    groups = history.groups()
    names = {group.benchmark for group in groups}
    for name in arguments.names:
        if name not in names:
            raise unknown("benchmark", name, names, history.name)
    here = host_key(host_of(environment(stamps="")))
    asked = [group for group in groups if not arguments.names or group.benchmark in arguments.names]
    shown = [group for group in asked if arguments.all_hosts or group.host_key == here]
    limit = _limit(arguments, 200)
    for group in shown:
        runs = history.series(group.benchmark, group.host_key, group.configuration_key, limit=limit)
        runs = [run for run in runs if run.figures]
        if runs:
            yield group, _heading(group, groups), runs
    others = len(asked) - len(shown)
    if others:
        put(f"{others} groups of other hosts are not shown: they compare with nothing here (--all-hosts shows them)")


def _limits(benchmark: str) -> dict[tuple[str, str], Criterion]:
    """What the criteria of a benchmark ask, by metric and statistic, as a run of it here and now would be judged; of
    one that cannot be run from here (its plan is elsewhere) nothing."""
    from perfsuite.configuration import configure
    from perfsuite.errors import UsageError

    try:
        phases = configure({"phase": [benchmark]}).phases
    except UsageError:
        return {}
    return {(one.metric, one.stat): one for phase in phases if phase.name == benchmark for one in phase.criteria}


def _heading(group: Group, groups: list[Group]) -> str:
    """What sets a group apart from others of its benchmark."""
    several = sum(one.benchmark == group.benchmark and one.host_key == group.host_key for one in groups) > 1
    text = f"{group.benchmark}   {group.host}, {group.runs} run{'s' if group.runs != 1 else ''}"
    if several:
        phase = group.configuration.get("phase")
        length = phase.get("duration_s") if isinstance(phase, dict) else None
        text += f", configuration {group.configuration_key[:8]}"
        text += f" (target {group.configuration.get('target')}, {length} s)" if length is not None else ""
    return text


def _export(history: History, arguments: Namespace) -> int:
    import io
    from pathlib import Path

    from perfsuite.exports.files import write_atomically
    from perfsuite.exports.forms import form, write_rows

    asked = form(arguments.format, "--format")
    if arguments.output is None:
        write_rows(history.export(), asked, sys.stdout)
        return 0
    text = io.StringIO()
    write_rows(history.export(), asked, text)
    print(write_atomically(Path(arguments.output), text.getvalue().encode("utf-8", "replace"), replace=True))
    return 0


def _add(history: History, arguments: Namespace) -> int:
    from perfsuite.cli.choosing import chosen
    from perfsuite.errors import Mistakes
    from perfsuite.result import load

    mistakes = Mistakes()
    added = known = 0
    for path in chosen(arguments.names, ()):
        with mistakes.noted():
            if history.record(load(path)):
                added += 1
            else:
                known += 1
    there = f", {known} were in it already" if known else ""
    print(f"{added} run{'s' if added != 1 else ''} added to {history.name}{there}")
    mistakes.check()
    return 0
