"""``benchmarks/truth.py``: right figures pass; one that is off, or an interval without the truth, ends it with 1."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from perfsuite.result import MetricResult

PAGE = Path(__file__).parents[2] / "benchmarks" / "truth.py"


@pytest.fixture
def truth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("truth", PAGE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "truth", module)
    spec.loader.exec_module(module)
    return module


def ends(truth: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["truth.py", *arguments])
    code: int = truth.main()
    return code


def test_what_is_so_is_what_is_reported(
    truth: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "truth.md"
    assert ends(truth, monkeypatch, "--only", "recall", "--markdown", str(page)) == 0
    text = page.read_text("utf-8")
    assert "| facts found, of a system that says three of four | 75 % |" in text
    assert "| yes |" in text
    assert "OFF" not in capsys.readouterr().out


def test_a_system_that_is_not_what_it_says_is_found_out(
    truth: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def remembers_half(messages: list[dict[str, str]]) -> str:
        return str(truth.forgetful(messages)) if truth._draw.random() < 0.6 else "I do not know."

    original = truth.run
    monkeypatch.setattr(truth, "remembers_half", remembers_half, raising=False)
    monkeypatch.setattr(truth, "run", lambda phase, target, *more, **settings: original(
        phase, "remembers_half", *more, **settings))  # fmt: skip
    assert ends(truth, monkeypatch, "--only", "recall") == 1
    assert "OFF facts found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "interval", "good"),
    [(10.2, (9.0, 11.0), True), (12.0, (9.0, 13.0), False), (10.2, (10.1, 11.0), False), (None, None, False)],
)
def test_a_row_is_judged_by_its_error_and_by_its_interval(
    truth: ModuleType, value: float | None, interval: tuple[float, float] | None, good: bool
) -> None:
    found = MetricResult(name="ttft", unit="ms", kind="histogram", value=value, interval=interval, reason="nothing")
    assert truth.row("of 10 ms", 10.0, found, 0.05).good is good
