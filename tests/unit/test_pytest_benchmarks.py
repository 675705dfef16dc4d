"""benchmarks/pytest_benchmarks.py by the commands of the document."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        str(FOLDER / "pytest_benchmarks.py"),
        "-p",
        "no:cacheprovider",
        *arguments,
    ]
    path = os.pathsep.join(entry for entry in sys.path if entry)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # of xdist's worker
    environment = {**own, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)


def test_latency_alone_each_call_once(tmp_path: Path) -> None:
    done = run("-k", "latency", "-v", "--benchmark-disable", folder=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "test_store_latency[reference] PASSED" in done.stdout
    assert "test_recall_latency[fts5] PASSED" in done.stdout
    assert "test_synthesize_latency[fts5] SKIPPED" in done.stdout
    assert "throughput" not in done.stdout.partition("collected")[2].partition("\n")[2]


def test_a_histogram(tmp_path: Path) -> None:
    for name in ("pygal", "pygaljs"):  # imported here, pygal would leave a finder of its own to all tests that follow
        if find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install '.[benchmark]'")
    done = run("-k", "recall and fts5", "--benchmark-only", "--benchmark-histogram", folder=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert len(list(tmp_path.glob("benchmark_*.svg"))) == 1
