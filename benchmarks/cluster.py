"""What two workers deliver, and whether their figures are those of one: ``python benchmarks/cluster.py [--workers 2]``.

``perfsuite serve`` answers after 50 ms, so that ten requests in flight are 200 a second and no more.  One process
drives ten; then ``--cluster local:2`` drives twenty, ten by each of its workers, with every request's row kept.  The
merged quantiles are held against those of one histogram of all these rows.  Exit status 1: the workers did not deliver
LEAST of what so many such processes would, a merged figure is another than that of the rows, or the shards took longer
than MOST_START_S to begin.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from streams import environment, server

ANSWER_S = 0.05
SLOTS = 10
LEAST = 0.95
MOST_START_S = 5.0
PATIENCE_S = 120.0
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def measure(workers: int, length_s: float, url: str, folder: Path) -> dict[str, Any]:
    """A run's result, of a closed loop of SLOTS by each worker; 0: by the process itself."""
    folder.mkdir()
    command = [sys.executable, "-m", "perfsuite", "run", "load", "--target", f"{url}/v1", "--model", "paced"]
    command += ["--concurrency", str(SLOTS * max(1, workers)), "--duration", f"{length_s:g}s", "--output", str(folder)]
    command += ["--json", "-", "--raw", str(folder / "rows.ndjson"), "--history", "off"]
    command += ["--cluster", f"local:{workers}"] if workers else []
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=length_s + PATIENCE_S, check=False, env=environment()
    )
    if done.returncode not in (0, 3):
        raise SystemExit(f"the run ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def closed_rate(result: dict[str, Any]) -> float:
    """Requests a second of the closed loop."""
    (loop,) = [one for one in result["phases"][0]["delivered"]["stretches"] if one["stretch"] == "held"]
    return float(loop["rate"])


def differing(result: dict[str, Any], rows: Path) -> list[str]:
    """Figures of the result that are not those of one histogram of the rows that it kept."""
    from perfsuite import Histogram

    # As the engine's own: see csrc/core/pfs_events.h.
    whole = Histogram(10)
    with rows.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            # The phase's latency is that of its second half, the open loop.
            if "/open/" in row["label"] and not row["warmup"] and row["status"] == "ok":
                whole.record((row["end_ns"] - row["due_ns"]) / 1e6)
    (shown,) = [one for one in result["phases"][0]["metrics"] if one["name"] == "response_time"]
    stats = shown["stats"]
    wrong = [
        f"{name}: {stats[name]} merged, {whole.quantile(q)} of the rows"
        for name, q in QUANTILES.items()
        if stats[name] is not None and stats[name] != whole.quantile(q)
    ]
    if shown["samples"] != whole.count:
        wrong.append(f"samples: {shown['samples']} merged, {whole.count} rows")
    return wrong


def start_s(result: dict[str, Any]) -> float:
    """At most so long the shards took to begin: what the run took besides its loads."""
    run = result["run"]
    took = datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["started"])
    loads = result["phases"][0]["delivered"]["stretches"]
    return took.total_seconds() - sum(one["duration_s"] for one in loads)


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run")
    arguments = parser.parse_args()
    with server(1, ANSWER_S) as url, tempfile.TemporaryDirectory() as folder:
        alone = measure(0, arguments.seconds, url, Path(folder, "alone"))
        spread = measure(arguments.workers, arguments.seconds, url, Path(folder, "spread"))
        wrong = differing(spread, Path(folder, "spread", "rows.ndjson"))
    one, all_of_them, begun = closed_rate(alone), closed_rate(spread), start_s(spread)
    print(f"one process, {SLOTS} in flight: {one:.1f} requests/s (at most {SLOTS / ANSWER_S:.0f})")
    print(f"{arguments.workers} workers, {SLOTS} in flight each: {all_of_them:.1f} requests/s")
    print(f"merged figures against one histogram of all rows: {'; '.join(wrong) or 'the same'}")
    print(f"the shards began, and the cluster ended, within {begun:.1f} s in all")
    short = all_of_them < LEAST * arguments.workers * one
    return int(short or bool(wrong) or begun > MOST_START_S)


if __name__ == "__main__":
    sys.exit(main())
