"""The whole of ``perfsuite run``, as a user types it: plan, probes, what is sampled beside, reports, history.

Its processor time is told in two parts: until its last request had ended, by its own result, and the rest of the
process, which is reports.  What it sends is not marked, so the truth beside it is of all requests, and its latencies,
which are of the open loop that follows the held one, are not set against it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

from report import arguments

LONGEST = "60s"
"""Of the phase: more than it takes; what is sampled beside it is looked at as often as in a run that takes so long."""


def main() -> None:
    from perfsuite.cli import main as perfsuite

    url, streams, rounds, tokens = arguments()
    os.environ["XDG_DATA_HOME"] = str(Path.cwd() / "data")  # a history of its own
    command = ["run", "load", "--target", f"{url}/v1", "--model", "paced", "--concurrency", str(streams)]
    command += ["--output-tokens", str(tokens), "--duration", LONGEST, "--max-requests", str(2 * streams * rounds)]
    with contextlib.redirect_stdout(io.StringIO()):
        perfsuite([*command, "--output", "results"])
    (path,) = Path("results").glob("results-*.json")
    delivered = json.loads(path.read_bytes())["phases"][0]["delivered"]
    cpu = delivered["client_cpu"]
    held = delivered["stretches"][0]
    told = {
        "tokens": cpu["tokens"],
        "held": held["max_in_flight"],
        "errors": delivered["failed"],
        "measuring_cpu_s": cpu["process_s"],
    }
    print(json.dumps(told))


main()
