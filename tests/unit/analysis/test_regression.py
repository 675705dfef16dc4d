"""Runs against runs: what is found, and what is not where there is nothing."""

from __future__ import annotations

import itertools
import math
import random
from typing import get_args

import pytest
from scipy import stats as scipy_stats

from perfsuite import stats
from perfsuite.analysis.comparable import Figure
from perfsuite.analysis.regression import (
    STANDING,
    Change,
    Verdict,
    judge_changes,
    overall,
    severity_of,
    winsorised_welch,
    worst,
)
from runs_made import series


def a_figure(name: str = "response_time", unit: str = "ms", better: str = "lower", gates: bool = True) -> Figure:
    return Figure(phase="p", metric=name, stat="p50", unit=unit, better=better, gates=gates)  # type: ignore[arg-type]


def one(before: list[float], after: list[float], figure: Figure | None = None, **more: float) -> Change:
    figure = figure or a_figure()
    (change,) = judge_changes({figure.key: figure}, {figure.key: before}, {figure.key: after}, **more)
    return change


def test_without_outliers_it_is_welchs_test() -> None:
    draw = random.Random(4)
    before, after = [draw.uniform(1, 2) for _ in range(9)], [draw.uniform(1.1, 2.4) for _ in range(12)]
    (mine, drawn_in), theirs = winsorised_welch(before, after), scipy_stats.ttest_ind(after, before, equal_var=False)
    assert drawn_in == 0
    assert mine.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert mine.df == pytest.approx(theirs.df, rel=1e-9)


def test_it_says_what_the_public_comparison_says_where_nothing_is_drawn_in() -> None:
    draw, compared = random.Random(7), 0
    for _ in range(200):
        sides = [[draw.lognormvariate(0.0, 0.05) for _ in range(draw.randint(3, 12))] for _ in range(2)]
        change, public = one(*sides), stats.compare(*sides)
        if change.drawn_in:
            continue
        compared += 1
        mine = (change.ratio, change.low, change.high, change.p_value, change.smallest_visible)
        assert mine == pytest.approx(public[1:], rel=1e-12)
        assert change.verdict == {"same": "ok"}.get(public.verdict, public.verdict)
    assert compared > 100
    # … and where nothing varies, and where the ratio is no double.
    assert one([7.0] * 3, [7.0] * 3).p_value == stats.compare([7.0] * 3, [7.0] * 3).p_value == 1.0
    assert one([7.0] * 3, [8.0] * 3).p_value == stats.compare([7.0] * 3, [8.0] * 3).p_value == 0.0
    assert one([1e-300] * 3, [1e300] * 3).ratio == stats.compare([1e-300] * 3, [1e300] * 3).ratio == math.inf


def test_a_real_change_is_found_either_way_and_nothing_where_there_is_none() -> None:
    before, after = series(10, seed=1), series(10, seed=2)
    assert one(before, after).verdict == "ok"
    worse = one(before, [1.1 * x for x in after])
    assert worse.verdict == "regressed"
    assert worse.severity == "warning" or worse.ratio < 1.1  # type: ignore[operator]
    assert worse.low is not None
    assert worse.low < worse.ratio < worse.high  # type: ignore[operator]
    assert one(before, [0.9 * x for x in after]).verdict == "improved"
    more = a_figure(unit="1/s", better="higher")
    assert one(before, [1.1 * x for x in after], more).verdict == "improved"
    assert one(before, [0.9 * x for x in after], more).verdict == "regressed"


def test_a_change_that_is_sure_and_small_is_no_regression() -> None:
    before = series(20, seed=3, spread=0.001)
    change = one(before, [1.02 * x for x in series(20, seed=4, spread=0.001)])
    assert change.p_value is not None
    assert change.p_value < 1e-6
    assert change.verdict == "ok"


def test_noise_that_hides_ten_percent_is_inconclusive_and_says_what_it_could_have_seen() -> None:
    change = one(series(5, seed=5, spread=0.2), series(5, seed=6, spread=0.2))
    assert change.verdict == "inconclusive"
    assert change.smallest_visible is not None
    assert change.smallest_visible > 0.3


def test_one_disturbed_run_does_not_hide_a_change() -> None:
    before, after = series(10, seed=7), [1.1 * x for x in series(10, seed=8)]
    before[3] *= 2.5
    change = one(before, after)
    assert change.verdict == "regressed"
    assert change.drawn_in == 1
    # Welch's own test misses it: this is what drawing in is for.
    import math

    plain = scipy_stats.ttest_ind([math.log(x) for x in after], [math.log(x) for x in before], equal_var=False)
    assert plain.pvalue > 0.01


