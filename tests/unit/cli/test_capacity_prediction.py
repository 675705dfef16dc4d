"""``plan --predict``: from which result, in which words, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

import results_made
from perfsuite.analysis.capacity import Law
from perfsuite.cli import main
from perfsuite.result import MetricResult, PhaseResult, Result, dump

LAW = Law(0.05, 0.001, 0.00001)


def result(law: Law = LAW, levels: int = 7) -> Result:
    rows = [
        {"concurrency": float(1 << i), "throughput": law.throughput(1 << i), "error": 0.02,
         "latencies_ms": {"response_time p95": 1.3e3 * law.response_s(1 << i)}}
        for i in range(levels)
    ]  # fmt: skip
    metrics = [
        MetricResult(name="peak_throughput", unit="1/s", kind="gauge", value=law.peak, details={"levels": rows}),
        MetricResult(
            name="response_time", unit="ms", kind="histogram", stat="p95", comparison="<", target=500.0, value=1.0
        ),
        MetricResult(name="capacity_error", unit="ratio", kind="gauge", value=0.04),
    ]
    phase = PhaseResult(name="capacity", verdict="passed", metrics=metrics)
    return Result(run=results_made.run(), environment=results_made.environment(), phases=[phase])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test-results").mkdir()
    (tmp_path / "test-results" / "results-20260101_000000.json").write_bytes(dump(result()))
    return tmp_path


def test_it_goes_by_the_newest_result_with_a_capacity(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "test-results" / "results-20260102_000000.json").write_text("{")
    (folder / "test-results" / "results-20260103_000000.json").write_bytes(dump(results_made.full()))
    assert main(["plan", "--predict", "32"]) == 0
    text = capsys.readouterr().out
    assert "32 users" in text
    assert "results-20260101_000000.json" in text
    assert "response_time p95" in text
    assert "within 500 ms" in text
    assert "error of the model: 4 %" in text
    assert "EXTRAPOLATED" not in text


def test_it_says_where_it_extrapolates(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--predict", "256"]) == 0
    text = capsys.readouterr().out
    assert "EXTRAPOLATED: 4 times as many" in text
    assert "beyond 500 ms" in text
    assert main(["plan", "--predict", "256", "--think", "10s", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["think_s"] == 10.0
    assert found["times_beyond"] < 1.0
    assert found["throughput"]["low"] <= found["throughput"]["value"] <= found["throughput"]["high"]


def test_a_limit_that_is_met_at_any_load_bounds_no_users(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "flat.json").write_bytes(dump(result(Law(0.05, 0.0, 0.0))))
    assert main(["plan", "--predict", "32", "--result", "flat.json"]) == 0
    assert "within the criteria" not in capsys.readouterr().out


@pytest.mark.parametrize("users", ["0", "-3", "many", "nan", "inf", "1e12", ""])
def test_what_is_no_number_of_users(users: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", f"--predict={users}"]) == 2
    assert "is no number of users" in capsys.readouterr().err


def test_nothing_to_predict_from(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--predict", "5", "-o", "elsewhere"]) == 2
    assert "perfsuite run capacity" in capsys.readouterr().err
    (folder / "few.json").write_bytes(dump(result(levels=3)))
    assert main(["plan", "--predict", "5", "--result", "few.json"]) == 2
    assert "too few levels" in capsys.readouterr().err
    (folder / "none.json").write_bytes(dump(msgspec.structs.replace(results_made.full())))
    assert main(["plan", "--predict", "5", "--result", "none.json"]) == 2
    assert "no measured capacity" in capsys.readouterr().err
