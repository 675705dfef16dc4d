"""The benchmark of a long run's memory: it runs one, and what grows is told."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/hour.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")


@pytest.fixture
def hour(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))  # as of a script that is run
    spec = importlib.util.spec_from_file_location("benchmark_hour", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_is_looked_at(hour: Any) -> None:
    found = hour.measure(8.0, 4, 5, 0.02)
    assert found["completed"] > 4
    assert found["failed"] == 0
    assert found["errors"] == []
    assert found["first"] > 5.0
    assert found["last"] > 5.0


def test_growth_is_from_the_second_minute_to_the_last_tenth(hour: Any) -> None:
    looks = [(float(at), 20.0 + (30.0 if at < 60 else at / 100.0)) for at in range(700)]
    assert hour.growth(looks, 600.0) == (pytest.approx(20.895), pytest.approx(25.695))


def test_where_nobody_looked_the_nearest_look_stands(hour: Any) -> None:
    assert hour.growth([(1.0, 20.0), (90.0, 30.0), (400.0, 40.0)], 600.0) == (30.0, 40.0)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({}, 0, "at last 48.5 MB: grown by 8.5 MB"),
        ({"last": 50.5}, 1, "grown by 10.5 MB"),
        ({"failed": 1}, 1, "1 failed"),
        ({"failed": 2, "errors": [{"kind": "reset", "count": 2, "first": ["torn"]}]}, 1, "reset: 2, such as torn"),
        ({"completed": 0}, 1, "0 requests completed"),
    ],
)
def test_what_is_not_good_fails(
    hour: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    status: int,
    words: str,
) -> None:
    good = {"first": 40.0, "last": 48.5, "completed": 9, "failed": 0, "errors": []}
    monkeypatch.setattr(hour, "measure", lambda *_: {**good, **change})
    monkeypatch.setattr(sys, "argv", ["hour.py"])
    assert hour.main() == status
    assert words in capsys.readouterr().out
