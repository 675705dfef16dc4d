"""Fuzzes every decoder for as long as asked, keeping what is found: ``python tests/fuzz/deep.py --seconds 600``.

The seeds are in ``tests/fuzz/corpus/<name>``.  What reaches new code is added to a corpus that grows from run to run in
``--corpus``; what crashes is kept beside it, and the exit code is 1.  A line for each decoder: inputs, inputs a second,
edges of code that they reached, and the corpus.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compilers import ROOT, build

GROWN = Path.home() / ".cache/perfsuite/fuzz"
LONGEST_S, LARGEST_MB = 10, 2048
SANITIZED = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def figures(said: str) -> str:
    """What libFuzzer says of a run, in a line; of one that ended early what it said."""
    ended = re.search(r"^#(\d+)\s+DONE\s+cov: (\d+) .*?corp: (\d+)/(\S+)", said, re.MULTILINE)
    rate = re.search(r"stat::average_exec_per_sec:\s+(\d+)", said)
    if ended is None:
        return "ended before its time"
    inputs, edges, kept, size = ended.groups()
    return f"{int(inputs):,} inputs, {int(rate[1]) if rate else 0:,}/s, {edges} edges, corpus {kept} ({size})"


def main() -> int:
    """Runs each fuzzer in turn; 0 when none found anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each fuzzer")
    parser.add_argument("--runs", type=int, default=-1, help="inputs for each fuzzer, -1: no bound")
    parser.add_argument("--corpus", type=Path, default=GROWN, help=f"where what is found is kept [{GROWN}]")
    parser.add_argument("names", nargs="*", help="fuzzers, without fuzz_; none: all")
    arguments = parser.parse_args()
    sources = {path.stem.removeprefix("fuzz_"): path for path in sorted((ROOT / "tests/fuzz").glob("fuzz_*.c"))}
    unknown = set(arguments.names) - set(sources)
    if unknown:
        parser.error(f"no such fuzzer: {', '.join(sorted(unknown))}; there are {', '.join(sources)}")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names or sources:
            binary = Path(folder) / name
            build(
                "clang",
                sources[name],
                binary,
                "-fsanitize=fuzzer,address,undefined",
                "-fno-sanitize-recover=all",
                "-O2",
            )
            corpus, seeds = (arguments.corpus / name).resolve(), ROOT / "tests/fuzz/corpus" / name
            corpus.mkdir(parents=True, exist_ok=True)
            command = [
                *(binary, f"-max_total_time={arguments.seconds}", f"-runs={arguments.runs}", f"-timeout={LONGEST_S}"),
                *(f"-rss_limit_mb={LARGEST_MB}", "-print_final_stats=1", f"-artifact_prefix={corpus.parent}/{name}-"),
                *(corpus, *([seeds] if seeds.is_dir() else [])),
            ]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
            print(f"{name}: {'FOUND SOMETHING' if done.returncode else 'ok'}, {figures(done.stderr)}", flush=True)
            if done.returncode:
                failed.append(name)
                print(done.stderr[-4000:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
