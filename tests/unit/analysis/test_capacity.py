"""The scalability law through levels of systems that are known: figures, intervals, what is held out."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from perfsuite.analysis.capacity import Law, Level, fit, held_out, in_flight

DOUBLED = (1, 2, 4, 8, 16, 32, 64)
SHARED = Law(0.05, 0.001, 0.00001)
"""Requests hold one another up, and beyond some seventy the more of them the fewer end."""
SLOTTED = Law(0.05, 0.0, 0.0, slots=8)


def levels(law: Law, noise: float = 0.0, seed: int = 0, at: tuple[int, ...] = DOUBLED) -> list[Level]:
    rng = random.Random(seed)
    return [
        Level(
            float(n),
            law.throughput(n) * math.exp(rng.gauss(0.0, noise)),
            noise,
            {"response_time p95": 1.3e3 * law.response_s(n)},
        )
        for n in at
    ]


def test_the_law_is_gunthers() -> None:
    assert SHARED.throughput(1) == pytest.approx(20.0)
    assert SHARED.throughput(10) == pytest.approx(10 / (0.05 + 0.009 + 0.0009))
    assert SHARED.most == pytest.approx(math.sqrt(0.049 / 0.00001))
    assert SHARED.peak == pytest.approx(SHARED.throughput(70))
    assert all(SHARED.throughput(n) <= SHARED.peak for n in range(1, 300))
    assert Law(0.05, 0.01, 0.0).peak == pytest.approx(100.0)
    assert Law(0.05, 0.0, 0.0).peak == math.inf


@pytest.mark.parametrize("law", [SHARED, SLOTTED, Law(0.05, 0.01, 0.0), Law(0.02, 0.0005, 0.0001)])
def test_the_knee_is_where_throughput_over_response_time_is_highest(law: Law) -> None:
    power = {n / 10: law.throughput(n / 10) / law.response_s(n / 10) for n in range(10, 2000)}
    assert law.knee == pytest.approx(max(power, key=power.__getitem__), abs=0.11)


@pytest.mark.parametrize("law", [SHARED, SLOTTED, Law(0.05, 0.002, 0.0, slots=6), Law(0.02, 0.0005, 0.0)])
def test_exact_levels_give_the_law_back(law: Law) -> None:
    model = fit(levels(law))
    assert model is not None
    for n in (1, 3, 24, 64, 128):
        assert model.law.throughput(n) == pytest.approx(law.throughput(n), rel=0.01)
        assert model.latency("response_time p95").at(n) == pytest.approx(1.3e3 * law.response_s(n), rel=0.02)
    assert not model.extrapolates(64)
    assert model.extrapolates(65)


@pytest.mark.parametrize("law", [SHARED, SLOTTED, Law(0.02, 0.01, 0.0)])
def test_the_interval_has_what_is_true_nineteen_times_of_twenty(law: Law) -> None:
    covered = 0
    for seed in range(60):
        model = fit(levels(law, noise=0.03, seed=seed), replicates=200, seed=seed)
        assert model is not None
        found = model.interval(lambda one: one.throughput(128))
        covered += found.low <= law.throughput(128) <= found.high
    assert covered >= 51  # of 60: one in a thousand lets more than that go by where 19 of 20 is true


def test_noise_that_repeats_itself_shows_in_the_interval() -> None:
    """Levels that lie off any law are not known as well as they repeat."""
    rough = [Level(one.concurrency, one.throughput * factor, 0.001) for one, factor in zip(
        levels(SHARED), (1.0, 1.3, 0.75, 1.25, 0.8, 1.3, 0.75), strict=True)]  # fmt: skip
    smooth, off = fit(levels(SHARED)), fit(rough)
    assert smooth is not None
    assert off is not None
    width = [(found.high - found.low) / found.value for found in (
        one.interval(lambda law: law.throughput(16)) for one in (smooth, off))]  # fmt: skip
    assert width[1] > 3 * width[0]


@pytest.mark.parametrize("law", [SHARED, SLOTTED])
def test_a_level_is_predicted_from_the_others(law: Law) -> None:
    found = held_out(levels(law, noise=0.02, seed=3))
    assert [one.concurrency for one in found] == list(DOUBLED[1:])
    assert [one.beyond for one in found] == [False] * 5 + [True]
    assert max(one.error for one in found) < 0.15
    # A system that is no such law is found out.
    odd = [Level(one.concurrency, one.throughput * (3.0 if one.concurrency == 8 else 1.0), 0.02) for one in levels(law)]
    assert max(one.error for one in held_out(odd)) > 0.5


def test_too_few_levels_are_no_model() -> None:
    assert fit([]) is None
    assert fit(levels(SHARED, at=(1, 2, 4))) is None
    assert fit([*levels(SHARED, at=(1, 2, 4)), *levels(SHARED, at=(4, 4))]) is None
    assert fit(levels(SHARED, at=(1, 2, 4, 8))) is not None
    assert held_out(levels(SHARED, at=(1, 2, 4, 8))) == []
    assert fit([Level(float(n), 0.0, 0.0) for n in DOUBLED]) is None


def test_the_most_within_a_limit() -> None:
    model = fit(levels(SLOTTED))
    assert model is not None
    curve = model.latency("response_time p95")
    assert curve.within(50.0, 64.0) == 0.0
    assert curve.within(1e9, 64.0) == 64.0
    at = curve.within(260.0, 64.0)  # four rounds of eight slots, times 1.3
    assert at == pytest.approx(32.0, rel=0.02)
    found = curve.interval(260.0, 64.0)
    assert found.low < at < found.high
    heights = [curve.at(n) for n in range(1, 100)]
    assert all(after >= before - 1e-9 for before, after in pairwise(heights))


def test_users_who_think_are_not_all_in_flight() -> None:
    assert in_flight(SLOTTED, 30, 0.0) == 30
    there = in_flight(SLOTTED, 30, 1.0)
    assert there + SLOTTED.throughput(there) * 1.0 == pytest.approx(30)
    assert there == pytest.approx(30 * 0.05 / 1.05, rel=0.01)
    crowd = in_flight(SLOTTED, 1000, 1.0)
    assert crowd == pytest.approx(1000 - 160, rel=0.01)
