"""The client killed at random instants of a run: ``python benchmarks/kills.py [--kills 1000]``.

Each run measures the reference system for two seconds into a folder of its own and is killed by SIGKILL at an instant
that is drawn from the seed, somewhere between its start and a little after its result is written.  Whatever result is
in the folder then has to be readable, by ``perfsuite.load`` and by ``perfsuite report``; one that is not ends this with
1, and its folder is kept.  The temporary folders of the killed are gone after the next run.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import perfsuite
from perfsuite.errors import PerfsuiteError

COMMAND = [sys.executable, "-m", "perfsuite", "run", "baseline", "load", "--duration", "1s"]
PATIENCE_S = 300.0


def started(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "-o", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PERFSUITE_HISTORY": str(folder / "history.db"), "TMPDIR": str(folder.parent / "tmp")},
    )


def until_its_result_s(folder: Path) -> float:
    """How long it takes to its result when nobody kills it, page and history not counted; RuntimeError when there comes
    none."""
    began = time.monotonic()
    process = started(folder)
    took = None
    while process.poll() is None:
        if took is None and any("partial" not in path.name for path in found(folder)):
            took = time.monotonic() - began
        time.sleep(0.02)
    if took is None:
        raise RuntimeError(f"a run that nobody killed left no result in {folder} (exit code {process.returncode})")
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
            subprocess.run(
                [sys.executable, "-m", "perfsuite", "report", str(path), "-f", "md", "-o", str(folder / "again")],
                check=True,
                capture_output=True,
                timeout=PATIENCE_S,
            )
    return left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    work = Path(tempfile.mkdtemp(prefix="kills-"))
    (work / "tmp").mkdir()
    length = until_its_result_s(work / "unkilled")
    counts: collections.Counter[str] = collections.Counter()
    damaged: list[str] = []
    for number in range(arguments.kills):
        folder = work / f"run-{number}"
        folder.mkdir()
        process = started(folder)
        time.sleep(draw.uniform(0.0, 1.2 * length))
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
        try:
            left = what_is_left(folder)
        except (PerfsuiteError, subprocess.CalledProcessError) as error:
            damaged.append(f"{folder}: {error}")
            continue
        counts[f"{'killed' if alive else 'ended by itself'}, {left}"] += 1
        shutil.rmtree(folder)
    until_its_result_s(work / "after")
    stale = [one.name for one in (work / "tmp").iterdir()]
    print(
        f"{arguments.kills} kills, a result takes {length:.1f} s: "
        + "; ".join(f"{n} {what}" for what, n in counts.items())
    )
    print(f"{len(damaged)} results could not be read; {len(stale)} temporary folders are left after the next run")
    for line in damaged + stale:
        print(f"  {line}")
    if not damaged and not stale:
        shutil.rmtree(work)
    return 1 if damaged or stale else 0


if __name__ == "__main__":
    sys.exit(main())
