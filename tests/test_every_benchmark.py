"""`pytest benchmarks`: every contender that is installed, once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "tests/test_a.py"),
        (["--benchmark-only"], "benchmarks/test_b.py"),
        (["benchmarks"], "benchmarks/test_b.py"),
        (["tests", "--benchmark-only"], "tests/test_a.py"),
    ],
)
def test_benchmark_only_means_the_benchmarks(tmp_path: Path, arguments: list[str], found: str) -> None:
    """In a small project with this one's conftest.py and pyproject.toml."""
    root = BENCHMARKS.parent
    for name in ("conftest.py", "pyproject.toml"):
        (tmp_path / name).write_text((root / name).read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("tests/test_a.py", "benchmarks/test_b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("def test_it():\n    pass\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.stdout.splitlines()[0] == f"{found}::test_it", done.stdout + done.stderr
    assert "1 test collected" in done.stdout
