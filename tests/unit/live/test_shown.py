"""What a run tells of itself, on the board."""

from __future__ import annotations

import json

import pytest

from perfsuite.errors import PerfsuiteError
from perfsuite.exports.prometheus import exposition
from perfsuite.live.board import Board
from perfsuite.live.shown import Shown, judged
from perfsuite.result import dump, parse
from results_made import full


def test_parts_are_put_and_a_result_is_its_judged_metrics() -> None:
    board = Board()
    shown = Shown(board)
    shown.take({"counts": {"sent": 1}})
    shown.take({"result": dump(full())})
    state = json.loads(board.text()[1])
    assert state["counts"] == {"sent": 1}
    assert state["metrics"] == judged(full())
    assert state["metrics"]
    assert state["ended"] is None
    shown.take({"ended": "over", "counts": {"sent": 2}})
    shown.take({"counts": {"sent": 3}})
    state = json.loads(board.text()[1])
    assert (state["ended"], state["counts"]) == ("over", {"sent": 2})


def test_the_figures_are_those_of_the_last_result() -> None:
    shown = Shown(Board())
    assert shown.metrics()[1] == b""
    shown.take({"result": dump(full())})
    assert shown.metrics()[1] == exposition(parse(dump(full())))


def test_prometheus_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PerfsuiteError, match=r"perfsuite\[prometheus\]"):
        Shown(Board()).metrics()
