"""A run against its history: suspicion, confirmation, steps and drift, and calm where nothing happened."""

from __future__ import annotations

import math

import pytest

from perfsuite.analysis import forecast
from perfsuite.analysis.forecast import MOST_FRESH, Expectation, expect, settle, suspicious, z_of
from runs_made import series


def expectation(values: list[float], **more: bool) -> Expectation:
    found = expect(values, **more)
    assert found is not None
    return found


def test_a_short_history_predicts_nothing() -> None:
    assert expect(series(7, seed=1)) is None
    assert expect(series(8, seed=1)) is not None
    assert expect([*series(10, seed=1), 0.0]) is None
    assert expect([*series(10, seed=1), math.inf]) is None


def test_what_is_usual_is_not_suspicious_and_what_is_not_is() -> None:
    found = expectation(series(30, seed=2))
    assert found.expected() == pytest.approx(100.0, rel=0.01)
    assert found.steps == ()
    assert not found.drifting
    assert not suspicious(found, 100.0, "lower", 0.1)
    assert suspicious(found, 110.0, "lower", 0.1)
    assert not suspicious(found, 90.0, "lower", 0.1)
    assert suspicious(found, 90.0, "higher", 0.1)


def test_the_first_five_fresh_runs_do_not_confirm_alone_and_then_they_do() -> None:
    found = expectation(series(30, seed=2))
    worse = series(16, seed=3, level=112.0)
    states = [settle(found, worse[:n], "lower", 0.1).state for n in range(6)]
    assert states == ["more"] * 5 + ["confirmed"]


def test_fresh_runs_that_are_as_usual_dismiss_it() -> None:
    found = expectation(series(30, seed=2))
    assert settle(found, series(2, seed=4), "lower", 0.1).state == "dismissed"


def test_a_sure_change_under_three_percent_is_dismissed() -> None:
    found = expectation(series(30, seed=5, spread=0.001))
    assert z_of(found, [101.5]) > 5
    assert settle(found, [101.5] * 6, "lower", 0.1).state == "dismissed"


def test_noise_that_never_decides_stays_open() -> None:
    found = expectation(series(30, seed=6, spread=0.3))
    settled = settle(found, series(MOST_FRESH, seed=7, level=112.0, spread=0.3), "lower", 0.1)
    assert settled.state == "open"
    assert forecast.smallest_visible(found, MOST_FRESH) > 0.2


def test_more_figures_need_more_proof() -> None:
    found = expectation(series(30, seed=8, spread=0.05))
    fresh = [108.5] * 6
    assert settle(found, fresh, "lower", 0.1).state == "confirmed"
    assert settle(found, fresh, "lower", 0.1, family=50).state == "more"


def test_an_accepted_step_is_the_new_normal() -> None:
    found = expectation(series(20, seed=9) + series(12, seed=10, level=130.0))
    assert found.steps == (20,)
    assert not found.drifting
    assert found.expected() == pytest.approx(130.0, rel=0.02)
    assert not suspicious(found, 130.0, "lower", 0.1)
    assert found.deviation < 0.04  # the step is no spread


def test_drift_is_called_drift_and_the_next_run_is_on_its_line() -> None:
    climbing = [value * 1.01**i for i, value in enumerate(series(30, seed=11))]
    found = expectation(climbing)
    assert found.drifting
    assert found.steps == ()
    assert math.expm1(found.drift) == pytest.approx(1.01**29 - 1, rel=0.15)
    assert not suspicious(found, 100.0 * 1.01**30, "lower", 0.1)
    assert suspicious(found, 1.12 * 100.0 * 1.01**30, "lower", 0.1)


def test_noise_alone_neither_drifts_nor_steps() -> None:
    found = [expectation(series(30, seed=seed, spread=0.05)) for seed in range(100, 200)]
    assert sum(one.drifting for one in found) <= 5
    assert sum(bool(one.steps) for one in found) <= 5


def test_an_outlier_in_the_history_does_not_blind_it() -> None:
    values = series(30, seed=12)
    clean = expectation(values)
    values[10] *= 3.0
    assert expectation(values).deviation < 1.6 * clean.deviation


def test_one_outlier_among_the_fresh_runs_confirms_nothing() -> None:
    found = expectation(series(30, seed=13))
    assert settle(found, [100.0, 100.5, 250.0, 99.5, 100.2, 99.8], "lower", 0.1).state == "dismissed"


def test_neighbours_that_are_alike_make_fresh_runs_worth_less() -> None:
    slow = [100.0 * math.exp(0.05 * math.sin(i / 3)) for i in range(40)]
    found = expectation(slow)
    assert found.shared > 0.5
    assert z_of(found, [110.0] * 16) < 1.3 * z_of(found, [110.0])


def test_a_history_that_never_varied_sees_everything() -> None:
    found = expectation([42.0] * 10)
    assert z_of(found, [42.0]) == 0.0
    assert z_of(found, [42.1]) == math.inf
    assert not suspicious(found, 42.0, "lower", 0.1)
    assert settle(found, [44.0] * 5, "lower", 0.1).state == "confirmed"
    assert settle(found, [42.0], "lower", 0.1).state == "dismissed"


def test_shares_are_predicted_as_they_are() -> None:
    found = expectation([0.0, 0.01] * 8, absolute=True)
    assert found.expected() == pytest.approx(0.005)
    assert suspicious(found, 0.2, "lower", 0.1)
    assert not suspicious(found, 0.01, "lower", 0.1)
