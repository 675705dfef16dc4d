"""A run cut into short ones: as many as its samples bear, in their order, and none lost."""

from __future__ import annotations

import random

import pytest

from perfsuite import Histogram
from perfsuite.analysis import stretches
from perfsuite.analysis.alone import GUESS_WORTH, RUN_TO_RUN, alone
from perfsuite.analysis.comparable import Figure, Measured
from perfsuite.analysis.summary import summarise
from perfsuite.evidence import Estimate, Evidence, Level, RatioOfSums, Samples, Share
from perfsuite.metric import catalogue

FIGURE = Figure(phase="load", metric="response_time", stat="p50", unit="ms", better="lower", gates=True)


def blocks(*counts: int, level: float = 100.0) -> list[Histogram]:
    made = []
    for index, count in enumerate(counts):
        made.append(Histogram(10))
        made[-1].record_many([level + index] * count)
    return made


def test_each_stretch_has_about_as_many_samples_and_its_place_in_time() -> None:
    found = stretches.of_blocks(blocks(*[10] * 64))
    assert len(found["p50"]) == len(found["mean"]) == stretches.MOST
    assert found["mean"] == sorted(found["mean"])
    assert found["mean"][0] == pytest.approx(102.5, abs=0.6)  # of the first six or seven blocks
    assert found["mean"][-1] == pytest.approx(160.5, abs=0.6)


@pytest.mark.parametrize(
    ("counts", "number"),
    [
        ((), 0),
        ((100,), 0),
        ((100, 100), 0),
        ((4, 4, 4), 0),
        ((5, 5, 5), 3),
        ((0, 9, 0, 9, 9, 0), 3),
        ((5,) * 7, 7),
        ((3,) * 20, 10),
        ((1,) * 17, 3),
    ],
)
def test_few_samples_or_blocks_make_few_stretches_or_none(counts: tuple[int, ...], number: int) -> None:
    assert len(stretches.of_blocks(blocks(*counts)).get("p50", [])) == number


def test_a_block_that_has_most_of_it_all_takes_the_place_of_several() -> None:
    assert stretches.of_blocks(blocks(1, 1000, 1)) == {}
    assert len(stretches.of_blocks(blocks(500, 1, 1, 1000, 1, 1, 500))["p50"]) == stretches.FEWEST


def test_rates_are_of_all_that_was_done_in_a_stretch() -> None:
    done = [100.0] * 20
    rates = stretches.of_ratios(done, [1.0] * 10 + [2.0] * 10, done)
    assert rates == [100.0] * 5 + [50.0] * 5
    assert stretches.of_ratios(done, [0.0] * 20, done) == []
    assert stretches.of_ratios([1.0], [1.0], [1.0]) == []


def test_shares_are_of_all_trials_of_a_stretch() -> None:
    hits, trials = [1.0, 3.0] * 10, [2.0, 6.0] * 10
    assert stretches.of_ratios(hits, trials, trials) == pytest.approx([0.5] * 10)


def test_the_highest_reading_of_each_stretch() -> None:
    assert stretches.of_highest([float(x) for x in range(20)]) == [
        1.0,
        3.0,
        5.0,
        7.0,
        9.0,
        11.0,
        13.0,
        15.0,
        17.0,
        19.0,
    ]
    assert stretches.of_highest([1.0, 5.0, 3.0, 4.0]) == [1.0, 5.0, 3.0, 4.0]
    assert stretches.of_highest([1.0, 2.0]) == []


def test_every_kind_of_evidence_that_can_be_cut_is() -> None:
    """Each by the statistic that it is judged by, so that a comparison finds it."""
    rows = catalogue()
    clusters = [(9.0, 10.0)] * 8
    evidence: dict[str, Evidence] = {
        "response_time": Samples(histogram=sum(blocks(*[10] * 8), Histogram(10)), blocks=blocks(*[10] * 8)),
        "cache_hit_rate": Share(hits=72.0, trials=80.0, clusters=clusters),
        "memory_savings": RatioOfSums(parts=[1.0] * 20, wholes=[4.0] * 20, complement=True),
        "memory_usage": Level(series=[(float(t), 1e6) for t in range(9)], summary="max"),
        "throughput": Estimate(value=5.0, low=4.0, high=6.0, stretches=[5.0, 5.5, 4.5]),
    }
    expected = {"cache_hit_rate": 0.9, "memory_savings": 0.75, "memory_usage": 1e6}
    for name, one in evidence.items():
        found = summarise(rows[name], one)
        stat = "p50" if name == "response_time" else found.stat
        assert len(found.stretches[stat]) >= stretches.FEWEST
        if name in expected:
            assert found.stretches[stat] == pytest.approx([expected[name]] * len(found.stretches[stat]))
    nothing = summarise(rows["cache_hit_rate"], Share(hits=1.0, trials=2.0))
    assert nothing.stretches == {}


def measured(level: float, spread: float, seed: int, number: int = 10) -> Measured:
    draw = random.Random(seed)
    return Measured(FIGURE, level, (), tuple(level * draw.lognormvariate(0.0, spread) for _ in range(number)))


def test_what_processes_differ_by_is_added_to_what_stretches_show() -> None:
    still = alone([measured(100.0, 0.0, 1)], [measured(110.0, 0.0, 2)])
    assert still is not None
    assert still.error == pytest.approx(RUN_TO_RUN * 2**0.5)
    assert still.df == pytest.approx(GUESS_WORTH)
    noisy = alone([measured(100.0, 0.5, 1)], [measured(110.0, 0.5, 2)])
    assert noisy is not None
    assert noisy.error > 2 * still.error
    assert noisy.p_value > still.p_value


def test_what_several_runs_differ_by_is_weighed_with_the_guess() -> None:
    def error(*levels: float) -> tuple[float, float]:
        found = alone([measured(level, 0.0, 1) for level in levels], [measured(100.0, 0.0, 2)])
        assert found is not None
        return found.error, found.df

    alike, apart = error(100.0, 100.0, 100.0), error(80.0, 100.0, 125.0)
    assert alike[0] < RUN_TO_RUN * (1 / 3 + 1) ** 0.5 < apart[0]
    assert alike[1] == apart[1] == pytest.approx(GUESS_WORTH + 2)


def test_stretches_that_are_alike_are_worth_fewer() -> None:
    climbing = tuple(100.0 + 3.0 * i for i in range(10))
    mixed = tuple(climbing[i] for i in (0, 9, 4, 2, 7, 5, 1, 8, 3, 6))

    def error(values: tuple[float, ...]) -> float:
        found = alone([Measured(FIGURE, 113.0, (), values)], [measured(113.0, 0.0, 1)])
        assert found is not None
        return found.error

    assert error(climbing) > error(mixed)


def test_what_has_no_stretches_or_no_logarithm_has_no_test() -> None:
    good = measured(100.0, 0.01, 1)
    assert alone([good], [Measured(FIGURE, 100.0)]) is None
    assert alone([good], [Measured(FIGURE, 0.0, (), (0.0, 0.0))]) is None
    assert alone([good], []) is None
