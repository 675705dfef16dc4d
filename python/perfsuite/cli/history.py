"""``perfsuite history``: past runs listed, trended, exported, and added from their files."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.history.store import Group, History

ACTIONS = {
    "list": "the runs, the newest first",
    "trend": "how the figures of benchmarks (NAME…) went, by host and configuration",
    "export": "every figure of every run, as rows",
    "add": "put results (FILE…) into it",
}


def configure(parser: ArgumentParser) -> None:
    """What to do, with which history."""
    from perfsuite.exports.forms import FORMS

    what = "; ".join(f"{name}: {text}" for name, text in ACTIONS.items())
    parser.add_argument("action", nargs="?", default="list", metavar="ACTION", help=f"{what} [list]")
    parser.add_argument("names", nargs="*", metavar="NAME|FILE", help="benchmarks for trend, results for add")
    parser.add_argument("--history", metavar="URL|FILE", help="the history [~/.local/share/perfsuite/history.db]")
    parser.add_argument("-n", "--limit", metavar="N", help="so many runs [20 to list, 200 to trend]")
    parser.add_argument("--all-hosts", action="store_true", help="trend the groups of other hosts too, each on its own")
    parser.add_argument("--all", action="store_true", help="trend figures that decide nothing too")
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
    from perfsuite.analysis.comparable import host_of
    from perfsuite.analysis.trends import trends
    from perfsuite.cli.screen import put
    from perfsuite.environment import environment
    from perfsuite.errors import unknown
    from perfsuite.history.store import host_key
    from perfsuite.reports import past

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
        series = history.series(group.benchmark, group.host_key, group.configuration_key, limit=limit)
        series = [run for run in series if run.figures]
        if not series:
            continue
        put(_heading(group, groups))
        for line in past.trends(trends(series, gating=not arguments.all)):
            put(f"  {line}")
    others = len(asked) - len(shown)
    if others:
        put(f"{others} groups of other hosts are not shown: they compare with nothing here (--all-hosts shows them)")
    return 0


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
