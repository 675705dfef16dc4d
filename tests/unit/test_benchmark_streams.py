"""The benchmark of many streams: they are really held, and one that fails is told."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/streams.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")


@pytest.fixture
def streams() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_streams", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_are_held_at_once(streams: Any) -> None:
    found = streams.measure(20, 4, 0.3)
    assert (found["held"], found["completed"], found["failed"], found["examples"]) == (20, 20, 0, {})
    assert found["kb_each"] is None or found["kb_each"] >= 0.0
    assert found["cpu_ms_each"] > 0.0


GOOD = {"held": 9, "completed": 9, "failed": 0, "examples": {}, "kb_each": 2.5, "cpu_ms_each": 0.2}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({}, 0, "9 held at once, 0 failed\nmemory of a stream that waits: 2.5 KB"),
        ({"held": 8}, 1, "8 held at once"),
        ({"kb_each": 8.5}, 1, "8.5 KB"),
        ({"kb_each": None}, 1, "not seen"),
        ({"failed": 2, "completed": 7, "examples": {"reset": ["by peer"]}}, 1, "by peer"),
    ],
)
def test_what_falls_short_is_told(
    streams: Any,
    change: dict[str, Any],
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(streams, "measure", lambda *_: {**GOOD, **change})
    monkeypatch.setattr(sys, "argv", ["streams.py", "--streams", "9"])
    assert streams.main() == status
    assert words in capsys.readouterr().out
