"""A load as it is now, in numbers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from perfsuite._core import Events
from perfsuite.live.picture import LEVELS, SECONDS, picture
from perfsuite.loadgen import LoadSpec
from perfsuite.suites.session import Stretch

SECOND = 10**9
MS = 10**6


def made(seconds: int, per_second: int = 4) -> Any:
    start = time.monotonic_ns()
    events = Events(start_ns=start)
    for i in range(seconds * per_second):
        due = start + i * SECOND // per_second
        row = events.begin(due)
        row.sent(due)
        for token in range(3):
            row.token(1, at_ns=due + (10 + token) * MS)
        row.end(3 if i % 8 == 7 else 0, at_ns=due + 20 * MS)
    spec = LoadSpec(duration_s=60.0, concurrency=1, warmup_s=0.0)
    return picture(Stretch("steady", spec, events, {}))


def test_it_says_what_the_events_hold() -> None:
    shown = made(20)
    assert shown["stretch"] == "steady"
    assert shown["counts"] == {"sent": 80, "completed": 70, "failed": 10, "in flight": 0, "waiting": 0}
    assert sum(shown["errors"].values()) == 10
    requests = shown["requests"]
    assert sum(requests["due"]) == 80
    assert sum(requests["ok"]) == 70
    assert sum(requests["failed"]) == 10
    assert {round(y, 3) for y in shown["by_second"]["mean"] if y is not None} == {20.0}
    assert shown["table"][0][:2] == ["response_time", 70]
    assert shown["table"][0][2] == pytest.approx(20.0)
    curve = shown["distribution"]["response_time"]
    assert [y is not None for y in curve] == [q <= 0.5 or (1.0 - q) * 70 >= 1.0 for q in LEVELS]
    assert shown["quantiles"]["p95"] == pytest.approx([20.0] * len(shown["quantiles"]["t_s"]), rel=0.01)


def test_it_is_of_one_size_however_long_the_load() -> None:
    long = made(2 * SECONDS, per_second=1)
    assert len(long["requests"]["t_s"]) == SECONDS
    assert len(long["quantiles"]["t_s"]) <= 64


def test_a_load_that_has_just_begun_has_none() -> None:
    shown = made(0)
    assert shown["table"] == []
    assert shown["rate"] is None
    assert set(shown["distribution"]["ttft"]) == {None}
