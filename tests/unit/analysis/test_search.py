"""The search for the highest load: where it looks, what it makes of what it sees."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable

import pytest

from perfsuite._core import Histogram
from perfsuite.analysis.search import Judgement, Search, _growth, hold, judge_level, slope
from perfsuite.evidence import Samples
from perfsuite.metric import metric
from perfsuite.plan import Criterion
from perfsuite.result import MetricResult

PASSED = Judgement("passed", True, "")
FAILED = Judgement("failed", False, "")
P95 = Criterion(metric="response_time", stat="p95", comparison="<", target=500.0)


def searched(search: Search, knows: Callable[[float, bool], Judgement], most: int = 60) -> list[tuple[float, bool]]:
    """Drives a search to its end; the levels that it tried."""
    tried = []
    while (step := search.step()) is not None:
        tried.append(tuple(step))
        assert len(tried) < most, tried
        search.tell(step.level, knows(*step))
    return tried


@pytest.mark.parametrize("start", [0.05, 1.0, 13.9, 14.1, 100.0, 5000.0])
def test_it_ends_within_its_resolution_of_the_truth(start: float) -> None:
    search = Search(start)
    tried = searched(search, lambda level, again: PASSED if level <= 14.0 else FAILED)
    found = search.found()
    assert found is not None
    assert found.low <= 14.0 < found.high
    assert found.high <= found.low * 1.1
    assert found.low < found.value < found.high
    assert len(tried) <= abs(math.log2(14.0 / start)) + 6
    assert not any(again for _, again in tried)


def test_a_coarser_resolution_takes_fewer_levels() -> None:
    fine, coarse = (
        searched(Search(1.0, resolution=r), lambda level, again: PASSED if level <= 14.0 else FAILED)
        for r in (1.02, 1.5)
    )
    assert len(coarse) < len(fine)


def test_an_open_level_is_tried_once_more_and_then_steers_without_bounding() -> None:
    """Around the knee nothing can be told for sure: those levels are no bounds of what is reported."""

    def noisy(level: float, again: bool) -> Judgement:
        if 10.0 < level < 20.0:
            return Judgement("undecided", level <= 14.0, "")
        return PASSED if level <= 10.0 else FAILED

    search = Search(4.0)
    tried = searched(search, noisy)
    for level, again in tried:
        assert ((level, True) in tried) is (10.0 < level < 20.0), "once more, and once only"
        assert tried.count((level, again)) == 1
    found = search.found()
    assert found is not None
    assert 13.0 < found.value < 15.5
    assert found.low <= 10.0
    assert found.high >= 20.0


def test_noise_does_not_keep_it_from_its_end() -> None:
    rng = random.Random(3)
    for _ in range(200):
        knee = math.exp(rng.uniform(0, 8))

        def guess(level: float, again: bool, knee: float = knee) -> Judgement:
            seen = level * math.exp(rng.gauss(0, 0.2))
            if abs(math.log(seen / knee)) < 0.15:
                return Judgement("undecided", seen < knee, "")
            return PASSED if seen < knee else FAILED

        search = Search(10.0)
        searched(search, guess)
        found = search.found()
        assert found is not None
        assert knee / 3 < found.value < knee * 3
        assert found.low <= found.value <= found.high


def test_where_two_levels_contradict_the_failure_counts() -> None:
    search = Search(8.0)
    search.tell(8.0, PASSED)
    search.tell(16.0, PASSED)
    search.tell(12.0, FAILED)
    found = search.found()
    assert found is not None
    assert (found.low, found.high) == (8.0, 12.0)
    assert search.passed == 8.0


def test_a_client_that_cannot_deliver_bounds_nothing() -> None:
    def limited(level: float, again: bool) -> Judgement:
        return PASSED if level <= 100 else Judgement("undecided", False, "not delivered", final=True)

    search = Search(10.0)
    tried = searched(search, limited)
    found = search.found()
    assert found is not None
    assert found.high == math.inf
    assert 90 < found.low <= 100
    assert not any(again for _, again in tried)


def test_ends_of_the_range() -> None:
    up = Search(10.0, highest=35.0)
    searched(up, lambda level, again: PASSED)
    assert up.found() == (35.0, 35.0, math.inf)
    down = Search(10.0, lowest=3.0)
    searched(down, lambda level, again: FAILED)
    assert down.found() == (0.0, 0.0, 3.0)
    assert Search(1.0).found() is None
    for wrong in ({"start": 0.0}, {"start": math.nan}, {"start": 1.0, "resolution": 1.0}, {"start": 2e6}):
        with pytest.raises(ValueError, match=r"search needs|resolution"):
            Search(**wrong)


# ── one level ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def times(values: Iterable[float], failed: int = 0, blocks: int = 8) -> Samples:
    values = list(values)
    whole, slices = Histogram(10), [Histogram(7) for _ in range(blocks)]
    for number, value in enumerate(values):
        whole.record(value)
        slices[number * blocks // len(values)].record(value)
    return Samples(histogram=whole, blocks=slices, failed=failed, longest_wait=60_000.0)


def level(response: MetricResult, backlog: Iterable[tuple[float, float]], **more: str) -> Judgement:
    return judge_level(14.0, [response], list(backlog), **more)


def held(evidence: Samples) -> MetricResult:
    return hold(metric("response_time"), evidence, P95)


def backlog(per_s: float, noise: float = 1.0) -> list[tuple[float, float]]:
    rng = random.Random(1)
    return [(t / 20, max(0.0, 5.0 + per_s * t / 20 + rng.gauss(0, noise))) for t in range(120)]


GOOD = [100.0 + i % 7 for i in range(120)]


def test_a_level_that_meets_everything_passes() -> None:
    assert level(held(times(GOOD)), backlog(0.0)).verdict == "passed"


def test_a_level_whose_backlog_grows_fails_though_every_answer_is_in_time() -> None:
    judged = level(held(times(GOOD)), backlog(3.0))
    assert judged.verdict == "failed"
    assert "it grows" in judged.why


def under_way(seed: int, rate: float, capacity: float) -> list[tuple[float, float]]:
    """What is begun and not ended in a second of random arrivals at a system that ends ``capacity`` a second in turn,
    each after 120 ms; looked at from a third of it on."""
    rng = random.Random(seed)
    at, free, spans = 0.0, 0.0, []
    while (at := at + rng.expovariate(rate)) < 1.0:
        free = max(at, free + 1.0 / capacity)
        spans.append((at, free + 0.12))
    looks = [i / 200 for i in range(67, 200)]
    return [(t, float(sum(begin <= t < end for begin, end in spans))) for t in looks]


def test_random_arrivals_of_a_short_level_are_no_growing_backlog() -> None:
    def against(capacity: float) -> int:
        return sum(not _growth(80.0, under_way(seed, 80.0, capacity)).leaning for seed in range(200))

    assert against(math.inf) <= 10, "one in twenty, of a system that nobody waits for"
    assert against(40.0) >= 170, "one that ends half of what comes"


def test_slow_answers_and_failed_ones_fail_it() -> None:
    slow = level(held(times([100.0, 900.0] * 60)), backlog(0.0))
    assert slow.verdict == "failed"
    assert "response_time p95 900 ms, not < 500 ms" in slow.why
    assert level(held(times(GOOD, failed=40)), backlog(0.0)).verdict == "failed"


def test_too_few_requests_leave_it_open_leaning_the_way_of_their_value() -> None:
    few = level(held(times(GOOD[:20], blocks=1)), backlog(0.0))
    assert (few.verdict, few.leaning, few.final) == ("undecided", True, False)
    slower = level(held(times([*GOOD[:20], 600.0, 600.0], blocks=1)), backlog(0.0))
    assert (slower.verdict, slower.leaning) == ("undecided", False)
    assert level(held(times(GOOD)), []).verdict == "undecided", "nothing is known of a backlog"


def test_times_that_drift_far_below_the_limit_are_no_doubt() -> None:
    """The times depend on one another so much that their p95 has no upper bound; none came near the limit."""
    drifting = [100.0 + 300.0 * (i / 120) for i in range(120)]
    assert held(times(drifting)).verdict == "passed"
    assert held(times([2 * value for value in drifting])).verdict != "passed"


def test_an_error_rate_passes_a_level_by_its_value() -> None:
    def errors(value: float, high: float, verdict: str) -> MetricResult:
        return MetricResult(
            name="error_rate", unit="ratio", kind="ratio", value=value, interval=(0.0, high), target=0.01,
            comparison="<", samples=50, verdict=verdict,  # type: ignore[arg-type]
        )  # fmt: skip

    good = held(times(GOOD))
    assert judge_level(14.0, [good, errors(0.0, 0.06, "undecided")], backlog(0.0)).verdict == "passed"
    assert judge_level(14.0, [good, errors(0.02, 0.1, "undecided")], backlog(0.0)).verdict == "undecided"
    assert judge_level(14.0, [good, errors(0.3, 0.4, "failed")], backlog(0.0)).verdict == "failed"


def test_a_level_that_the_client_did_not_deliver_says_nothing_of_the_system() -> None:
    judged = level(held(times([900.0] * 100)), backlog(5.0), undelivered="the client was short of time")
    assert (judged.verdict, judged.final) == ("undecided", True)
    assert "short of time" in judged.why


def test_the_slope_of_a_backlog() -> None:
    line = slope(backlog(2.0))
    assert line is not None
    assert line.low < 2.0 < line.high
    assert slope(backlog(2.0)[:5]) is None
