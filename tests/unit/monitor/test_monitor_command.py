"""``perfsuite monitor`` from outside: it outlives its target's death, and its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from perfsuite.cli import main
from perfsuite.cli.monitor import criterion_of, default_store
from perfsuite.errors import UsageError
from perfsuite.monitor.store import HOUR, Store
from perfsuite.pythonpath import VARIABLE, joined, package

PATIENCE_S = 120.0
State = dict[str, Any]


@contextmanager
def started(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command of perfsuite's, and the URL that is its first line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perfsuite", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=folder, env={**os.environ, VARIABLE: joined([package()])},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        yield process, url
    finally:
        process.kill()
        process.communicate()


def awaited(url: str, there: Callable[[State], bool]) -> State:
    """The first state of the page's stream that is as wanted."""
    with urllib.request.urlopen(f"{url}stream", timeout=PATIENCE_S) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                state: State = json.loads(line[6:])
                if there(state):
                    return state
    raise AssertionError("the stream ended before")


def alert_states(state: State) -> list[str]:
    return [alert["state"] for alert in state.get("alerts", [])]


def test_it_outlives_its_target_s_death_and_its_own(tmp_path: Path) -> None:
    served = ("serve", "--engine=paced", "--model=m:5:1", "--tokens=5")
    kept, log = tmp_path / "kept.db", tmp_path / "alerts.log"
    with started(tmp_path, *served) as (server, target):
        words = ("monitor", f"--target={target}", "--rate=5", "--window=6s", f"--store={kept}", f"--log={log}")
        with started(tmp_path, *words) as (watching, page):
            seen = awaited(page, lambda state: sum(state.get("recent", {}).get("ok", [])) >= 10)
            assert seen["counts"]["failed"] == 0
            healthy = awaited(page, lambda state: bool(state["hours"]["t_ms"]))
            assert healthy["hour_failures"]["failed"] == [0.0]
            server.kill()
            server.wait()
            gone = awaited(page, lambda state: alert_states(state) == ["firing"])
            assert gone["alerts"][0]["name"] == "error_rate"
            watching.kill()  # -9
            watching.wait()
        with started(tmp_path, *words) as (watching, page):
            again = awaited(page, lambda state: bool(state.get("hours", {}).get("t_ms")))
            share = again["hour_failures"]["failed"][-1]
            assert 0.0 < share < 100.0 or len(again["hours"]["t_ms"]) > 1  # of before its end
            assert alert_states(again) == ["firing"]
            with started(tmp_path, *served, f"--port={target.rpartition(':')[2]}"):
                awaited(page, lambda state: alert_states(state) == ["resolved"])
                watching.send_signal(signal.SIGTERM)
                assert watching.wait(PATIENCE_S) == 0
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(one["name"], one["state"]) for one in told] == [("error_rate", "firing"), ("error_rate", "resolved")]
    store = Store(kept, target, most_bytes=100 << 20)
    spans = store.spans(HOUR, 0.0)
    store.close()
    assert sum(span.ok for span in spans) >= 10
    assert sum(span.failed for span in spans) >= 3


def test_a_bounded_watch_of_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.db"
    assert main(["monitor", "--rate=20", "--duration=2s", f"--store={kept}"]) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
    store = Store(kept, "reference", most_bytes=100 << 20)
    assert sum(span.ok for span in store.spans(HOUR, 0.0)) > 0
    store.close()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--rate", "0"], "--rate"),
        (["-t", "tpot.p95<3ms"], "write error_rate<5%"),
        (["-t", "response_time.p95>3s"], "write error_rate<5%"),
        (["--webhook", "ftp://x"], "no http:// or https:// address"),
        (["--command", "rm -rf x"], "write the words as JSON"),
        (["--target", "refrence"], "did you mean reference"),
        (["--host", "0.0.0.0"], "others could reach it there"),
        (["--port", "70000"], "--host"),
        (["--disk", "much"], "--disk"),
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "--duration=1s", "--store", str(tmp_path / "kept.db"), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err


def test_thresholds() -> None:
    assert criterion_of("error_rate<1%").limit == pytest.approx(0.01)
    assert criterion_of("response_time.p99 <= 2s").name == "response_time p99"
    assert criterion_of("ttft.mean<500ms").limit == 500.0
    assert criterion_of("ttft<500ms").quantile == 0.95
    with pytest.raises(UsageError):
        criterion_of("error_rate.p95<1%")


def test_each_target_has_a_file_of_its_own() -> None:
    names = {default_store(target).name for target in ("http://a", "http://a/", "reference")}
    assert len(names) == 3
    assert all(name.endswith(".db") and "/" not in name for name in names)
