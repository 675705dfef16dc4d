"""Fuzzes every decoder for as long as asked, keeping what is found: ``python tests/fuzz/deep.py --seconds 600``.

The corpus grows in ``tests/fuzz/corpus/<name>``; what crashes is kept beside it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compilers import ROOT, build


def main() -> int:
    """Runs each fuzzer in turn; 0 when none found anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each fuzzer")
    parser.add_argument("--runs", type=int, default=-1, help="inputs for each fuzzer, -1: no bound")
    parser.add_argument("names", nargs="*", help="fuzzers, without fuzz_; none: all")
    arguments = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted((ROOT / "tests/fuzz").glob("fuzz_*.c")):
            name = source.stem.removeprefix("fuzz_")
            if arguments.names and name not in arguments.names:
                continue
            binary = Path(folder) / name
            build("clang", source, binary, "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-O2")
            corpus = ROOT / "tests/fuzz/corpus" / name
            corpus.mkdir(parents=True, exist_ok=True)
            command = [
                *(binary, f"-max_total_time={arguments.seconds}", f"-runs={arguments.runs}", "-timeout=10"),
                *("-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={corpus.parent}/{name}-", corpus),
            ]
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
            tail = [line for line in done.stderr.splitlines() if "executed_units" in line or "ERROR" in line]
            print(f"{name}: {'ok' if done.returncode == 0 else 'FOUND SOMETHING'} {' '.join(tail)}")
            if done.returncode:
                failed.append(name)
                print(done.stderr[-4000:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
