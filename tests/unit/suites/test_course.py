"""How a figure went: exact sums, times told apart as finely as there is room for."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite.suites.course import FIRST_S, MOST, Course


def test_readings_far_apart_are_points_of_their_own() -> None:
    course = Course()
    for t_s, value in ((3.0, 30.0), (0.0, 10.0), (1.5, 20.0)):
        course.add(t_s, value)
    assert course.series() == [(0.0, 10.0), (1.5, 20.0), (3.0, 30.0)]


def test_those_of_one_slice_are_their_mean_from_the_first_of_them_on() -> None:
    course = Course()
    course.add(0.05, 1.0)
    course.add(0.02, 3.0)
    assert course.series() == [(0.02, 2.0)]


def test_ratios_are_of_sums_and_nothing_of_nothing_is_no_point() -> None:
    course = Course()
    course.add(0.0, 1.0, 10.0)
    course.add(0.1, 5.0, 5.0)
    course.add(7.0, 0.0, 0.0)
    assert course.series() == [(0.0, pytest.approx(6 / 15))]
    assert course.series(complement=True) == [(0.0, pytest.approx(9 / 15))]
    assert Course().series() == []


@given(st.lists(st.tuples(st.floats(0.0, 1e6), st.integers(0, 9), st.integers(1, 9)), max_size=60))
def test_sums_are_exact_whatever_the_times(added: list[tuple[float, int, int]]) -> None:
    course = Course()
    for t_s, part, whole in added:
        course.add(t_s, part, whole)
    kept = [course._slices[number] for number in sorted(course._slices)]
    assert sum(one.part for one in kept) == sum(part for _, part, _ in added)
    assert sum(one.whole for one in kept) == sum(whole for _, _, whole in added)
    times = [t_s for t_s, _ in course.series()]
    assert times == sorted(times)
    assert set(times) <= {t_s for t_s, _, _ in added}
    assert max(course._slices, default=0) < MOST


def test_hours_take_no_more_room_than_minutes() -> None:
    course = Course()
    for second in range(4 * 3600):
        course.add(second, second)
    points = course.series()
    assert MOST / 2 < len(points) <= MOST
    widths = {round(after - before) for (before, _), (after, _) in pairwise(points)}
    assert widths == {32}
    assert math.log2(course._width_s / FIRST_S) == 8.0
    assert points[10][1] == pytest.approx(10 * 32 + 15.5)
