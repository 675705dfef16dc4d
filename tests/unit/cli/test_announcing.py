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
    one, two = said(phase=["cross-model", "load"]), said(phase=["cross-model", "load"], model=["a", "b"])
    assert two[0] > one[0]  # the switch needs two models


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
