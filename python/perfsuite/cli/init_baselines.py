"""``perfsuite init-baselines [FILE…]``: make baselines from results."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from perfsuite.history.baselines import Taken


def configure(parser: ArgumentParser) -> None:
    """Which results, and whether an older baseline may go."""
    from perfsuite.cli.choosing import add_results

    add_results(parser)
    parser.add_argument("--force", action="store_true", help="replace baselines that are there")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more; show tracebacks")


def execute(arguments: Namespace) -> int:
    """Writes one file for each benchmark; 1 when one was there already and stays."""
    from perfsuite.cli.choosing import chosen
    from perfsuite.errors import Mistakes, PerfsuiteError
    from perfsuite.exports.files import write_atomically
    from perfsuite.exports.places import make_folder
    from perfsuite.history.baselines import dump, make, place, read, take

    taken = take(chosen(arguments.files, arguments.output or ()))
    mistakes = Mistakes()
    kept: list[Path] = []
    for benchmark, runs in taken.items():
        with mistakes.noted():
            path = place(folder_of(runs), benchmark)
            if path.exists() and not arguments.force:
                kept.append(path)
                continue
            baseline = make(benchmark, runs)
            make_folder(path.parent, flag="")
            write_atomically(path, dump(baseline), replace=True)
            read(path)
            count = f"{len(runs)} run{'s' if len(runs) != 1 else ''}"
            print(f"{path}   {benchmark}: {count}, {len(baseline.figures)} figures")
    mistakes.check()
    if kept:
        names = ", ".join(map(str, kept))
        raise PerfsuiteError(f"{names}: there is a baseline already, and it stays; --force replaces it")
    return 0


def folder_of(runs: list[Taken]) -> Path:
    """Where the baseline of these runs is: beside the newest of them."""
    return runs[-1].path.parent
