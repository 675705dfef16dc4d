"""The search for the highest load: where it looks, and that what it finds holds the truth."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from loads_made import flow
from perfsuite import stats
from perfsuite._core import Histogram
from perfsuite.analysis.levels import Flow, Judgement, hold, judge_level
from perfsuite.analysis.search import Found, Search
from perfsuite.evidence import Samples
from perfsuite.metric import metric
from perfsuite.plan import Criterion

FAILED = Judgement("failed", False, "")
LONG_S = 1e9
"""A time that runs out for no search."""


def passed(level: float) -> Judgement:
    return Judgement("passed", True, "", borne=level)


def searched(search: Search, knows: Callable[[float], Judgement], time_s: float = LONG_S) -> list[float]:
    """Drives a search to its end; the levels that it tried."""
    tried = []
    while (step := search.step(time_s)) is not None:
        assert 0.0 < step.seconds <= time_s
        time_s -= step.seconds
        tried.append(step.level)
        assert len(tried) < 60, tried
        search.tell(step.level, knows(step.level))
    return tried


@pytest.mark.parametrize("start", [0.05, 1.0, 13.9, 14.1, 100.0, 5000.0])
def test_it_ends_within_its_resolution_of_the_truth(start: float) -> None:
    search = Search(start)
    tried = searched(search, lambda level: passed(level) if level <= 14.0 else FAILED)
    found = search.found()
    assert found is not None
    assert found.low <= 14.0 < found.high
    assert found.high <= found.low * 1.1**2
    assert found.low <= found.value <= found.high
    assert len(tried) <= abs(math.log2(14.0 / start)) + 12
    assert search.enough_s() is None


def test_a_coarser_resolution_takes_fewer_levels() -> None:
    fine, coarse = (
        searched(Search(1.0, resolution=r), lambda level: passed(level) if level <= 14.0 else FAILED)
        for r in (1.02, 1.5)
    )
    assert len(coarse) < len(fine)


def test_open_levels_steer_without_bounding() -> None:
    """Around the knee nothing can be told for sure: those levels are no bounds of what is reported."""

    def noisy(level: float) -> Judgement:
        if 10.0 < level < 20.0:
            return Judgement("undecided", level <= 14.0, "")
        return passed(level) if level <= 10.0 else FAILED

    search = Search(4.0)
    searched(search, noisy)
    found = search.found()
    assert found is not None
    assert 12.0 < found.value < 16.5
    assert 5.0 < found.low <= 10.0
    assert 20.0 <= found.high < 30.0


def test_noise_does_not_keep_it_from_its_end() -> None:
    rng = random.Random(3)
    for _ in range(200):
        knee = math.exp(rng.uniform(0, 8))

        def guess(level: float, knee: float = knee) -> Judgement:
            seen = level * math.exp(rng.gauss(0, 0.2))
            if abs(math.log(seen / knee)) < 0.15:
                return Judgement("undecided", seen < knee, "")
            return passed(level) if seen < knee else FAILED

        search = Search(10.0)
        searched(search, guess)
        found = search.found()
        assert found is not None
        assert knee / 4 < found.value < knee * 4
        assert found.low <= found.value <= found.high


def test_where_two_levels_contradict_the_failure_counts() -> None:
    search = Search(8.0)
    search.tell(8.0, passed(8.0))
    search.tell(16.0, passed(16.0))
    search.tell(12.0, FAILED)
    found = search.found()
    assert found is not None
    assert (found.low, found.high) == (8.0, 12.0)
    assert search.passed == 8.0


def test_what_is_borne_bounds_it_and_not_the_level_that_passed() -> None:
    search = Search(8.0)
    search.tell(8.0, Judgement("passed", True, "", borne=7.4))
    search.tell(12.0, Judgement("undecided", False, "", borne=7.9))
    assert search.found() == Found(math.sqrt(8.0 * 12.0), 7.9, math.inf)


def test_what_was_ended_where_the_backlog_grew_says_where_the_limit_is() -> None:
    search = Search(32.0)
    search.tell(32.0, passed(31.0))
    search.tell(64.0, Judgement("failed", False, "", limit=40.0))
    found = search.found()
    assert found is not None
    assert found.value == 40.0
    step = search.step(60.0)
    assert step is not None
    assert 40.0 < step.level < 50.0, "the side that is further away, as close as that time can tell"
    slow = Search(32.0)
    slow.tell(32.0, passed(32.0))
    slow.tell(64.0, Judgement("failed", False, "", limit=30.0))
    beyond = slow.found()
    assert beyond is not None
    assert 32.0 < beyond.value < 34.0, "it bears more than it ended there, and nothing says that it is much more"
    nearer = search.step(600.0)
    assert nearer is not None
    assert nearer.level < step.level


def test_a_client_that_cannot_deliver_bounds_nothing() -> None:
    def limited(level: float) -> Judgement:
        return passed(level) if level <= 100 else Judgement("undecided", False, "not delivered", final=True)

    search = Search(10.0)
    searched(search, limited)
    found = search.found()
    assert found is not None
    assert found.high == math.inf
    assert 50 < found.low <= 100


def test_ends_of_the_range() -> None:
    up = Search(10.0, highest=35.0)
    searched(up, passed)
    assert up.found() == (35.0, 35.0, math.inf)
    down = Search(10.0, lowest=3.0)
    searched(down, lambda level: FAILED)
    assert down.found() == (0.0, 0.0, 3.0)
    assert Search(1.0).found() is None
    assert Search(1.0).step(0.5) is None
    assert Search(1.0).enough_s() is None
    for wrong in ({"start": 0.0}, {"start": math.nan}, {"start": 1.0, "resolution": 1.0}, {"start": 2e6}):
        with pytest.raises(ValueError, match=r"search needs|resolution"):
            Search(**wrong)


def test_answers_that_take_long_make_levels_long() -> None:
    search = Search(10.0)
    search.tell(10.0, Judgement("undecided", True, "", takes_s=4.0))
    step = search.step(100.0)
    assert step is not None
    assert step.seconds >= 12.0
    assert search.step(10.0) is None, "no level of that time would show anything"


# ── searches of systems that are known ────────────────────────────────────────────────────────────────────────────────

LIMIT = Criterion(metric="response_time", stat="p95", comparison="<", target=5000.0)
OPEN_LOOP, HELD = 0.8, 0.2
"""What a run does before its search: 80 % of what was ended in a closed loop, for a fifth of the time."""


def held(seen: Flow, criterion: Criterion = LIMIT) -> Samples:
    whole, slices = Histogram(10), [Histogram(7) for _ in range(16)]
    for due, end in zip(seen.due, seen.ended, strict=True):
        whole.record((end - due) * 1e3)
        slices[int(due / seen.seconds * 16)].record((end - due) * 1e3)
    return Samples(histogram=whole, blocks=slices, failed=0, longest_wait=60_000.0)


def judged(rate: float, seen: Flow, criterion: Criterion = LIMIT) -> Judgement:
    return judge_level(rate, [hold(metric("response_time"), held(seen), criterion)], seen)


def by_the_slope_itself(rate: float, seen: Flow) -> Judgement:
    """The rule that there was: a level passes when its backlog's slope, as it is, is no more than 5 % of its rate."""
    looks = [seen.seconds * (1 + 2 * look / 100) / 3 for look in range(100)]
    slope = stats.trend(
        [sum(a <= t < b for a, b in zip(seen.due, seen.ended, strict=True)) for t in looks], looks
    ).slope
    return passed(rate) if slope <= 0.05 * rate else FAILED


