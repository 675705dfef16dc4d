"""What was in flight says how many the system bears at least: more only where more were asked for."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from perfsuite._core import Events
from perfsuite.analysis.summary import summarise
from perfsuite.analysis.verdict import judge
from perfsuite.evidence import NotMeasured
from perfsuite.loadgen import Delivered, LoadSpec
from perfsuite.metric import catalogue
from perfsuite.plan import Criterion
from perfsuite.result import MetricResult
from perfsuite.suites.outcome import delivered
from perfsuite.suites.probes.load import in_flight
from perfsuite.suites.session import Stretch

SECOND = 10**9
START = time.monotonic_ns() + 3600 * SECOND  # ahead of the clock, which begin() looks at
TEN = Criterion(metric="concurrent_requests", target=10.0, comparison=">=", stat="value")
CAME = Delivered(
    max_in_flight=5, rate=20.0, requests=60, completed=60, failed=0, duration_s=3.0, sent=66, tokens=0, warmup=6,
)  # fmt: skip


def stretch(most: int, completed: int = 60, **asked: Any) -> Stretch:
    came = dataclasses.replace(CAME, max_in_flight=most, completed=completed)
    return Stretch("s", LoadSpec(duration_s=3.0, **asked), Events(), {}, delivered=came)


def judged(*stretches: Stretch) -> MetricResult:
    return judge(summarise(catalogue()["concurrent_requests"], in_flight(list(stretches))), TEN, 3.0)


def test_a_load_that_never_had_so_many_in_flight_shows_nothing_against_the_system() -> None:
    for few in (stretch(2, rate=20.0), stretch(5, concurrency=5), stretch(6, users=10)):
        found = judged(few)
        assert found.verdict == "undecided"
        assert "--concurrency" in found.reason


def test_as_many_as_were_wanted_pass() -> None:
    assert judged(stretch(10, concurrency=10)).verdict == "passed"
    assert judged(stretch(10, concurrency=10), stretch(4, rate=5.0)).verdict == "passed"


def test_what_was_in_flight_is_told_second_by_second_over_all_stretches() -> None:
    held, opened = stretch(2, concurrency=2), stretch(2, rate=20.0)
    for one, began_s, ends_s in ((held, 0, (0.5, 2.5)), (opened, 10, (0.5, 0.7))):
        start = START + began_s * SECOND
        one.events = Events(start_ns=start)
        rows = [one.events.begin(start) for _ in ends_s]
        for row in rows:
            row.sent(start)
        for row, end_s in zip(rows, ends_s, strict=True):
            row.end(0, at_ns=start + round(end_s * SECOND))
    found = in_flight([held, opened])
    assert not isinstance(found, NotMeasured)
    assert list(found.series) == [(0.0, 2.0), (1.0, 1.0), (2.0, 1.0), (10.0, 2.0)]


def test_fewer_than_were_asked_for_are_all_that_there_were() -> None:
    assert judged(stretch(8, concurrency=12)).verdict == "failed"
    assert isinstance(in_flight([stretch(8, completed=0, concurrency=12)]), NotMeasured)


def test_the_rate_delivered_is_what_was_sent_in_time_and_stands_beside_what_fell_due() -> None:
    ramp = stretch(5, rate=20.0, arrivals="ramp")
    assert ramp.delivered is not None
    ramp.delivered = dataclasses.replace(ramp.delivered, rate=8.0, due_rate=10.0, requests=30, duration_s=3.0)
    told = delivered([ramp])
    assert (told["rate"], told["due_rate"], told["warmup"]) == (8.0, 10.0, 6)
    assert delivered([stretch(5, concurrency=5)])["due_rate"] is None


def test_requests_of_warm_up_that_failed_are_told_apart() -> None:
    warm, lost, good = (stretch(5, concurrency=5) for _ in range(3))
    for one, status in ((lost, 1), (warm, 0)):
        one.events = Events(warmup_ns=10**9, start_ns=0)
        for _ in range(2):
            one.events.begin(0).end(status=status, at_ns=1000)
    assert delivered([lost, warm, good])["warmup_failed"] == 2
    assert delivered([warm, good])["warmup_failed"] == 0
