"""The client killed at random instants of a run: ``python benchmarks/kills.py [--kills 1000]``.

Each run measures the reference system for two short phases into a folder of its own and is killed by SIGKILL at an
instant that is drawn from the seed, somewhere between its start and a little after its result is written.  Whatever
result is in the folder then has to be readable, by ``perfsuite.load`` and by ``perfsuite report``, and the history that
all of them write has to be intact; one that is not ends this with 1, and its folder is kept.  The temporary folders of
the killed are gone after the next run.  Runs are forked from a process that has imported what they need, so that the
instants fall into what they do, and not into Python's start.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

import perfsuite
from forked import Forked, import_all
from perfsuite.cli import main as cli
from perfsuite.errors import PerfsuiteError

COMMAND = ("run", "baseline", "load", "--duration", "300ms")


def started(folder: Path) -> Forked:
    work = folder.parent
    variables = {"PERFSUITE_HISTORY": str(work / "history.db"), "TMPDIR": str(work / "tmp")}
    return Forked(lambda: cli([*COMMAND, "-o", str(folder)]), variables=variables)


def until_its_result_s(folder: Path) -> float:
    """How long it takes to its result when nobody kills it, page and history not counted; RuntimeError when there comes
    none."""
    began = time.monotonic()
    process = started(folder)
    took = None
    while process.poll() is None:
        if took is None and any("partial" not in path.name for path in found(folder)):
            took = time.monotonic() - began
        time.sleep(0.002)
    if took is None:
        raise RuntimeError(f"a run that nobody killed left no result in {folder} (exit code {process.poll()})")
    return took


def found(folder: Path) -> list[Path]:
    return sorted(folder.glob("results-*.json"))


def what_is_left(folder: Path) -> str:
    """In a word: ``nothing``, ``partial`` or ``whole``; PerfsuiteError where a result cannot be read."""
    left = "nothing"
    for path in found(folder):
        result = perfsuite.load(path)
        left = "partial" if "partial" in path.name else "whole"
        if result.phases:  # what is there can be looked at
            command = ["report", str(path), "-f", "md", "-o", str(folder / "again")]
            if (code := Forked(lambda command=command: cli(command)).wait()) != 0:  # type: ignore[misc]
                raise PerfsuiteError(f"report ends with {code}")
    return left


def intact(history: Path) -> bool:
    """Whether SQLite finds nothing wrong with it."""
    with contextlib.closing(sqlite3.connect(history)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="those that leave a result [1000]")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    work = Path(tempfile.mkdtemp(prefix="kills-"))
    (work / "tmp").mkdir()
    first = work / "first"
    import_all(lambda: cli([*COMMAND, "-o", str(first), "--history", "off"]), cwd=work)
    length = until_its_result_s(work / "unkilled")
    counts: collections.Counter[str] = collections.Counter()
    damaged: list[str] = []
    early = 0
    for number in itertools.count():
        if number - early == arguments.kills:
            break
        folder = work / f"run-{number}"
        folder.mkdir()
        process = started(folder)
        time.sleep(draw.uniform(0.0, 1.2 * length))
        alive = process.signal(signal.SIGKILL)
        process.wait()
        try:
            left = what_is_left(folder)
        except PerfsuiteError as error:
            damaged.append(f"{folder}: {error}")
            continue
        early += left == "nothing"
        counts[f"{'killed' if alive else 'ended by itself'}, {left}"] += 1
        shutil.rmtree(folder)
    until_its_result_s(work / "after")
    stale = [one.name for one in (work / "tmp").iterdir()]
    print(
        f"{arguments.kills} kills that came when something was measured, {early} before; a whole result takes "
        f"{length:.1f} s: " + "; ".join(f"{n} {what}" for what, n in sorted(counts.items()))
    )
    if not intact(work / "history.db"):
        damaged.append(f"{work / 'history.db'}: damaged")
    print(f"{arguments.kills - len(damaged)} results can be read, {len(damaged)} cannot")
    print(f"{len(stale)} temporary folders are left after the next run")
    for line in damaged + stale:
        print(f"  {line}")
    if not damaged and not stale:
        shutil.rmtree(work)
    return 1 if damaged or stale else 0


if __name__ == "__main__":
    sys.exit(main())
