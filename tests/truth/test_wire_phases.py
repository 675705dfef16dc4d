"""The five phases over the wire, at the reference system as a server, and a run that is interrupted from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfsuite
import perfsuite.runner as runner
from perfsuite.configuration import configure
from perfsuite.result import Result

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(perfsuite.__file__).parents[1])}
COMMAND = [sys.executable, "-m", "perfsuite"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The reference system, with its two models, behind a URL."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--for", "120s"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    assert process.stdout is not None
    yield process.stdout.readline().decode().strip()
    process.terminate()
    process.communicate(timeout=20)


def test_the_five_phases_are_driven_over_the_wire(url: str) -> None:
    plan = configure({"target": url, "duration": "4s"}, folder=Path("/"), environment={})
    result: Result = asyncio.run(asyncio.wait_for(runner.execute_async(plan), 110))
    assert result.run.error is None
    assert "kernel" in result.environment.stamps
    assert [phase.name for phase in result.phases] == ["baseline", "cross-model", "load", "compression", "token"]
    for phase in result.phases[:3]:
        assert phase.unhandled == []
        assert phase.errors == []
        assert phase.delivered["completed"] == phase.delivered["requests"] > 0
        stretches = [row["stretch"] for row in phase.delivered["stretches"]]
        assert [row["stretch"] for row in phase.delivered["stamps"]] == stretches
        for row in phase.delivered["stamps"]:
            assert row["kernel_reads"] >= 0.9 * row["reads"] > 0
    baseline, crossing, load = result.phases[:3]
    for metric in ("response_time", "ttft", "itl", "tpot"):
        found = baseline.metric(metric)
        assert found is not None
        assert found.value is not None, (metric, found.reason)
    switch = crossing.metric("model_switch_time")
    assert switch is not None
    assert switch.value is not None, switch.reason
    assert load.delivered["max_in_flight"] >= 10
    held = load.delivered["stretches"][0]
    assert held["mean_in_flight"] > 9.0


def ask(url: str, method: str, path: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url + path, method=method), timeout=20) as answer:
        found: bytes = answer.read()
        return found


def wait_until_measured(url: str, process: subprocess.Popen[bytes]) -> None:
    """By the truth: requests have come for longer than the warm-up, a tenth of half of the run."""
    for _ in range(200):
        rows = [json.loads(line) for line in ask(url, "GET", "/truth").splitlines()[1:]]
        came = [row["received_ns"] for row in rows if row.get("received_ns")]
        if came and max(came) - min(came) > 2e9:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    raise AssertionError("no load came")


def test_an_interrupted_run_keeps_what_was_measured(url: str, tmp_path: Path) -> None:
    """Ctrl-C, while requests are in flight: they are awaited, the result says that the run was interrupted."""
    ask(url, "POST", "/truth/reset")
    command = [*COMMAND, "run", "load", "--target", url, "--duration", "20s", "--output", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    wait_until_measured(url, process)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, (out, errors)
    (path,) = tmp_path.glob("results-*.json")
    (phase,) = json.loads(path.read_text(encoding="utf-8"))["phases"]
    assert phase["verdict"] == "interrupted"
    assert phase["delivered"]["completed"] > 0
    assert phase["delivered"]["failed"] == 0
    assert phase["delivered"]["stretches"][-1]["ended"] == "stopped"
    assert b"Traceback" not in errors
