"""What one level of load showed: its criteria, and whether a backlog grows."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from loads_made import flow
from perfsuite._core import Histogram
from perfsuite.analysis.levels import Flow, Judgement, growth, hold, judge_level, ratio_to_tell, time_to_tell
from perfsuite.evidence import Samples
from perfsuite.metric import metric
from perfsuite.plan import Criterion
from perfsuite.result import MetricResult

P95 = Criterion(metric="response_time", stat="p95", comparison="<", target=500.0)


def times(values: Iterable[float], failed: int = 0, blocks: int = 8) -> Samples:
    values = list(values)
    whole, slices = Histogram(10), [Histogram(7) for _ in range(blocks)]
    for number, value in enumerate(values):
        whole.record(value)
        slices[number * blocks // len(values)].record(value)
    return Samples(histogram=whole, blocks=slices, failed=failed, longest_wait=60_000.0)


def level(response: MetricResult, seen: Flow, **more: str) -> Judgement:
    return judge_level(len(seen.due) / seen.seconds, [response], seen, **more)


def held(evidence: Samples) -> MetricResult:
    return hold(metric("response_time"), evidence, P95)


def steady(per_s: float, seconds: float = 6.0) -> Flow:
    """Requests evenly in time of which so many more a second come than are ended, 14; one takes 100 ms."""
    due = [number / (14.0 + per_s) for number in range(round((14.0 + per_s) * seconds))]
    return Flow(seconds, due, [max(at + 0.1, number / 14.0 + 0.1) for number, at in enumerate(due)], regular=True)


GOOD = [100.0 + i % 7 for i in range(120)]


def test_a_level_that_meets_everything_passes() -> None:
    assert level(held(times(GOOD)), steady(0.0)).verdict == "passed"


def test_a_level_whose_backlog_grows_fails_though_every_answer_is_in_time() -> None:
    judged = level(held(times(GOOD)), steady(3.0))
    assert judged.verdict == "failed"
    assert "it grows" in judged.why


def decided(rate: float, seconds: float, slots: int, takes: str = "always 0.2", tries: int = 60) -> dict[str, int]:
    """How often levels at a system of so many slots came to which verdict, and how often too much was called borne."""
    counts = {"passed": 0, "failed": 0, "undecided": 0, "too much": 0}
    for seed in range(tries):
        judged = level(held(times(GOOD)), flow(seed, rate, seconds, slots, takes))
        counts[judged.verdict] += 1
        counts["too much"] += judged.borne is not None and judged.borne > slots / 0.2
    return counts


@pytest.mark.parametrize("takes", ["always 0.2", "evenly 0.2", "at random 0.2"])
def test_random_arrivals_are_no_growing_backlog_and_hide_none(takes: str) -> None:
    """Eight slots of 200 ms bear 40 a second: what a level of four seconds makes of them."""
    below, just, above, far = (decided(rate, 4.0, 8, takes) for rate in (28.0, 39.0, 44.0, 80.0))
    assert below["failed"] == 0
    assert just["failed"] <= 2
    assert above["passed"] == 0
    assert far["failed"] >= 58
    assert [one["too much"] for one in (below, just, above)] == [0, 0, 0]


def test_a_longer_level_decides_more() -> None:
    short, long = (decided(44.0, seconds, 8) for seconds in (1.5, 20.0))
    assert short["undecided"] >= 57, "random arrivals hide 4/s in that time"
    assert long["failed"] >= 50
    assert decided(36.0, 20.0, 8)["passed"] >= 58


def test_regular_arrivals_hide_little() -> None:
    even = flow(1, 44.0, 3.0, 8, "always 0.2", regular=True)
    assert growth(even).grew
    assert not growth(flow(1, 39.0, 3.0, 8, "always 0.2", regular=True)).grew
    assert not growth(Flow(3.0, even.due, even.ended)).grew, "random ones might have come like that"


def test_a_level_shorter_than_its_answers_shows_no_growth() -> None:
    """While a system fills up to what its answers take, the number under way grows in any case."""
    filling = growth(flow(1, 20.0, 3.0, 64, "always 2.0"))
    assert filling.short
    assert not filling.grew
    judged = level(held(times(GOOD)), flow(1, 20.0, 3.0, 64, "always 2.0"))
    assert (judged.verdict, judged.borne) == ("undecided", None)
    assert "too short" in judged.why
    assert judged.takes_s == pytest.approx(2.0)
    assert not growth(flow(1, 20.0, 9.0, 64, "always 2.0")).short


def test_answers_that_never_came_are_a_backlog() -> None:
    whole = flow(1, 80.0, 3.0, 8, "always 0.2")
    cut = Flow(3.0, whole.due, [end if end < 3.0 else math.inf for end in whole.ended])
    assert growth(cut).slope == pytest.approx(growth(whole).slope)
    assert growth(cut).grew


def test_how_long_it_takes_to_tell() -> None:
    for regular in (False, True):
        seconds = time_to_tell(40.0, 1.2, regular=regular)
        assert ratio_to_tell(40.0, seconds, regular=regular) == pytest.approx(1.2)
    assert time_to_tell(40.0, 1.2, regular=True) < time_to_tell(40.0, 1.2, regular=False)
    assert ratio_to_tell(1.0, 0.5, regular=False) == math.inf


def test_slow_answers_and_failed_ones_fail_it() -> None:
    slow = level(held(times([100.0, 900.0] * 60)), steady(0.0))
    assert slow.verdict == "failed"
    assert "response_time p95 900 ms, not < 500 ms" in slow.why
    assert level(held(times(GOOD, failed=40)), steady(0.0)).verdict == "failed"


def test_too_few_requests_leave_it_open_leaning_the_way_of_their_value() -> None:
    few = level(held(times(GOOD[:20], blocks=1)), steady(0.0))
    assert (few.verdict, few.leaning, few.final) == ("undecided", True, False)
    slower = level(held(times([*GOOD[:20], 600.0, 600.0], blocks=1)), steady(0.0))
    assert (slower.verdict, slower.leaning) == ("undecided", False)
    nothing = judge_level(14.0, [held(times(GOOD))], Flow(6.0, [], []))
    assert nothing.verdict == "undecided", "nothing is known of a backlog"


def test_times_that_drift_far_below_the_limit_are_no_doubt() -> None:
    """The times depend on one another so much that their p95 has no upper bound; none came near the limit."""
    drifting = [100.0 + 200.0 * (i / 120) for i in range(120)]
    assert held(times(drifting)).verdict == "passed"
    assert held(times([2 * value for value in drifting])).verdict != "passed"


def test_times_that_come_near_the_limit_together_are_few() -> None:
    """One queue of twenty in a level is one sight of what queues come to there; twenty alone are twenty."""
    together = held(times([*[100.0] * 60, *[400.0] * 20, *[100.0] * 40]))
    alone = held(times([400.0 if i % 6 == 0 else 100.0 for i in range(120)]))
    assert (together.verdict, alone.verdict) == ("undecided", "passed")


def test_an_error_rate_passes_a_level_by_its_value() -> None:
    def errors(value: float, high: float, verdict: str) -> MetricResult:
        return MetricResult(
            name="error_rate", unit="ratio", kind="ratio", value=value, interval=(0.0, high), target=0.01,
            comparison="<", samples=50, verdict=verdict,  # type: ignore[arg-type]
        )  # fmt: skip

    good = held(times(GOOD))
    assert judge_level(14.0, [good, errors(0.0, 0.06, "undecided")], steady(0.0)).verdict == "passed"
    assert judge_level(14.0, [good, errors(0.02, 0.1, "undecided")], steady(0.0)).verdict == "undecided"
    assert judge_level(14.0, [good, errors(0.3, 0.4, "failed")], steady(0.0)).verdict == "failed"


def test_a_level_that_the_client_did_not_deliver_says_nothing_of_the_system() -> None:
    judged = level(held(times([900.0] * 100)), steady(5.0), undelivered="the client was short of time")
    assert (judged.verdict, judged.final) == ("undecided", True)
    assert "short of time" in judged.why
