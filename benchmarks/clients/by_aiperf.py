"""aiperf, as its command line is used; what it tells is its own summary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from report import NOT_INSTALLED, arguments

command = Path(sys.executable).with_name("aiperf")
if not command.exists():
    print("pip install aiperf, in an environment of its own: --python aiperf=PATH")
    sys.exit(NOT_INSTALLED)

url, streams, rounds, tokens = arguments()
subprocess.run(
    [
        str(command), "profile", "--model", "paced", "--url", url, "--endpoint-type", "chat", "--streaming",
        "--concurrency", str(streams), "--request-count", str(streams * rounds), "--tokenizer", "builtin",
        "--synthetic-input-tokens-mean", "20", "--output-tokens-mean", str(tokens),
        "--artifact-dir", "artifacts", "--ui", "none",
    ],
    check=True, stdout=subprocess.DEVNULL,
)  # fmt: skip
found = json.loads(next(Path("artifacts").rglob("profile_export_aiperf.json")).read_text())
first, gap = found["time_to_first_token"], found["inter_token_latency"]
print(
    json.dumps(
        {
            "ttft_p50": first["p50"],
            "ttft_p99": first["p99"],
            "itl_p50": gap["p50"],
            "itl_p99": gap["p99"],
            "tokens": streams * rounds * tokens,
            "marked": False,
        }
    )
)