def find(
    seed: int, budget_s: float, slots: int, takes: str, judge: Callable[[float, Flow], Judgement] = judged, **more: bool
) -> Found:
    """A run's search, with the time that a run of that budget gives it, at a system of so many slots."""
    bears = slots / float(takes.split()[-1])
    search = Search(OPEN_LOOP * bears, regular=more.get("regular", False))
    left = budget_s * (1.0 - 2.0 * HELD)
    first = flow(seed, OPEN_LOOP * bears, HELD * budget_s, slots, takes, **more)
    search.tell(OPEN_LOOP * bears, judge(OPEN_LOOP * bears, first))
    while (step := search.step(left)) is not None:
        seen = flow(f"{seed} {left}", step.level, step.seconds, slots, takes, **more)
        search.tell(step.level, judge(step.level, seen))
        left -= max(step.seconds, *seen.ended)
    found = search.found()
    assert found is not None
    return found


SYSTEMS = [(8, "always 0.2"), (8, "evenly 0.2"), (8, "at random 0.2"), (1, "always 0.02"), (32, "always 0.5")]


@pytest.mark.parametrize(("budget_s", "searches"), [(15.0, 100), (30.0, 60), (120.0, 20)])
@pytest.mark.parametrize(("slots", "takes"), SYSTEMS)
def test_the_interval_holds_the_truth(slots: int, takes: str, budget_s: float, searches: int) -> None:
    bears = slots / float(takes.split()[-1])
    found = [find(seed, budget_s, slots, takes) for seed in range(searches)]
    held = sum(one.low <= bears <= one.high for one in found)
    assert held >= math.floor(0.95 * searches), [one for one in found if not one.low <= bears <= one.high]
    values = sorted(one.value / bears for one in found)
    assert 0.85 < values[len(values) // 2] < 1.2


def test_more_time_makes_it_narrower() -> None:
    """Eight slots of 200 ms, which bear 40 a second; the middle one of nine searches."""
    widths = [
        sorted(one.high / one.low if one.low else math.inf for one in found)[4]
        for found in ([find(seed, budget_s, 8, "always 0.2") for seed in range(9)] for budget_s in (15.0, 30.0, 120.0))
    ]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 1.25
    regular = find(1, 15.0, 8, "always 0.2", regular=True)
    assert regular.low <= 40.0 <= regular.high
    assert regular.high / regular.low < 1.4, "requests that come regularly hide little"


def test_judging_by_the_slope_itself_finds_too_much() -> None:
    """The negative control: by the rule that there was, the same searches miss the truth far more often."""
    found = [find(seed, 15.0, 8, "always 0.2", by_the_slope_itself) for seed in range(40)]
    assert sum(one.low <= 40.0 <= one.high for one in found) < 30


def test_a_limit_that_queues_come_near_is_held_too() -> None:
    """A p95 below 300 ms, at answers of 200: what the system bears within that is less than what it ends, and a level
    sees few queues.  The truth comes of a level that lasts half an hour."""
    tight = Criterion(metric="response_time", stat="p95", comparison="<", target=300.0)

    def p95_ms(rate: float) -> float:
        whole = flow(0, rate, 1800.0, 8, "always 0.2")
        return held(whole).histogram.quantile(0.95)

    within, beyond = 28.0, 31.0
    assert p95_ms(within) < 300.0 < p95_ms(beyond)
    found = [
        find(seed, budget_s, 8, "always 0.2", lambda rate, seen: judged(rate, seen, tight))
        for budget_s in (15.0, 30.0, 120.0)
        for seed in range(20)
    ]
    assert sum(one.low <= beyond and one.high >= within for one in found) >= 57
