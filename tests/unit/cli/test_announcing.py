"""What a run against a network address says before it starts."""

from __future__ import annotations

import re

import pytest

from perfsuite.cli import main
from perfsuite.cli.announcing import announcement
from perfsuite.configuration import configure
from played import Played

URL = "http://127.0.0.1:1"


def said(**flags: object) -> tuple[int, int, str]:
    """(requests, tokens, the line)"""
    line = announcement(configure({"target": URL, **flags}, environment={}))
    assert line is not None
    found = re.search(r"about ([\d,]+) requests and ([\d,]+) tokens", line)
    assert found is not None, line
    requests, tokens = (int(text.replace(",", "")) for text in found.groups())
    return requests, tokens, line


def test_requests_and_tokens_follow_the_plan() -> None:
    requests, tokens, line = said(
        phase=["load"], duration="60s", concurrency="5", prompt_tokens="50", output_tokens="50"
    )
    assert (requests, tokens) == (300, 30_000)
    assert "--max-requests and --max-tokens bound it" in line
    assert said(phase=["load"], duration="60s", rate="2")[0] == 120
    assert said(phase=["load"], duration="60s", rate="2", max_requests="7")[0] == 7
    assert said(phase=["load"], duration="60s", rate="2", arrivals="ramp")[0] == 60
    assert said(phase=["load"], duration="60s", rate="2", arrivals="step")[0] == 72
    assert said(phase=["load"], duration="60s", users="3", pace="500ms")[0] == 360
    assert said(phase=["load"], duration="60s", concurrency="6", think="2s")[0] == 120
    assert "--find-max sends as many more" in said(phase=["load"], find_max=True)[2]
    one, two = said(phase=["cross-model", "load"]), said(phase=["cross-model", "load"], model=["a", "b"])
    assert two[0] > one[0]  # the switch needs two models


def test_a_limit_is_of_the_whole_run() -> None:
    phases = ["baseline", "load"]
    assert said(phase=phases, duration="60s", rate="2")[0] == 240
    requests, _, line = said(phase=phases, duration="60s", rate="2", max_requests="150")
    assert requests == 150
    assert "the run ends at 150 requests" in line
    requests, tokens, line = said(
        phase=phases, duration="60s", rate="2", max_tokens="5000", prompt_tokens="50", output_tokens="50"
    )
    assert (requests, tokens) == (50, 5000)
    assert "the run ends at 5,000 tokens" in line


def test_nothing_is_said_where_nothing_is_sent() -> None:
    assert announcement(configure({}, environment={})) is None
    line = announcement(configure({"target": URL, "phase": ["compression"]}, environment={}))
    assert line is not None
    assert "nothing will be sent" in line


def test_run_says_it_first(
    played: Played, capsys: pytest.CaptureFixture[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    main(["run", "load", "--target", URL])
    assert f"{URL}: about " in capsys.readouterr().err
