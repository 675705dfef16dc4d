"""A suspicion decided by pairs of runs: what both sides share is no change, and few pairs say nothing."""

from __future__ import annotations

import math
import random

import pytest

from perfsuite.analysis.beside import FEWEST_TO_CONFIRM, MOST_PAIRS, Pair, settle_beside, visible_beside


def pairs(count: int, factor: float, *, seed: int = 1, spread: float = 0.05, days: float = 0.0) -> list[Pair]:
    """Runs that vary by ``spread``, and share a day that varies by ``days``."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        day = 100.0 * draw.lognormvariate(0.0, days)
        made.append(Pair(day * draw.lognormvariate(0.0, spread), factor * day * draw.lognormvariate(0.0, spread)))
    return made


def test_a_change_is_confirmed_and_none_is_dismissed() -> None:
    assert settle_beside(pairs(20, 1.2), "lower", 0.1).state == "confirmed"
    assert settle_beside(pairs(20, 1.0), "lower", 0.1).state == "dismissed"
    assert settle_beside(pairs(20, 1.2), "higher", 0.1).state == "dismissed"
    assert settle_beside(pairs(20, 0.8), "higher", 0.1).state == "confirmed"


def test_what_both_share_is_no_change() -> None:
    """Days that differ by 40 % hide nothing and show nothing."""
    assert settle_beside(pairs(20, 1.2, days=0.4), "lower", 0.1).state == "confirmed"
    settled = settle_beside(pairs(20, 1.2, days=0.4), "lower", 0.1)
    assert settled.share == pytest.approx(0.2, abs=0.05)
    assert settle_beside(pairs(20, 1.0, days=0.4), "lower", 0.1).state == "dismissed"


def test_few_pairs_confirm_nothing() -> None:
    slow = pairs(20, 2.0, spread=0.01)
    states = [settle_beside(slow[:n], "lower", 0.1).state for n in range(FEWEST_TO_CONFIRM + 1)]
    assert states == ["more"] * FEWEST_TO_CONFIRM + ["confirmed"]


def test_noise_that_never_decides_stays_open_and_says_what_it_could_have_seen() -> None:
    noisy = pairs(MOST_PAIRS, 1.1, spread=0.4)
    assert settle_beside(noisy, "lower", 0.1).state == "open"
    visible = visible_beside(noisy)
    assert visible is not None
    assert visible > 0.3
    assert visible_beside(noisy[:2]) is None
    assert (visible_beside(noisy, family=20) or 0.0) > visible


def test_a_disturbed_run_hides_no_change_and_makes_none() -> None:
    slow, same = pairs(20, 1.2), pairs(20, 1.0)
    slow[3] = slow[3]._replace(before=300.0)
    same[3] = same[3]._replace(after=300.0)
    assert settle_beside(slow, "lower", 0.1).state == "confirmed"
    assert settle_beside(same, "lower", 0.1).state != "confirmed"


def test_more_figures_need_more_proof() -> None:
    some = pairs(9, 1.07, seed=3, spread=0.03)
    assert settle_beside(some, "lower", 0.1).state == "confirmed"
    assert settle_beside(some, "lower", 0.1, family=100).state == "more"


def test_figures_that_never_vary() -> None:
    still = [Pair(10.0, 10.0)] * 8
    assert settle_beside(still, "lower", 0.1).state == "dismissed"
    assert settle_beside([Pair(10.0, 11.0)] * 8, "lower", 0.1).state == "confirmed"
    assert settle_beside([Pair(10.0, 10.1)] * 8, "lower", 0.1).state == "dismissed"  # sure, and under 3 %


def test_shares_are_held_as_differences() -> None:
    bad = [Pair(0.0, 0.2 + 0.01 * (n % 3)) for n in range(8)]
    settled = settle_beside(bad, "lower", 0.1, absolute=True)
    assert settled.state == "confirmed"
    assert settled.share == pytest.approx(0.21, abs=0.01)
    assert settle_beside([Pair(0.01, 0.0)] * 8, "lower", 0.1, absolute=True).state == "dismissed"


def test_a_value_that_has_no_logarithm_is_no_crash() -> None:
    gone = [Pair(100.0, 0.0)] * 8
    assert settle_beside(gone, "higher", 0.1).state == "confirmed"
    assert math.isfinite(settle_beside(gone, "higher", 0.1).share)
