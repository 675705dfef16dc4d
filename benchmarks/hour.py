"""How much a long run's memory grows: ``python benchmarks/hour.py [--minutes 60] [--streams 512]``.

``perfsuite run load`` holds so many streams that ``perfsuite serve`` paces, in a process of its own whose resident
memory is looked at every second: the middle of what it was in the last tenth of its time, less the middle of the
minute that follows its first (of a shorter run: of the second tenth).  What the reports at the end take is not in it.
Exit status 1: it grew by more than MOST_MB, or a request failed.

Conversations become longer for as many answers as the workload's have turns, and what waits to be sent with them: an
hour of answers of 20 s is long enough to see that end, some minutes are not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from streams import environment, server

MOST_MB = 10.0
PATIENCE_S = 180.0
"""For what comes before and after the measured time."""


def resident_mb(pid: int) -> float | None:
    """Of a process; None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return None


def growth(looks: list[tuple[float, float]], length_s: float) -> tuple[float, float]:
    """MB at first and at last, of (seconds, MB) of a run of that length."""
    first_s = min(60.0, length_s / 10.0)
    return middle(looks, first_s, 2.0 * first_s), middle(looks, 0.9 * length_s, length_s)


def middle(looks: list[tuple[float, float]], start_s: float, end_s: float) -> float:
    """The median of what was seen then; on a machine that let nobody look then, what was seen nearest to it."""
    seen = [mb for at, mb in looks if start_s <= at < end_s]
    nearest = min(looks, key=lambda look: abs(look[0] - (start_s + end_s) / 2.0))
    return statistics.median(seen or [nearest[1]])


def measure(length_s: float, streams: int, tokens: int, gap_s: float) -> dict[str, Any]:
    """What a run held at first and at last, in MB, how many requests ended and failed in it, and the failures by kind,
    with their first texts."""
    looks: list[tuple[float, float]] = []
    with server(tokens, gap_s, length_s + 2.0 * PATIENCE_S) as url, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "perfsuite", "run", "load", "--target", f"{url}/v1", "--model", "paced"]
        command += ["--concurrency", str(streams), "--output-tokens", str(tokens), "--duration", f"{length_s:.0f}s"]
        own = {**environment(), "XDG_DATA_HOME": folder}  # a history of its own
        process = subprocess.Popen(
            [*command, "--output", folder], env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < length_s + PATIENCE_S:
                held = resident_mb(process.pid)
                if held is not None:
                    looks.append((time.monotonic() - began, held))
                time.sleep(min(1.0, length_s / 200.0))
        finally:
            process.kill()
            process.wait()
        results = list(Path(folder).glob("results-*.json"))
        if len(results) != 1:
            raise SystemExit(f"the run wrote no result; its exit status is {process.returncode}")
        phase = json.loads(results[0].read_bytes())["phases"][0]
    first, last = growth(looks, length_s)
    counts = {name: phase["delivered"][name] for name in ("completed", "failed")}
    return {"first": first, "last": last, **counts, "errors": phase["errors"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=100, help="of each answer")
    parser.add_argument("--gap", type=float, default=0.2, help="seconds from token to token, and to the first")
    options = parser.parse_args()
    found = measure(60.0 * options.minutes, options.streams, options.tokens, options.gap)
    grown = found["last"] - found["first"]
    print(f"{options.streams:,} streams for {options.minutes:g} minutes: ", end="")
    print(f"{found['completed']:,} requests completed, {found['failed']:,} failed")
    for kind in found["errors"]:
        print(f"  {kind['kind']}: {kind['count']:,}, such as {'; '.join(kind['first']) or 'no text'}")
    print(f"resident at first {found['first']:.1f} MB, at last {found['last']:.1f} MB: grown by {grown:.1f} MB")
    return 0 if grown <= MOST_MB and not found["failed"] and found["completed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
