"""``perfsuite report FILE…``: the reports of results that are there already."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.result import Result
    from perfsuite.suites.memory.comparison_result import Comparison

SCREEN = "terminal"


def configure(parser: ArgumentParser) -> None:
    """Files, a folder, formats."""
    from perfsuite.reports.formats import EXPORTS, REPORTS

    files = "results-TS.json, of an interrupted run too, or comparison_TS.json"
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
    parser.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks")


def execute(arguments: Namespace) -> int:
    """Renders each result; 2 when one of them cannot be read, but the others are rendered first."""
    from perfsuite.errors import Mistakes, unknown
    from perfsuite.reports.formats import EXPORTS, REPORTS
    from perfsuite.result import load

    usual = (*REPORTS, SCREEN)
    known = (*usual, *EXPORTS)
    for name in arguments.format or ():
        if name not in known:
            raise unknown("format", name, known, "--format")
    formats = tuple(arguments.format or usual)
    mistakes = Mistakes()
    for name in arguments.files:
        with mistakes.noted():
            path = Path(name)
            folder = Path(arguments.output) if arguments.output else path.parent
            comparison = compared(path)
            if comparison is not None:
                render_comparison(comparison, path, folder, formats)
            else:
                render(load(path), path, folder, formats, verbose=arguments.verbose)
    mistakes.check()
    return 0


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
    from perfsuite.reports.comparison import terminal
    from perfsuite.reports.formats import COMPARISON

    here = (*COMPARISON, SCREEN)
    if not set(formats) & set(here):
        raise UsageError(f"{path} compares memory systems: --format {formats[0]} is for runs; take {', '.join(here)}")
    make_folder(folder)
    if SCREEN in formats:
        sys.stdout.write(terminal(comparison))
    for name, one in COMPARISON.items():
        if name in formats:
            print(write_atomically(folder / f"{path.stem}.{name}", one.render(comparison), replace=True))


def render(result: Result, path: Path, folder: Path, formats: tuple[str, ...], *, verbose: bool) -> None:
    """Writes the reports of one result; a report of that name is replaced, for it is made from the same figures."""
    from perfsuite.exports.files import write_atomically
    from perfsuite.exports.places import make_folder
    from perfsuite.reports import terminal
    from perfsuite.reports.formats import EXPORTS, REPORTS, stem_of

    make_folder(folder)
    written = [
        write_atomically(one.path(folder, stem_of(path)), one.render(result), replace=True)
        for name, one in (REPORTS | EXPORTS).items()
        if name in formats
    ]
    if SCREEN in formats:
        terminal.write(result, None, sys.stdout, verbose=verbose)
    for one in written:
        print(one)
