"""``perfsuite report FILE…``: the reports of results that are there already, and of the browser monitor's logs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perfsuite.realtime.logs import Logs
    from perfsuite.reports.beside import Beside
    from perfsuite.result import Result
    from perfsuite.suites.memory.comparison_result import Comparison

SCREEN = "terminal"


def configure(parser: ArgumentParser) -> None:
    """Files, a folder, formats."""
    from perfsuite.reports.formats import EXPORTS, REPORTS

    files = (
        "results-TS.json, of an interrupted run too, comparison_TS.json, or logs of the browser monitor, of which "
        "several sessions are held against the first"
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help=files)
    parser.add_argument("-o", "--output", metavar="DIR", help="folder for the reports [beside each result]")
    parser.add_argument(
        "-f",
        "--format",
        action="append",
        metavar="|".join([*REPORTS, SCREEN, *EXPORTS]),
        help="what to write: md and html are files, terminal is the screen of the run [these three]; the others are "
        "for other programs (repeatable)",
    )
    parser.add_argument("--against", metavar="FILE", help="an earlier result that the page is to compare each with")
    parser.add_argument("--history", metavar="URL|FILE", help="past runs over which the page is to show the figures")
    parser.add_argument(
        "--allow-different-host", action="store_true", help="compare with a result of another machine all the same"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks")


def execute(arguments: Namespace) -> int:
    """Renders each result; 2 when one of them cannot be read, but the others are rendered first."""
    from perfsuite.errors import Mistakes, unknown
    from perfsuite.realtime.logs import read
    from perfsuite.reports.formats import EXPORTS, REPORTS
    from perfsuite.result import load

    usual = (*REPORTS, SCREEN)
    known = (*usual, *EXPORTS)
    for name in arguments.format or ():
        if name not in known:
            raise unknown("format", name, known, "--format")
    formats = tuple(arguments.format or usual)
    mistakes = Mistakes()
    sessions: list[tuple[Path, Logs]] = []
    for name in arguments.files:
        with mistakes.noted():
            path = Path(name)
            folder = Path(arguments.output) if arguments.output else path.parent
            logs = read(path)
            comparison = compared(path) if logs is None else None
            if logs is not None:
                sessions.append((path, logs))
                render_session(logs, path, folder, formats)
            elif comparison is not None:
                render_comparison(comparison, path, folder, formats)
            else:
                result = load(path)
                beside = beside_of(result, arguments)
                render(result, path, folder, formats, verbose=arguments.verbose, beside=beside)
    for path, logs in sessions[1:]:
        folder = Path(arguments.output) if arguments.output else path.parent
        render_sessions(sessions[0], (path, logs), folder, formats)
    mistakes.check()
    return 0


def render_session(logs: Logs, path: Path, folder: Path, formats: tuple[str, ...]) -> None:
    """Writes the report of one session of a page."""
    from perfsuite.reports import sessions

    if SCREEN in formats:
        sys.stdout.write(sessions.terminal(logs))
    _write(folder, path.stem, formats, {"md": lambda: sessions.markdown(logs), "html": lambda: sessions.page(logs)})


def render_sessions(
    before: tuple[Path, Logs], after: tuple[Path, Logs], folder: Path, formats: tuple[str, ...]
) -> None:
    """Writes what changed from one session of a page to another."""
    from perfsuite.realtime.comparison import compare
    from perfsuite.reports import sessions

    found = compare(before[1], after[1])
    names = before[0].name, after[0].name
    if SCREEN in formats:
        sys.stdout.write("\n" + sessions.terminal_of_two(found, names))
    stem = f"{before[0].stem}-and-{after[0].stem}"
    made = {"md": lambda: sessions.markdown_of_two(found, names), "html": lambda: sessions.page_of_two(found, names)}
    _write(folder, stem, formats, made)


def _write(folder: Path, stem: str, formats: tuple[str, ...], made: Mapping[str, Callable[[], str]]) -> None:
    from perfsuite.errors import UsageError
    from perfsuite.exports.files import write_atomically
    from perfsuite.exports.places import make_folder

    for name in formats:
        if name in made:
            make_folder(folder)
            text = made[name]().encode("utf-8", "replace")
            print(write_atomically(folder / f"{stem}.{name}", text, replace=True))
        elif name != SCREEN:
            raise UsageError(f"--format {name}: the logs of a page are reported as {', '.join([*made, SCREEN])}")


def compared(path: Path) -> Comparison | None:
    """The comparison of memory systems that a file holds; None for any other file, and for none that can be read."""
    from perfsuite.suites.memory.comparison_result import parse

    if not path.is_file():
        return None
    try:
        return parse(path.read_bytes(), str(path))
    except OSError:
        return None  # what is wrong with it is said where it is read as a result


def render_comparison(comparison: Comparison, path: Path, folder: Path, formats: tuple[str, ...]) -> None:
    """Writes the reports of a comparison, in the place of those that are there."""
    from perfsuite.errors import UsageError
    from perfsuite.exports.files import write_atomically
    from perfsuite.exports.places import make_folder
    from perfsuite.reports.formats import COMPARISON
    from perfsuite.reports.systems.screen import terminal

    here = (*COMPARISON, SCREEN)
    if not set(formats) & set(here):
        raise UsageError(f"{path} compares memory systems: --format {formats[0]} is for runs; take {', '.join(here)}")
    make_folder(folder)
    if SCREEN in formats:
        from perfsuite.cli.screen import put

        put(terminal(comparison).rstrip("\n"))
    for name, one in COMPARISON.items():
        if name in formats:
            print(write_atomically(folder / f"{path.stem}.{name}", one.render(comparison), replace=True))


def beside_of(result: Result, arguments: Namespace) -> Beside | None:
    """What the flags ask to be set beside a result.  Raises UsageError for what cannot be compared with it."""
    if arguments.against is None and arguments.history is None:
        return None
    from dataclasses import replace

    from perfsuite.reports.beside import Beside

    found = Beside()
    if arguments.history is not None:
        from perfsuite.cli.history import place_of
        from perfsuite.history.past import past_of
        from perfsuite.history.store import History

        with History(place_of(arguments.history)) as history:
            found = replace(found, trends=past_of(history, result))
    if arguments.against is not None:
        from perfsuite.api import compare
        from perfsuite.result import load

        before = load(Path(arguments.against))
        judged = compare(before, result, allow_different_host=arguments.allow_different_host)
        found = replace(found, before=before, judgements=judged)
    return found


def render(
    result: Result,
    path: Path,
    folder: Path,
    formats: tuple[str, ...],
    *,
    verbose: bool,
    beside: Beside | None = None,
) -> None:
    """Writes the reports of one result; a report of that name is replaced, for it is made from the same figures."""
    from perfsuite.exports.files import write_atomically
    from perfsuite.exports.places import make_folder
    from perfsuite.reports import terminal
    from perfsuite.reports.formats import EXPORTS, reports_with, stem_of

    make_folder(folder)
    written = [
        write_atomically(one.path(folder, stem_of(path)), one.render(result), replace=True)
        for name, one in (reports_with(beside) | EXPORTS).items()
        if name in formats
    ]
    if SCREEN in formats:
        terminal.write(result, None, sys.stdout, verbose=verbose)
    for one in written:
        print(one)
