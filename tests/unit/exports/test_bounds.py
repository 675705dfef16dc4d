"""Histograms counted into the bounds of metrics systems."""

from __future__ import annotations

import random
from bisect import bisect_left
from itertools import accumulate

import pytest

from perfsuite._core import Histogram
from perfsuite.exports.bounds import counted, octaves


def truth(values: list[float], bounds: list[float]) -> list[int]:
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[bisect_left(bounds, value)] += 1
    return counts


@pytest.mark.parametrize("precision", [7, 10])
def test_whole_numbers_fall_where_they_belong_those_on_a_bound_too(precision: int) -> None:
    values = [float(n) for n in range(129)]
    histogram = Histogram(precision)
    histogram.record_many(values)
    bounds = octaves(0, 7)
    assert bounds[:4] == [1.0, 1.5, 2.0, 3.0]
    assert counted(histogram, bounds) == truth(values, bounds)


def test_times_fall_where_they_belong_to_a_cell_whatever_their_size() -> None:
    draw = random.Random(3)
    values = [draw.lognormvariate(3.0, 2.0) for _ in range(20_000)]
    histogram = Histogram(10)
    histogram.record_many(values)
    bounds = octaves(-4, 18)
    found = list(accumulate(counted(histogram, bounds)))
    least = accumulate(truth(values, bounds))
    most = accumulate(truth(values, [bound * (1 + 2**-9) for bound in bounds]))
    assert all(low <= count <= high for low, count, high in zip(least, found, most, strict=True))
    assert found[-1] == len(values)
    assert len({*found}) > 30


def test_bounds_that_are_no_edges_miss_by_no_more_than_a_cell() -> None:
    values = [1.0 + n / 1000 for n in range(9000)]
    histogram = Histogram(10)
    histogram.record_many(values)
    bounds = [2.5, 5.0, 7.5]
    for found, wanted in zip(counted(histogram, bounds), truth(values, bounds), strict=True):
        assert abs(found - wanted) <= 2 * 8 + 1  # a cell at 7.5 is 1/256 wide: four values, and one at each side


def test_nothing_is_lost_above_and_below_all_bounds() -> None:
    histogram = Histogram(7)
    histogram.record_many([0.0, 1e-9, 1e9, 1e9])
    assert counted(histogram, [1.0, 2.0]) == [2, 0, 2]
    assert counted(Histogram(7), [1.0]) == [0, 0]
