"""Hours of use, and what they leave behind: ``python benchmarks/soak.py [--hours 4]``.

A ``perfsuite serve``, a ``perfsuite monitor`` that watches it, and a process that measures it by ``perfsuite.run`` over
and over, with reports and history, are looked at after each such run: resident memory, open files, threads, and what
lies in the folder for temporary files; of the history the bytes of each run.  A figure has grown by the middle of its
last fifth less that of its second.  Exit status 1: one grew by more than it may, or a run failed.

``--leak memory|files|threads|temporary|history`` leaves something behind at each run, and has to end with 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams import environment

LEAKS = ("memory", "files", "threads", "temporary", "history")
MOST = {"resident MB": 10.0, "open files": 4.0, "threads": 1.0, "temporary files": 1.0, "bytes a run": 16384.0}
"""By which a figure may grow: connections are still open now and then when they are looked at, and a database takes
whole pages, some with one run and some with another."""
LEAST_RUNS = 6
PATIENCE_S = 300.0
TOLD_EVERY_S = 600.0

Looks = dict[tuple[str, str], list[float]]
"""What was seen after each run, by process and figure."""


def work(url: str, folder: Path, leak: str | None) -> None:
    """The process that measures: a run for each line of stdin, each told by a line."""
    import perfsuite

    kept: list[object] = []
    for number, _ in enumerate(sys.stdin):
        result = perfsuite.run(
            ["baseline", "load"],
            target=url,
            duration="0.5s",
            concurrency=4,
            output=str(folder / f"results-{number}"),
            history=str(folder / "history.db"),
        )
        if result.run.error is not None:
            raise SystemExit(f"run {number} failed: {result.run.error}")
        if leak == "memory":
            kept.append(bytearray(4 << 20))
        elif leak == "files":
            kept += [open(os.devnull), open(os.devnull)]  # noqa: SIM115 - what is left open is the point
        elif leak == "threads":
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        elif leak == "temporary":
            kept.append(tempfile.mkdtemp())
        elif leak == "history":
            with (folder / "history.db-left").open("ab") as file:
                file.write(bytes(8192 * (number + 1)))
        print("done", flush=True)


def look(pid: int) -> dict[str, float]:
    """At a process, as the kernel tells; ProcessLookupError when it is gone."""
    place = Path(f"/proc/{pid}")
    try:
        resident = int((place / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return {
            "resident MB": resident / 2**20,
            "open files": float(len(list((place / "fd").iterdir()))),
            "threads": float(len(list((place / "task").iterdir()))),
        }
    except (FileNotFoundError, IndexError):
        raise ProcessLookupError(f"process {pid} is gone") from None


def bytes_of(folder: Path) -> float:
    """Of the history and what stands beside it."""
    return float(sum(path.stat().st_size for path in folder.glob("history.db*")))


@contextmanager
def started(name: str, *words: str, variables: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """One that goes on, and the first line of what it says."""
    process = subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        first = "" if name == "runs" else process.stdout.readline().strip()
        if process.poll() is not None:
            raise SystemExit(f"{name} ended at once with {process.returncode}")
        yield process, first
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdin.close()
        process.stdout.close()


def soak(length_s: float, runs: int, leak: str | None, folder: Path) -> Looks:
    """Runs for so long, and at least so many; Ctrl-C ends it with what was seen."""
    temporary = folder / "tmp"
    temporary.mkdir()
    variables = {**environment(), "TMPDIR": str(temporary), "XDG_DATA_HOME": str(folder / "data")}
    seen: Looks = {}
    serve = ("-m", "perfsuite", "serve", "--engine", "paced", "--model", "quick:5:1", "--tokens", "10", "--port", "0")
    with started("serve", *serve, variables=variables) as (server, url):
        monitor = ("-m", "perfsuite", "monitor", "--target", url, "--rate", "5", "--store", str(folder / "monitor.db"))
        own = (__file__, "--work", url, str(folder), *(("--leak", leak) if leak else ()))
        with (
            started("monitor", *monitor, variables=variables) as (watcher, _),
            started("runs", *own, variables=variables) as (worker, _),
        ):
            processes = {"serve": server.pid, "monitor": watcher.pid, "runs": worker.pid}
            began = told = time.monotonic()
            history = 0.0
            number = 0
            try:
                while number < runs or time.monotonic() - began < length_s:
                    run_once(worker, number)
                    shutil.rmtree(folder / f"results-{number}")
                    number += 1
                    for name, pid in processes.items():
                        for figure, value in look(pid).items():
                            seen.setdefault((name, figure), []).append(value)
                    seen.setdefault(("all", "temporary files"), []).append(float(len(list(temporary.iterdir()))))
                    held = bytes_of(folder)
                    seen.setdefault(("history", "bytes a run"), []).append(held - history)
                    history = held
                    if time.monotonic() - told > TOLD_EVERY_S:
                        told = time.monotonic()
                        print(f"{(told - began) / 3600.0:.1f} h, {number:,} runs", file=sys.stderr)
            except KeyboardInterrupt:
                print("interrupted: what was seen until then", file=sys.stderr)
    return seen


def run_once(worker: subprocess.Popen[str], number: int) -> None:
    """SystemExit when the run failed."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # what it said last tells
    if worker.stdout.readline() != "done\n":
        raise SystemExit(f"run {number} failed; the process that measures ended with {worker.wait(PATIENCE_S)}")


def growth(values: list[float], figure: str) -> tuple[float, float]:
    """At first and at last; of the history's bytes the mean, for a database grows by pages."""
    fifth = max(len(values) // 5, 1)
    middle = statistics.fmean if figure == "bytes a run" else statistics.median
    return middle(values[fifth : 2 * fifth]), middle(values[-fifth:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=LEAST_RUNS, help=f"at least so many, {LEAST_RUNS} or more")
    parser.add_argument("--leak", choices=LEAKS, help="leave that behind at each run, to see that it is found")
    parser.add_argument("--work", nargs=2, metavar=("URL", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work[0], Path(options.work[1]), options.leak)
        return 0
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        seen = soak(3600.0 * options.hours, max(options.runs, LEAST_RUNS), options.leak, Path(folder))
    return tell(seen)


def tell(seen: Looks) -> int:
    """Prints a row for each figure; 1 when one grew, or too little was seen."""
    count = min(map(len, seen.values()), default=0)
    print(f"{count:,} runs")
    if count < LEAST_RUNS:
        print(f"too few to see what grows: {LEAST_RUNS} or more")
        return 1
    grown = False
    for (name, figure), values in seen.items():
        first, last = growth(values, figure)
        bad = last - first > MOST[figure]
        grown |= bad
        print(f"{name:8} {figure:16} {first:10,.1f} {last:10,.1f} {last - first:+10.1f}  {'GROWN' if bad else 'flat'}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
