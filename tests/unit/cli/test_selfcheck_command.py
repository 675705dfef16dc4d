"""``perfsuite selfcheck``: what its flags ask for, and its table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checks_made import EXACT, a_check
from perfsuite.cli import main
from perfsuite.suites.selfcheck import checking


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What would have been checked; what comes of it is in ``checks``."""
    seen: dict[str, Any] = {"checks": [a_check()]}

    def run(conditions: Any, *, duration_s: float, say: Any) -> Iterator[Any]:
        seen["conditions"], seen["duration_s"] = conditions, duration_s
        yield from seen["checks"]

    monkeypatch.setattr(checking, "run", run)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return seen


def test_all_combinations_by_default(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selfcheck"]) == 0
    assert len(asked["conditions"]) == 16
    assert asked["duration_s"] == 2.5
    out = capsys.readouterr().out
    assert "wire, http, 128 streams, 1 token to a chunk" in out
    assert "0.004 / 0.020" in out
    assert "kernel" in out
    assert "within the limits" in out


def test_flags_choose(asked: dict[str, Any]) -> None:
    flags = [
        "--streams",
        "1,64",
        "--scheme",
        "http",
        "--tokens-per-chunk",
        "2",
        "--engine",
        "asyncio",
        "--duration",
        "1s",
    ]
    assert main(["selfcheck", *flags]) == 0
    found = [(one.engine, one.scheme, one.streams, one.tokens_per_chunk) for one in asked["conditions"]]
    assert found == [("asyncio", "http", 1, 2), ("asyncio", "http", 64, 2)]
    assert asked["duration_s"] == 1.0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--streams", "0"], "--streams"),
        (["--streams", "1,x"], "--streams"),
        (["--scheme", "ftp"], "ftp"),
        (["--engine", "curl"], "curl"),
        (["--tokens-per-chunk", "1000"], "--tokens-per-chunk"),
        (["--duration", "1ms"], "--duration"),
        (["--limit-p99", "soon"], "--limit-p99"),
        (["--limit-rate", "7"], "--limit-rate"),
        (["--json", "x"], "--json -"),
        (["--for-run", "nowhere.json"], "nowhere.json"),
        (["--for-run", "x.json", "--streams", "1"], "--for-run"),
    ],
)
def test_what_cannot_be_is_said(
    asked: dict[str, Any], flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["selfcheck", *flags]) == 2
    assert said in capsys.readouterr().err
    assert "conditions" not in asked


def test_what_is_beyond_the_limits_exits_with_3(
    asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    off = msgspec.structs.replace(a_check(), itl=msgspec.structs.replace(EXACT, p99=12.0), kernel=0.0)
    asked["checks"] = [a_check(streams=1), off]
    assert main(["selfcheck", "--limit-p99", "10ms"]) == 3
    out = capsys.readouterr().out
    assert "BEYOND  wire, http, 128 streams, 1 token to a chunk: itl p99 off by 12 ms, more than 10" in out
    assert "process" in out
    assert main(["selfcheck", "--limit-p99", "15ms", "--json", "-", "-o", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["limits"] == {"p50_ms": 1.0, "p99_ms": 15.0, "rate": 0.02}
    assert [one["load"]["streams"] for one in found["checks"]] == [1, 128]
    (file,) = (tmp_path / "out").iterdir()
    assert json.loads(file.read_bytes()) == found
