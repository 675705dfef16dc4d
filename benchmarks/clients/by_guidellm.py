"""guidellm, as its command line is used.  Every request is measured.  Its inter-token latency is one mean for each
response."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from report import arguments
from words import PROMPT, missing, tokenizer

if find_spec("guidellm") is None:
    sys.exit(missing("guidellm"))

url, streams, rounds, tokens = arguments()
folder = Path.cwd()
requests = streams * rounds
row = json.dumps({"prompt": PROMPT, "output_tokens_count": tokens}) + "\n"
(folder / "prompts.jsonl").write_text(row * requests, encoding="utf-8")
subprocess.run(
    [
        Path(sys.executable).with_name("guidellm"), "run",
        "--backend", f"kind=openai_http,target={url},model=paced",
        "--data", f"kind=json_file,path={folder / 'prompts.jsonl'}",
        "--tokenizer", f"kind=huggingface_auto,model={tokenizer(folder / 'tokenizer')}",
        "--profile", f"kind=concurrent,streams={streams}",
        "--constraint", f"kind=max_requests,count={requests}",
        "--output", f"kind=json,path={folder / 'out.json'}",
        "--disable-console",
    ],
    check=True, stdout=subprocess.DEVNULL,
)  # fmt: skip
(found,) = json.loads((folder / "out.json").read_text(encoding="utf-8"))["benchmarks"]
metrics = found["metrics"]


def quantile(name: str, percentile: str) -> float:
    """Of the requests that succeeded, in ms."""
    return float(metrics[name]["successful"]["percentiles"][percentile])


print(
    json.dumps(
        {
            "ttft_p50": quantile("time_to_first_token_ms", "p50"),
            "ttft_p99": quantile("time_to_first_token_ms", "p99"),
            "itl_p50": quantile("inter_token_latency_ms", "p50"),
            "itl_p99": quantile("inter_token_latency_ms", "p99"),
            "tokens": metrics["output_token_count"]["successful"]["total_sum"],
            "held": round(metrics["request_concurrency"]["successful"]["max"]),
            "errors": metrics["request_totals"]["errored"],
            "marked": False,
        }
    )
)
