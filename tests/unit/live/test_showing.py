"""``run --live`` from outside: what a viewer sees is what the run then says."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from perfsuite._core import Events
from perfsuite.collectors import ProcessCollector
from perfsuite.configuration import configure
from perfsuite.exports.prometheus import CONTENT_TYPE, exposition
from perfsuite.live.showing import Showing, showing
from perfsuite.loadgen import LoadSpec
from perfsuite.pythonpath import VARIABLE, joined, package
from perfsuite.result import dump, parse
from perfsuite.runner import Progress
from perfsuite.suites.session import Stretch
from results_made import full

PATIENCE_S = 120.0


def url_of(said: str) -> str:
    """The page's address, in what is said of it."""
    found = re.search(r"live at (http://127\.0\.0\.1:\d+/)", said)
    assert found is not None
    return found[1]


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

    def broken_off() -> None:
        with showing(configure({"live": "127.0.0.1:0"}), said.append):
            stream = urllib.request.urlopen(f"{url_of(said[0])}stream", timeout=PATIENCE_S)
            first = json.loads(stream.readline()[6:])
            assert first["ended"] is None
            viewer.append(stream)
            raise ZeroDivisionError

    viewer: list[http.client.HTTPResponse] = []
    with pytest.raises(ZeroDivisionError):
        broken_off()
    with viewer[0] as stream:
        seen = [json.loads(line[6:]) for line in stream if line.startswith(b"data: ")]
    assert seen[-1]["ended"] == "The run was broken off."
    assert len(said) == 1


def test_the_measured_process_loads_no_server_and_no_charts(tmp_path: Path) -> None:
    """Their memory would be in that of a system that is measured in this process, and their work beside its own."""
    code = (
        "import sys, threading; from perfsuite.configuration import configure\n"
        "from perfsuite.live.showing import showing\n"
        "with showing(configure({'live': '127.0.0.1:0'}), print):\n"
        "    print({'bokeh', 'tornado'} & set(sys.modules), threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, VARIABLE: joined([package()])}, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "set() 1"


def test_the_server_is_no_part_of_what_is_measured() -> None:
    with showing(configure({"live": "127.0.0.1:0"}), lambda said: None) as page:
        assert page is not None
        everything, measured = ProcessCollector(), ProcessCollector(own={page.pid})
        assert everything.sample()["processes"] == measured.sample()["processes"] + 1


def test_the_figures_are_there_for_prometheus_while_the_run_lasts() -> None:
    said: list[str] = []
    plan = configure({"live": "127.0.0.1:0"}, environment={}, keywords=True)
    with showing(plan, said.append) as page:
        assert page is not None
        url = f"{url_of(said[0])}metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            assert answer.read() == b"", "nothing is there yet"
        result = full()
        page.save(result)
        deadline = time.monotonic() + PATIENCE_S
        got = b""
        while not got and time.monotonic() < deadline:  # until it has come there
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                assert answer.headers["Content-Type"] == CONTENT_TYPE
                got = answer.read()
        assert got == exposition(parse(dump(result)))


class Told:
    """A page that keeps what it is told."""

    pid = 1

    def __init__(self) -> None:
        self.viewers = 0
        self.parts: list[dict[str, Any]] = []

    def put(self, **parts: object) -> None:
        self.parts.append(parts)

    def end(self, said: str, **parts: object) -> None:
        self.parts.append({**parts, "ended": said})


def test_there_is_one_state_for_each_tick_of_a_load() -> None:
    told = Told()
    page = Showing(told)
    events = Events()
    far = Progress(phase="load", number=1, phases=1, share=0.5, remaining_s=3.0)
    page.progress(far)
    assert told.parts == [], "nobody looks"
    told.viewers = 1
    page.progress(far)
    assert len(told.parts) == 1
    stretch = Stretch("held", LoadSpec(duration_s=1.0, concurrency=1), events, {})
    page.watch(stretch)
    for tick in range(3):
        before = len(told.parts)
        page.progress(dataclasses.replace(far, share=tick / 4))
        page.watch(stretch)
        assert len(told.parts) == before + 1
        assert told.parts[-1]["progress"]["share"] == tick / 4
        assert told.parts[-1]["stretch"] == "held"
