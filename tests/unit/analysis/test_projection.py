"""What runs to come will measure: intervals that hold as often as they say, and a word where they do not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from perfsuite.analysis import projection
from perfsuite.analysis.forecast import expect, foreseen
from perfsuite.analysis.judging import RunFigures
from perfsuite.analysis.projection import Projection, Tried, project, tried
from perfsuite.metric import Comparison
from perfsuite.plan import Criterion
from perfsuite.stats import Interval
from runs_made import runs, series

P95 = ("response_time", "p95")


def limit(comparison: Comparison, target: float) -> Criterion:
    return Criterion(metric=P95[0], stat=P95[1], comparison=comparison, target=target)


def one(found: list[Projection], metric: str = "response_time", stat: str = "p50") -> Projection:
    (figure,) = [each for each in found if (each.figure.metric, each.figure.stat) == (metric, stat)]
    return figure


def share_held(make: Callable[[int], list[float]], ahead: int = 1, histories: int = 40) -> float:
    found = [tried(make(seed), ahead) for seed in range(histories)]
    made = [each for each in found if each is not None]
    assert len(made) == histories
    return sum(each.held for each in made) / sum(each.made for each in made)


@pytest.mark.parametrize("ahead", [1, 5])
def test_where_nothing_changes_intervals_hold_nineteen_times_in_twenty(ahead: int) -> None:
    assert share_held(lambda seed: series(40, seed=seed), ahead) == pytest.approx(0.95, abs=0.03)


def test_intervals_of_half_the_width_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(*arguments: object) -> Interval:
        whole = foreseen(*arguments)  # type: ignore[arg-type]
        return Interval(whole.estimate, math.sqrt(whole.estimate * whole.low), math.sqrt(whole.estimate * whole.high))

    monkeypatch.setattr(projection, "foreseen", halved)
    assert share_held(lambda seed: series(40, seed=seed)) < 0.8
    assert sum(found.too_sure for seed in range(20) if (found := tried(series(60, seed=seed)))) > 10


def test_a_history_that_behaves_is_seldom_called_too_sure() -> None:
    assert sum(found.too_sure for seed in range(40) if (found := tried(series(60, seed=seed)))) <= 6


def test_too_sure_is_the_binomial_tail() -> None:
    assert not Tried(40, 36, 0.0, 0.0).too_sure  # 0.138
    assert Tried(40, 35, 0.0, 0.0).too_sure  # 0.048


def test_a_changing_level_is_found_out_by_its_past() -> None:
    found = tried(series(15, seed=1) + series(15, seed=2, level=130.0))
    assert found is not None
    assert found.too_sure
    assert found.most_off > 0.2 > found.off


def test_a_drift_goes_on_and_is_said_to_leave_its_limit() -> None:
    climbing = [value * 1.02**i for i, value in enumerate(series(25, seed=11))]
    found = one(project(runs(climbing), 10, {P95: limit("<", 500.0)}), stat="p95")
    truth = 2 * 100.0 * 1.02**34  # the p95 of such runs is twice the median
    assert found.drifting
    assert found.value.low < truth < found.value.high
    assert found.reach is not None
    crossing = math.log(500.0 / (2 * 100.0 * 1.02**24)) / math.log(1.02)  # 22.3 runs on
    assert found.reach.earliest is not None
    assert found.reach.at is not None
    assert found.reach.latest is not None
    assert found.reach.earliest <= crossing <= found.reach.latest
    assert found.reach.at == pytest.approx(crossing, abs=3)


def test_a_limit_that_wants_more_is_left_downwards() -> None:
    falling = [value * 0.98**i for i, value in enumerate(series(25, seed=12))]
    found = one(project(runs(falling), 1, {P95: limit(">=", 100.0)}), stat="p95")
    assert found.reach is not None
    assert found.reach.at == pytest.approx(math.log(100.0 / (200.0 * 0.98**24)) / math.log(0.98), abs=3)


def test_a_drift_away_from_its_limit_never_reaches_it() -> None:
    falling = [value * 0.98**i for i, value in enumerate(series(25, seed=12))]
    found = one(project(runs(falling), 1, {P95: limit("<", 500.0)}), stat="p95")
    assert found.reach == (None, None, None)


def test_what_does_not_drift_reaches_nothing() -> None:
    assert one(project(runs(series(25, seed=13)), 1, {P95: limit("<", 500.0)}), stat="p95").reach is None


def test_only_what_counts_or_has_a_limit_is_predicted() -> None:
    made = runs(series(12, seed=14))
    names = {(each.figure.metric, each.figure.stat) for each in project(made)}
    assert P95 not in names
    assert ("prompt_tokens", "p50") not in names
    assert ("response_time", "p50") in names


def test_a_share_stays_one() -> None:
    draw = random.Random(5)
    made: list[RunFigures] = []
    for number in range(20):
        made += runs([100.0], first=number, errors=draw.choice((0.0, 0.4, 0.9)))
    found = one(project(made), "error_rate", "value")
    assert 0.0 == found.value.low < found.value.estimate < found.value.high <= 1.0
    assert found.absolute


def test_too_few_runs_predict_nothing_and_constant_ones_themselves() -> None:
    assert project(runs(series(7, seed=1))) == []
    found = one(project(runs([100.0] * 12)))
    assert found.value.estimate == pytest.approx(100.0)
    assert found.tried == (4, 4, 0.0, 0.0)
    assert tried([100.0] * 8) is None


def test_the_next_run_is_where_it_is_expected_and_further_ones_are_less_sure_on_a_line() -> None:
    level, line = expect(series(30, seed=2)), expect([v * 1.02**i for i, v in enumerate(series(30, seed=2))])
    assert level is not None
    assert line is not None
    assert foreseen(level, 1) == foreseen(level, 9)
    near, far = foreseen(line, 1), foreseen(line, 30)
    assert far.high / far.low > near.high / near.low
