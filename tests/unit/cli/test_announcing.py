"""What a run against a network address says before it starts."""

from __future__ import annotations

import re

import pytest

from perfsuite.cli import main
from perfsuite.cli.announcing import announcement, unknown_until_asked
from perfsuite.configuration import configure
from perfsuite.suites.first_answer import First
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
    main(["run", "load", "--target", URL, "--max-requests", "7"])
    assert f"{URL}: about 7 requests" in capsys.readouterr().err
    main(["run", "load", "--target", URL])  # not asked here: the played runner sends no first message
    assert "about" not in capsys.readouterr().err


def test_a_first_answer_is_what_the_rest_is_counted_by() -> None:
    plan = configure({"target": URL, "phase": ["load"], "duration": "60s", "concurrency": "5"}, environment={})
    line = announcement(plan, First(seconds=0.1, prompt_tokens=30, completion_tokens=20))
    assert line is not None
    assert "about 3,000 requests and 150,000 tokens (30 of a prompt, 20 of an answer)" in line
    assert "if answers take as long as the first, 100 ms" in line
    line = announcement(plan, First(seconds=9.0, failure="POST /v1/chat/completions: 404 Not Found"))
    assert line is not None
    assert "about 300 requests" in line
    assert "if an answer takes 1 s" in line
    assert "the first message failed: POST /v1/chat/completions: 404 Not Found" in line


def test_conversations_that_grow_have_longer_prompts() -> None:
    flags = {"target": URL, "phase": ["load"], "output_tokens": "50", "duration": "60s"}
    line = announcement(configure({**flags, "turns": "5"}, environment={}), First(seconds=1.0, prompt_tokens=100))
    assert line is not None
    assert "(400 of a prompt, 50 of an answer)" in line  # 100, 250, 400, 550, 700


@pytest.mark.parametrize(
    ("flags", "asked"),
    [({}, True), ({"rate": "2"}, True), ({"max_requests": "9"}, False), ({"phase": ["compression"]}, False)],
)
def test_a_message_is_sent_only_where_that_tells_something(flags: dict[str, object], asked: bool) -> None:
    assert unknown_until_asked(configure({"target": URL, **flags}, environment={})) is asked
    assert not unknown_until_asked(configure({}, environment={}))