def test_many_figures_raise_no_more_alarms_than_one() -> None:
    draw = random.Random(11)
    figures = {f"f{i}": a_figure(f"f{i}") for i in range(30)}
    alarmed = alone = 0
    for _ in range(200):
        sides = [{key: [draw.lognormvariate(0, 0.05) for _ in range(10)] for key in figures} for _ in range(2)]
        changes = judge_changes(figures, *sides)
        alarmed += any(change.verdict in ("regressed", "improved") for change in changes)
        alone += sum(one(sides[0][key], sides[1][key]).verdict in ("regressed", "improved") for key in figures)
    assert alarmed <= 8  # 1 % of 200 are 2; 8 and more have a chance of 0.1 %
    assert alone > 20  # of 6,000 comparisons without the adjustment: it is not the test that is asleep


def test_what_never_varies_costs_the_others_nothing() -> None:
    constants = {f"c{i}": a_figure(f"c{i}") for i in range(50)}
    real = a_figure("real")
    before = {key: [1.0] * 10 for key in constants} | {"real": series(10, seed=12)}
    after = {key: [1.0] * 10 for key in constants} | {"real": [1.1 * x for x in series(10, seed=13)]}
    changes = {change.figure.metric: change for change in judge_changes({**constants, "real": real}, before, after)}
    assert changes["real"].p_value == pytest.approx(one(before["real"], after["real"]).p_value)
    assert changes["c7"].verdict == "ok"


def test_a_constant_that_changed_is_found() -> None:
    assert one([0.7] * 5, [0.6] * 5, a_figure(unit="ratio", better="higher")).verdict == "regressed"


def test_a_share_that_was_zero_is_compared_by_difference() -> None:
    figure = a_figure("error_rate", unit="ratio")
    worse = one([0.0] * 10, [0.02, 0.03, 0.02, 0.04, 0.03, 0.02, 0.03, 0.03, 0.02, 0.04], figure)
    assert worse.absolute
    assert worse.verdict == "regressed"
    assert one([0.0] * 10, [0.0] * 10, figure).verdict == "ok"
    assert one([0.0] * 10, [0.0] * 9 + [0.001], figure).verdict == "ok"


def test_values_without_a_ratio_say_so() -> None:
    change = one([-1.0, 2.0, 3.0], [1.0, 2.0, 3.0], a_figure(unit="bytes"))
    assert change.verdict == "inconclusive"
    assert "no ratio" in change.reason


def test_too_few_runs_decide_nothing_however_far_apart() -> None:
    change = one([100.0, 101.0], [300.0, 301.0])
    assert change.verdict == "inconclusive"
    assert "too few" in change.reason


def test_what_does_not_gate_decides_nothing() -> None:
    tail = a_figure(gates=False)
    change = one(series(10, seed=1), [2 * x for x in series(10, seed=2)], tail)
    assert change.verdict == "inconclusive"
    assert change.smallest_visible is not None
    assert overall([change]) == "inconclusive"


@pytest.mark.parametrize(
    ("unit", "better", "share", "expected"),
    [
        ("ms", "lower", 0.099, "notice"),
        ("ms", "lower", 0.1, "warning"),
        ("1/s", "higher", -0.09, "notice"),
        ("1/s", "higher", -0.1, "warning"),
        ("bytes", "lower", 0.19, "notice"),
        ("bytes", "lower", 0.2, "warning"),
    ],
)
def test_the_documented_thresholds_set_the_severity(unit: str, better: str, share: float, expected: str) -> None:
    assert severity_of(a_figure(unit=unit, better=better), share) == expected


def test_the_worst_verdict_is_the_verdict() -> None:
    def changes(*verdicts: str) -> list[Change]:
        return [Change(figure=a_figure(), verdict=verdict) for verdict in verdicts]  # type: ignore[arg-type]

    assert overall(changes("ok", "improved", "regressed", "inconclusive")) == "regressed"
    assert overall(changes("ok", "inconclusive", "improved")) == "inconclusive"
    assert overall(changes("ok", "improved")) == "improved"
    assert overall(changes("ok", "ok")) == "ok"
    assert overall([]) == "inconclusive"


def test_every_verdict_has_a_rank_of_its_own_and_only_what_shows_nothing_is_open() -> None:
    assert set(STANDING) == set(get_args(Verdict))
    assert len({one.rank for one in STANDING.values()}) == len(STANDING)
    assert {verdict for verdict, one in STANDING.items() if one.open} == {"inconclusive", "drifting"}
    for one, other in itertools.combinations(STANDING, 2):
        first = min(one, other, key=["regressed", "drifting", "inconclusive", "improved", "ok"].index)
        assert worst([one, other]) == worst([other, one]) == first
    assert worst([]) == "inconclusive"


def test_one_figure_under_many_names_is_compared_once() -> None:
    before, after = series(10, seed=21), [1.08 * x for x in series(10, seed=22)]
    names = {f"n{i}": a_figure(f"n{i}") for i in range(20)}
    same = judge_changes(names, dict.fromkeys(names, before), dict.fromkeys(names, after))
    assert {change.p_value for change in same} == {one(before, after).p_value}
    others = {key: series(10, seed=100 + i) for i, key in enumerate(names)}
    different = judge_changes(names, {**others, "n0": before}, {**others, "n0": after})
    assert different[0].p_value == pytest.approx(20 * one(before, after).p_value)  # type: ignore[operator]
