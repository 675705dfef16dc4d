"""The soak, for some runs: what is left behind is found, and what is not is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks/soak.py"


def soaked(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--hours", "0", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=550, check=False)


@pytest.mark.parametrize("leak", ["files"])
def test_what_is_left_behind_is_found(leak: str) -> None:
    """Only the process that leaves it, and only the figure that it is."""
    done = soaked("--leak", leak)
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert ["runs", "open", "files"] in [line[:3] for line in lines if line[-1] == "GROWN"], done.stdout + done.stderr
    assert {line[0] for line in lines} == {"serve", "monitor", "runs", "all", "history"}
    assert all(line[-1] == "flat" for line in lines if "threads" in line or "temporary" in line), done.stdout
    assert done.returncode == 1


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import soak

    yield soak
    sys.modules.pop("soak")


@pytest.mark.parametrize(
    ("figure", "last", "status"),
    [
        ("resident MB", 9.0, 0),
        ("resident MB", 11.0, 1),
        ("open files", 5.0, 1),
        ("threads", 2.0, 1),
        ("temporary files", 2.0, 1),
        ("bytes a run", 20_000.0, 1),
    ],
)
def test_what_grows_fails(soak: Any, capsys: pytest.CaptureFixture[str], figure: str, last: float, status: int) -> None:
    seen = {("runs", name): [5.0] * 100 for name in soak.MOST}
    seen["runs", figure] = [99.0] * 20 + [5.0] * 60 + [5.0 + last] * 20  # of what comes first nothing is said
    assert soak.tell(seen) == status
    said = [line for line in capsys.readouterr().out.splitlines() if line.endswith("GROWN")]
    assert len(said) == status
    assert all(figure in line for line in said)


def test_few_runs_say_nothing(soak: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert soak.tell({("runs", "threads"): [1.0] * 5}) == 1
    assert soak.tell({}) == 1
    assert "too few to see what grows" in capsys.readouterr().out
