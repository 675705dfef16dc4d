"""``run --live`` from outside: what a viewer sees is what the run then says."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from perfsuite._core import Events
from perfsuite.configuration import configure
from perfsuite.exports.prometheus import CONTENT_TYPE, exposition
from perfsuite.live.board import Board
from perfsuite.live.showing import Showing, showing
from perfsuite.loadgen import LoadSpec
from perfsuite.pythonpath import VARIABLE, joined, package
from perfsuite.result import dump, parse
from perfsuite.runner import Progress
from perfsuite.suites.session import Stretch
from results_made import full

PATIENCE_S = 120.0


def test_the_stream_of_a_run_is_its_own_figures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "perfsuite", "run", "--live", "load", "--duration=4s", "--concurrency=2"]
    run = subprocess.Popen(
        [*command, "-o", str(tmp_path), "--history=off"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, VARIABLE: joined([package()])},
    )  # fmt: skip
    try:
        assert run.stderr is not None
        found = re.search(r"live at (http://127\.0\.0\.1:\d+/)$", run.stderr.readline().strip())
        assert found is not None
        with urllib.request.urlopen(f"{found[1]}stream", timeout=PATIENCE_S) as stream:
            seen = [json.loads(line[6:]) for line in stream if line.startswith(b"data: ")]
        out, _ = run.communicate(timeout=PATIENCE_S)
    finally:
        run.kill()
        run.communicate()
    assert "metrics-" in out
    result = json.loads(next(tmp_path.glob("results-*.json")).read_text())
    last = seen[-1]
    assert last["verdict"] == result["run"]["verdict"]
    assert str(next(tmp_path.glob("metrics-*.html"))) in last["ended"]
    stretch = result["phases"][-1]["delivered"]["stretches"][-1]
    assert last["counts"]["completed"] == stretch["completed"]
    assert last["counts"]["failed"] == stretch["failed"]
    measured = {metric["name"]: metric for metric in result["phases"][-1]["metrics"]}
    assert last["table"][0][:2] == ["response_time", measured["response_time"]["samples"]]
    assert {row["name"].split()[0] for row in last["metrics"]} <= set(measured)
    pictures = [state["counts"]["completed"] for state in seen if state.get("stretch") == stretch["stretch"]]
    assert pictures == sorted(pictures)
    assert len(set(pictures)) > 3  # it moved while it ran
    assert [state["version"] for state in seen] == sorted({state["version"] for state in seen})


def test_no_page_where_none_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(configure({})) as page:
        assert page is None
    assert capsys.readouterr().err == ""


def test_a_run_that_is_broken_off_says_so() -> None:
    said: list[str] = []
    boards = []

    def broken_off() -> None:
        with showing(configure({"live": "127.0.0.1:0"}), said.append) as page:
            assert page is not None
            boards.append(page._board)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken_off()
    board = boards[0]
    assert said[0].startswith("live at http://127.0.0.1:")
    assert json.loads(board.text()[1])["ended"] == "The run was broken off."


def test_the_measured_process_does_not_load_bokeh(tmp_path: Path) -> None:
    """Its tens of megabytes would be in the memory of a system that is measured in this process."""
    code = (
        "import sys; from perfsuite.configuration import configure; from perfsuite.live.showing import showing\n"
        "with showing(configure({'live': '127.0.0.1:0'}), print): print('bokeh' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, VARIABLE: joined([package()])}, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"


def test_the_figures_are_there_for_prometheus_while_the_run_lasts() -> None:
    urls: list[str] = []
    plan = configure({"live": "127.0.0.1:0"}, environment={}, keywords=True)
    with showing(plan, urls.append) as page:
        assert page is not None
        url = re.sub(r".*(http://\S+?)/? .*|.*(http://\S+?)/?$", r"\1\2", urls[0]) + "/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            assert answer.read() == b"", "nothing is there yet"
        for result in (full(), parse(dump(full()))):
            page.save(result)
            with urllib.request.urlopen(url, timeout=60) as answer:
                assert answer.headers["Content-Type"] == CONTENT_TYPE
                assert answer.read() == exposition(result)


def test_prometheus_is_told_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    plan = configure({"live": "127.0.0.1:0"}, environment={}, keywords=True)
    with showing(plan, urls.append):
        url = re.sub(r".*(http://\S+?)/? .*|.*(http://\S+?)/?$", r"\1\2", urls[0]) + "/metrics"
        with pytest.raises(urllib.error.HTTPError, match="501") as refused:
            urllib.request.urlopen(url, timeout=60)
        assert b"perfsuite[prometheus]" in refused.value.read()
        refused.value.close()


def test_there_is_one_state_for_each_tick_of_a_load() -> None:
    board = Board()
    page = Showing(board)
    events = Events()
    far = Progress(phase="load", number=1, phases=1, share=0.5, remaining_s=3.0)
    page.progress(far)
    assert board.text()[0] == 1, "nobody looks"
    board.viewers = 1
    page.progress(far)
    assert board.text()[0] == 2
    stretch = Stretch("held", LoadSpec(duration_s=1.0, concurrency=1), events, {})
    page.watch(stretch)
    for tick in range(3):
        before = board.text()[0]
        page.progress(dataclasses.replace(far, share=tick / 4))
        page.watch(stretch)
        version, text = board.text()
        assert version == before + 1
        assert json.loads(text)["progress"]["share"] == tick / 4
        assert json.loads(text)["stretch"] == "held"
