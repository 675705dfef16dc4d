"""Scores that come in clusters: covered by their intervals, and found where they differ."""

from __future__ import annotations

import math
import random

import pytest

from perfsuite.stats import (
    cluster_mean_interval,
    cluster_share_interval,
    mean_interval,
    paired_difference,
    share_interval,
)

EACH = 4


def drawn(rng: random.Random, clusters: int, share: float, alike: float) -> list[float]:
    """Hits of EACH in each cluster; ``alike`` 0: independent, 1: all or none of a cluster."""
    found = []
    for _ in range(clusters):
        own = rng.random() < share
        found.append(float(sum(own if rng.random() < alike else rng.random() < share for _ in range(EACH))))
    return found


@pytest.mark.parametrize("clusters", [5, 15, 60])
@pytest.mark.parametrize("alike", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_share_is_covered_however_alike_a_cluster_is(clusters: int, alike: float, share: float) -> None:
    rng = random.Random(7)
    covered = 0
    for _ in range(300):
        _, low, high = cluster_share_interval(drawn(rng, clusters, share, alike), [EACH] * clusters)
        covered += low <= share <= high
    assert covered >= 300 * 0.915  # 0.95 less what 300 trials and five clusters of all or none make of it


def test_scores_that_are_taken_for_independent_are_not_covered() -> None:
    rng = random.Random(7)  # the negative control: what the interval must not be
    covered = 0
    for _ in range(300):
        hits = sum(drawn(rng, 15, 0.95, 1.0))
        _, low, high = share_interval(hits, 15 * EACH)
        covered += low <= 0.95 <= high
    assert covered < 300 * 0.85


def test_nothing_but_hits_is_worth_its_clusters() -> None:
    assert cluster_share_interval([4, 4, 4], [4, 4, 4]) == share_interval(3, 3)
    assert cluster_share_interval([0] * 9, [4] * 9).high == pytest.approx(1 - 0.05 ** (1 / 9))


def test_one_cluster_and_empty_clusters() -> None:
    assert cluster_share_interval([3], [4]) == (0.75, 0.0, 1.0)
    assert cluster_share_interval([3, 0, 1], [4, 0, 4]) == cluster_share_interval([3, 1], [4, 4])
    assert cluster_mean_interval([3], [4]) == (0.75, -math.inf, math.inf)


def test_a_mean_of_equal_clusters_is_that_of_their_means() -> None:
    sums = [3.0, 8.0, 5.0, 10.0]
    assert cluster_mean_interval(sums, [2] * 4) == pytest.approx(mean_interval([s / 2 for s in sums]))


def test_a_bootstrap_of_many_clusters_is_repeatable() -> None:
    rng = random.Random(3)
    sums = [rng.gauss(20, 5) for _ in range(80)]
    counts = [rng.randint(1, 5) for _ in range(80)]
    first = cluster_mean_interval(sums, counts, seed=1)
    assert first == cluster_mean_interval(sums, counts, seed=1)
    assert first.estimate == pytest.approx(sum(sums) / sum(counts))
    assert first.low < first.estimate < first.high


def test_pairs_see_what_clusters_hide() -> None:
    rng = random.Random(11)
    hard = [rng.random() for _ in range(40)]  # conversations differ far more than the systems do
    a = [round(EACH * h * 25) / 25 for h in hard]
    b = [x * 0.9 for x in a]
    counts = [EACH] * 40
    found = paired_difference((a, counts), (b, counts))
    assert found.p_value < 1e-6
    assert 0.0 < found.low < found.estimate < found.high
    apart_a, apart_b = cluster_share_interval(a, counts), cluster_share_interval(b, counts)
    assert apart_a.low < apart_b.high  # unpaired, nothing could be said


def test_equal_systems_differ_at_the_stated_rate() -> None:
    rng = random.Random(5)
    false_alarms = 0
    for _ in range(400):
        a, b = drawn(rng, 20, 0.8, 0.5), drawn(rng, 20, 0.8, 0.5)
        false_alarms += paired_difference((a, [EACH] * 20), (b, [EACH] * 20)).p_value < 0.05
    assert false_alarms <= 400 * 0.085


def test_identical_answers_exclude_only_what_was_looked_for() -> None:
    same = ([4.0] * 10, [4.0] * 10)
    found = paired_difference(same, same)
    assert (found.estimate, found.p_value) == (0.0, 1.0)
    assert found.high == -found.low == pytest.approx(1 - 0.05 ** (1 / 10))


def test_two_clusters_that_agree_show_nothing() -> None:
    found = paired_difference(([4, 4], [4, 4]), ([0, 0], [4, 4]))
    assert found.estimate == 1.0
    assert found.p_value == 0.5
    assert paired_difference(([4], [4]), ([0], [4])) == (1.0, -1.0, 1.0, 1.0)


def test_only_clusters_of_both_are_compared() -> None:
    a, b = ([4, 0, 2], [4, 0, 4]), ([4, 3, 1], [4, 4, 4])
    assert paired_difference(a, b) == paired_difference(([4, 2], [4, 4]), ([4, 1], [4, 4]))


@pytest.mark.parametrize(
    ("sums", "counts", "says"),
    [
        ([1.0], [1.0, 2.0], "one of each"),
        ([], [], "nothing to answer"),
        ([0.0], [0.0], "nothing to answer"),
        ([math.nan], [1.0], "sums"),
        ([1.0], [-1.0], "counts"),
        ([5.0, 1.0], [4.0, 4.0], "between 0 and 1"),
    ],
)
def test_what_is_no_share(sums: list[float], counts: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cluster_share_interval(sums, counts)


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="same clusters"):
        paired_difference(([1], [1]), ([1, 1], [1, 1]))
    with pytest.raises(ValueError, match="nothing to compare"):
        paired_difference(([1, 0], [1, 0]), ([0, 1], [0, 1]))
