"""Which result files are meant: names, patterns, or the newest in the output folders."""

from __future__ import annotations

import glob
import re
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from perfsuite.errors import Mistakes, UsageError

FOLDERS = ("test-results", "benchmark_results")
"""Where results are when nobody says otherwise: those of the phases, and of the memory suite."""
MOST_TRIED = 200
_STAMPED = re.compile(r"(?P<stem>.+?)[-_](?P<time>\d{8}_\d{6})(?P<counter>-\d+)?\.json")


def add_results(parser: ArgumentParser) -> None:
    """The arguments that say which results are meant: ``files`` and ``output``, for ``chosen``."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="results, or a pattern in quotes; several of one benchmark are several runs of it [the newest of each]",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        action="append",
        help="folder of the results, without FILE [test-results and benchmark_results] (repeatable)",
    )


def chosen(names: Sequence[str], folders: Sequence[str]) -> list[Path]:
    """The files that names and patterns stand for, each once; without names the newest ones of the folders.

    Raises UsageError with every name that stands for nothing."""
    if not names:
        return newest([Path(folder) for folder in folders or FOLDERS])
    mistakes = Mistakes()
    found: dict[Path, None] = {}
    for name in names:
        path = Path(name)
        if path.is_dir():
            mistakes.add(f"{name} is a directory: name the files in it, such as {path / '*.json'}")
        elif path.exists() or not glob.has_magic(name):
            found[path] = None
        else:
            matches = [Path(match) for match in sorted(glob.glob(name)) if _is_result(Path(match))]
            if not matches:
                mistakes.add(f"{name}: no result file has a name like that")
            found |= dict.fromkeys(matches)
    mistakes.check()
    return list(found)


def newest(folders: Sequence[Path]) -> list[Path]:
    """The newest result of each benchmark in the folders.  Raises UsageError when there is none."""
    found: list[Path] = []
    for folder in folders:
        by_stem: dict[str, list[tuple[str, int, Path]]] = {}
        for path in folder.glob("*.json"):
            match = _STAMPED.fullmatch(path.name)
            if match is not None and _is_result(path):
                when = (match["time"], int((match["counter"] or "-0")[1:]), path)
                by_stem.setdefault(match["stem"], []).append(when)
        for stem in sorted(by_stem):
            found += _newest_of_each(sorted(by_stem[stem], reverse=True))
    if not found:
        names = " or ".join(str(folder) for folder in folders)
        raise UsageError(f"there is no result in {names}: run a benchmark first, or name the files")
    return found


def _newest_of_each(files: list[tuple[str, int, Path]]) -> list[Path]:
    """Of one kind of file the newest of each benchmark: two runs need not have had the same phases."""
    from perfsuite.result import load

    seen: set[str] = set()
    found = []
    for _, _, path in files[:MOST_TRIED]:
        result = load(path)
        fresh = {phase.name for phase in result.phases} - seen
        if fresh and result.verdict != "interrupted":
            seen |= fresh
            found.append(path)
    return found


def _is_result(path: Path) -> bool:
    """Whether a file may be a whole result by its name: not a partial one, not what a comparison or a check wrote, and
    not the memory suite's, each of whose benchmarks has a file beside it."""
    others = ("selfcheck-", "ab-", "comparison_", "suite_", ".")
    return path.is_file() and not path.name.endswith(".partial.json") and not path.name.startswith(others)
