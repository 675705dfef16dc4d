"""`pytest benchmarks`: every contender that is installed, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_contender_runs(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # of xdist's worker
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(BENCHMARKS), "-q", "-p", "no:cacheprovider", "--benchmark-disable"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**own, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    ran = int(done.stdout.rpartition(" passed")[0].split()[-1])
    assert ran >= 40, "a contender each at least of ours: " + done.stdout[-500:]
