"""When the requests of an open loop fall due."""

from __future__ import annotations

import inspect
import itertools
import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite._core import Arrivals

SECOND = 1_000_000_000


@given(rate=st.floats(0.01, 1e6), n=st.integers(1, 200))
@settings(max_examples=50, deadline=None)
def test_constant_is_the_exact_schedule(rate: float, n: int) -> None:
    assert Arrivals("constant", rate).take(n) == [pytest.approx(i / rate * SECOND, abs=1.0) for i in range(n)]


def test_a_schedule_is_an_iterator_that_goes_on() -> None:
    arrivals = Arrivals("constant", 4)
    assert iter(arrivals) is arrivals
    assert list(itertools.islice(arrivals, 3)) == [0, SECOND // 4, SECOND // 2]
    assert next(arrivals) == 3 * SECOND // 4


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_poisson_split_at_random_is_poisson_again(share: float) -> None:
    """Thinning: each kept arrival is independent, so the gaps stay exponential at share × rate; an evenly spaced
    schedule fails the same test."""

    def gaps(kind: str) -> list[float]:
        toss = random.Random(5)
        kept = [due for due in Arrivals(kind, 1000.0, seed=11).take(60_000) if toss.random() < share]
        return [(b - a) / SECOND * 1000.0 * share for a, b in itertools.pairwise(kept)]

    random_gaps = gaps("poisson")
    error = 5.0 / math.sqrt(len(random_gaps))
    assert statistics.fmean(random_gaps) == pytest.approx(1.0, abs=error)
    assert statistics.pvariance(random_gaps) == pytest.approx(1.0, abs=error * math.sqrt(8))
    even = statistics.pvariance(gaps("constant"))
    assert even == pytest.approx(1.0 - share, abs=0.06), "evenly spaced arrivals thin to a geometric, not a Poisson"
    if share > 0.2:
        assert abs(even - 1.0) > error * math.sqrt(8)


def test_poisson_counts_in_a_second_vary_as_their_mean() -> None:
    counts = [0] * 2000
    for due in Arrivals("poisson", 20.0, seed=3):
        if due >= 2000 * SECOND:
            break
        counts[due // SECOND] += 1
    assert statistics.fmean(counts) == pytest.approx(20.0, rel=0.03)
    assert statistics.pvariance(counts) / statistics.fmean(counts) == pytest.approx(1.0, abs=0.15)


@given(
    start=st.floats(0, 50), end=st.floats(0, 50), duration=st.floats(0.5, 20), random_=st.booleans(),
    kind=st.sampled_from(["ramp", "step"]), steps=st.integers(1, 9), seed=st.integers(0, 2**64 - 1),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_changing_rates_never_go_back(
    start: float, end: float, duration: float, random_: bool, kind: str, steps: int, seed: int
) -> None:
    if (end if kind == "step" and steps == 1 else max(start, end)) < 1e-6:
        return
    arrivals = Arrivals(kind, end, start_rate=start, duration_s=duration, steps=steps, random=random_, seed=seed)
    dues = arrivals.take(300)
    assert dues == sorted(dues)
    assert all(due >= 0 for due in dues)
    if len(dues) < 300:
        assert end == pytest.approx(0.0, abs=1e-6)
        assert arrivals.take(1) == []


def test_ramp_and_step_deliver_their_mean_rate() -> None:
    for kind, mean in (("ramp", 50.0), ("step", 60.0)):  # 0 → 100; 20, 40, … 100
        for random_ in (False, True):
            dues = Arrivals(kind, 100.0, duration_s=100.0, random=random_, seed=1).take(20_000)
            inside = sum(due < 100 * SECOND for due in dues)
            assert inside == pytest.approx(mean * 100, abs=5 * math.sqrt(mean * 100) if random_ else 1.0)


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (("uniform", 1.0), {}),
        (("constant", 0.0), {}),
        (("constant", -3.0), {}),
        (("poisson", math.nan), {}),
        (("poisson", math.inf), {}),
        (("ramp", 5.0), {}),
        (("ramp", 5.0), {"duration_s": -1.0}),
        (("step", 5.0), {"duration_s": 1.0, "steps": 0}),
        (("ramp", 5.0), {"duration_s": 1.0, "start_rate": math.nan}),
    ],
)
def test_what_cannot_be_a_schedule_is_refused(arguments: tuple[str, float], keywords: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"arrivals"):
        Arrivals(*arguments, **keywords)  # type: ignore[arg-type]


def test_take_refuses_a_negative_count() -> None:
    with pytest.raises(ValueError, match="-1"):
        Arrivals("constant", 1.0).take(-1)
    assert Arrivals("constant", 1.0).take(0) == []


def test_the_signature_can_be_inspected() -> None:
    assert str(inspect.signature(Arrivals)) == (
        "(kind, rate, *, start_rate=None, duration_s=None, steps=5, random=False, seed=0)"
    )
