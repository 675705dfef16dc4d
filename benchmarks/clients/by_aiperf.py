"""aiperf, as its command line is used.  Every request is measured.  Its inter-token latency is one mean for each
response, which is what it reports first."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from report import arguments
from words import PROMPT, missing, tokenizer

if find_spec("aiperf") is None:
    sys.exit(missing("aiperf"))

url, streams, rounds, tokens = arguments()
folder = Path.cwd()
(folder / "prompts.jsonl").write_text(json.dumps({"text": PROMPT}) + "\n", encoding="utf-8")
subprocess.run(
    [
        Path(sys.executable).with_name("aiperf"), "profile", "-m", "paced", "-u", url, "--endpoint-type", "chat",
        "--streaming", "--concurrency", str(streams), "--request-count", str(streams * rounds),
        "--extra-inputs", f"max_tokens:{tokens}", "--tokenizer", tokenizer(folder / "tokenizer"),
        "--input-file", folder / "prompts.jsonl", "--custom-dataset-type", "single_turn",
        "--output-artifact-dir", folder / "out", "--ui", "none",
    ],
    check=True, stdout=subprocess.DEVNULL,
)  # fmt: skip
found = json.loads((folder / "out" / "profile_export_aiperf.json").read_text(encoding="utf-8"))
first, between = found["time_to_first_token"], found["inter_token_latency"]
print(
    json.dumps(
        {
            "ttft_p50": first["p50"],
            "ttft_p99": first["p99"],
            "itl_p50": between["p50"],
            "itl_p99": between["p99"],
            "tokens": found["total_output_tokens"]["avg"],
            "held": round(found["effective_concurrency"]["max"]),
            "errors": streams * rounds - round(found["request_count"]["avg"]),
            "marked": False,
        }
    )
)
