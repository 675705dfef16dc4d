"""--perfsuite-json and --perfsuite-baseline: what tests measured, kept and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from perfsuite.api import load
from perfsuite.errors import UsageError
from perfsuite.pytest_plugin import results
from plugged import PACKAGE, run

MEASURED = """
import os
import pytest

FACTOR = float(os.environ.get("FACTOR", 1))

def values(perf):
    for at in range(400):
        perf.record(FACTOR * (10 + at * 37 % 11 / 10))

@pytest.mark.slo(p95_ms=1000)
def test_fast(perf):
    values(perf)

def test_steady(perf):
    for at in range(400):
        perf.record(10 + at * 37 % 11 / 10)
    perf.check(p50_ms=11)

@pytest.mark.parametrize("path", ["a/b"])
def test_missed(perf, path):
    values(perf)
    perf.check(p50_ms=1)

def test_wrong(perf):
    values(perf)
    assert not "an answer"

def test_measures_nothing():
    pass
"""


def test_the_file_is_a_result(tmp_path: Path) -> None:
    done = run(tmp_path, MEASURED, "--perfsuite-json", "out.json")
    assert done.code == 1
    assert "written: out.json" in done.out
    found = load(tmp_path / "out.json")
    assert found.run.target == "pytest"
    verdicts = {phase.name.partition("::")[2]: phase.verdict for phase in found.phases}
    assert verdicts == {
        "test_fast": "passed", "test_steady": "passed", "test_missed[a.b]": "failed", "test_wrong": "failed"
    }  # fmt: skip
    assert found.run.verdict == "failed"
    metric = found.phase("test_it.py::test_fast").metric("response_time")
    assert metric is not None
    assert (metric.stat, metric.target, metric.comparison, metric.samples) == ("p95", 1000.0, "<", 400)
    histogram = metric.distribution()
    assert histogram is not None
    assert histogram.count == 400
    assert "an answer" in found.phase("test_it.py::test_wrong").unhandled[0]
    command = [sys.executable, "-m", "perfsuite", "report", str(tmp_path / "out.json")]
    told = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(PACKAGE)}, check=False)
    assert "test_fast" in told.stdout, told.stderr


@pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_workers_tell_who_started_them(tmp_path: Path) -> None:
    alone = run(tmp_path, MEASURED, "--perfsuite-json", "alone.json")
    several = run(tmp_path, MEASURED, "-n", "2", "--perfsuite-json", "out.json", plugins=("xdist", "perfsuite"))
    assert several.code == alone.code == 1
    names = [sorted(phase.name for phase in load(tmp_path / name).phases) for name in ("alone.json", "out.json")]
    assert names[0] == names[1]
    assert several.out.count("perfsuite: what was measured") == 2  # of the two that failed


def test_a_regression_fails_the_run_where_it_is_to(tmp_path: Path) -> None:
    only = ("-k", "fast or steady", "--perfsuite-baseline", "before.json")
    run(tmp_path, MEASURED, "--perfsuite-json", "before.json")
    slower = {"FACTOR": "2"}
    done = run(tmp_path, MEASURED, *only, environment=slower)
    assert done.code == 0
    assert "REGRESSED  test_it.py::test_fast" in done.out
    assert "test_steady" not in done.out.partition("REGRESSED")[2].partition("short test summary")[0]
    done = run(tmp_path, MEASURED, *only, "--perfsuite-fail-on-regression", environment=slower)
    assert done.code == 1
    assert all(outcome == "PASSED" for outcome, _ in done.outcomes.values())
    same = run(tmp_path, MEASURED, *only, "--perfsuite-fail-on-regression")
    assert same.code == 0
    assert "REGRESSED" not in same.out
    assert "against before.json: 2 " in same.out


def test_without_an_option_nothing_is_written(tmp_path: Path) -> None:
    run(tmp_path, MEASURED)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == [
        "pytest.ini",
        "test_it.py",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--perfsuite-baseline", "none.json"), "there is no baseline none.json: make one with --perfsuite-json"),
        (("--perfsuite-baseline", "test_it.py"), "test_it.py"),
        (("--perfsuite-json", "there/is/none.json"), "there is no folder there/is"),
        (("--perfsuite-fail-on-regression",), "needs --perfsuite-baseline FILE"),
    ],
)
def test_mistakes_are_named_before_any_test_runs(options: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = run(tmp_path, "import pathlib\ndef test_ran():\n    pathlib.Path('ran').touch()\n", *options)
    assert done.code == 4
    assert said in done.out
    assert "Traceback" not in done.out
    assert not (tmp_path / "ran").exists()


def test_a_baseline_of_another_host_is_refused_and_said(tmp_path: Path) -> None:
    run(tmp_path, MEASURED, "--perfsuite-json", "before.json")
    text = json.loads((tmp_path / "before.json").read_text())
    text["environment"]["host"] = "elsewhere"
    (tmp_path / "before.json").write_text(json.dumps(text))
    only = ("-k", "fast", "--perfsuite-baseline", "before.json")
    done = run(tmp_path, MEASURED, *only, environment={"FACTOR": "2"})
    assert "not compared" in done.out
    assert "elsewhere" in done.out
    assert "REGRESSED" not in done.out
    done = run(tmp_path, MEASURED, *only, "--perfsuite-allow-different-host", environment={"FACTOR": "2"})
    assert "REGRESSED" in done.out


def test_there_need_be_no_terminal(tmp_path: Path) -> None:
    done = run(tmp_path, MEASURED, "-p", "no:terminal", "--perfsuite-json", "out.json")
    assert done.code == 1, done.out
    assert len(load(tmp_path / "out.json").phases) == 4


BENCHMARK = """
import time

def test_wait(benchmark):
    benchmark.pedantic(time.sleep, args=(WAIT,), rounds=ROUNDS)
"""


def test_a_file_of_pytest_benchmark_is_a_baseline(tmp_path: Path) -> None:
    plugins = ("benchmark", "perfsuite")
    run(
        tmp_path,
        BENCHMARK.replace("WAIT", "0.001").replace("ROUNDS", "100"),
        "--benchmark-json",
        "before.json",
        plugins=plugins,
    )
    before = results.read(tmp_path / "before.json")
    assert [phase.name for phase in before.phases] == ["test_it.py::test_wait"]
    assert before.phases[0].metrics[0].samples == 100
    options = ("--perfsuite-baseline", "before.json", "--perfsuite-fail-on-regression")
    done = run(tmp_path, BENCHMARK.replace("WAIT", "0.1").replace("ROUNDS", "30"), *options, plugins=plugins)
    assert done.code == 1, done.out
    assert "REGRESSED  test_it.py::test_wait" in done.out
    document = json.loads((tmp_path / "before.json").read_text())
    del document["benchmarks"][0]["stats"]["data"]
    (tmp_path / "before.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="has no single times"):
        results.read(tmp_path / "before.json")
    document["benchmarks"][0] = {"stats": {"data": "abc"}}
    (tmp_path / "before.json").write_text(json.dumps(document))
    with pytest.raises(UsageError, match="is damaged"):
        results.read(tmp_path / "before.json")
