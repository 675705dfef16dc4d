"""Leaks and scales from readings: what is there is found, and nothing else is."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from perfsuite.analysis.leaks import Leak, decided, growth, leak
from perfsuite.analysis.scaling import CLASSES, project

PAGE = 4096
LIMIT = 102.4


def readings(
    each: float, *, steps: int = 0, seed: int = 0, count: int = 100, every: int = 10
) -> list[tuple[float, float]]:
    """Memory that grows by so many bytes an iteration, in pages, with some noise and a few steps of an arena."""
    rng = random.Random(seed)
    at = sorted(rng.sample(range(count), steps))
    found = []
    for i in range(count):
        size = 30e6 + each * i * every + sum(i >= one for one in at) * 256 * 1024 + rng.choice((0, 0, PAGE))
        found.append((float(i * every), float(int(size) // PAGE * PAGE)))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_a_kilobyte_is_found_within_a_thousand_iterations(seed: int) -> None:
    found = leak(readings(1024, seed=seed))
    assert found is not None
    assert found.low > LIMIT
    assert found.low <= 1024 <= found.high * 1.05


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_what_does_not_leak_is_not_said_to(seed: int, steps: int) -> None:
    found = leak(readings(0, steps=steps, seed=seed))
    assert found is not None
    assert found.low <= LIMIT


def test_a_few_small_steps_are_no_leak() -> None:
    """Memory of a loop that keeps nothing: 120 KB in four steps, late."""
    heights = {35: 12, 42: 68, 58: 4, 70: 36, 93: 4}
    sizes = accumulate((heights.get(at, 0) * 1024.0 for at in range(100)), initial=30e6)
    found = leak([(at * 10.0, size) for at, size in enumerate(sizes)])
    assert found is not None
    assert found.low <= LIMIT < found.bytes_each


@pytest.mark.parametrize("each", [1, 2, 5])
def test_what_leaks_in_large_blocks_is_found(each: int) -> None:
    """A megabyte every so many readings, and nothing between."""
    sizes = accumulate((1e6 * (at % each == 0) for at in range(1, 100)), initial=30e6)
    found = leak([(at * 10.0, size) for at, size in enumerate(sizes)])
    assert found is not None
    assert found.low > LIMIT


def test_filling_at_the_beginning_is_no_leak() -> None:
    points = [(float(i), 30e6 + min(i, 250) * 10_000.0) for i in range(0, 1000, 10)]
    found = leak(points)
    assert found is not None
    assert (found.bytes_each, found.low, found.high) == (0.0, 0.0, 0.0)


def test_what_is_held_accuses_and_resident_memory_clears_nobody() -> None:
    def slope(value: float, low: float, high: float) -> Leak:
        return Leak(value, low, high, 70)

    none, kilobyte = slope(20.0, 10.0, 30.0), slope(1024.0, 1000.0, 1050.0)
    torn, hidden = slope(400.0, 300.0, 500.0), slope(40.0, 0.0, 60.0)
    assert decided(torn, []) is torn  # another process
    assert decided(torn, [none, none]) == slope(20.0, 10.0, 500.0)  # a heap that grows by itself: open, not failed
    assert decided(hidden, [kilobyte, none]) == kilobyte  # objects that go into free room
    assert decided(torn, [none, kilobyte]) == kilobyte  # an extension's blocks, which are no objects
    assert decided(none, [none, none]) == none
    # Blocks have their heads and their rounding beside what is in them: the value is the objects', the bound is not.
    rounded = slope(1100.0, 1040.0, 1150.0)
    assert decided(none, [kilobyte, rounded]) == slope(1040.0, 1040.0, 1150.0)


def test_too_few_readings_say_nothing() -> None:
    assert leak([]) is None
    assert leak(readings(1024, count=12)) is None


def test_growth_is_of_the_iterations_that_were_made() -> None:
    points = [(0.0, 100.0), (50.0, 150.0), (100.0, 300.0), (150.0, 310.0)]
    assert growth(points, 100) == 200.0
    assert growth(points, 60) == 200.0
    assert growth(points, 151) is None
    assert growth([], 1) is None


def test_a_line_is_projected_and_says_where_it_extrapolates() -> None:
    points = [(users, 20e6 + users * 50e3) for users in (1.0, 10.0, 25.0, 50.0, 75.0, 100.0)]
    small, *_, enterprise = [project(points, row.users) for row in CLASSES]
    assert small.value == pytest.approx(20.5e6)
    assert not small.extrapolated
    assert enterprise.value == pytest.approx(520e6)
    assert enterprise.extrapolated
    assert enterprise.low <= enterprise.value <= enterprise.high
    assert enterprise.error == pytest.approx(0.0, abs=1e-12)


def test_a_line_that_fits_badly_says_so() -> None:
    points = [(1.0, 20e6), (10.0, 40e6), (25.0, 22e6), (50.0, 60e6), (75.0, 30e6), (100.0, 80e6)]
    line = project(points, 10_000)
    assert line.error > 0.1
    assert line.high > 1.5 * line.value
    with pytest.raises(ValueError, match="3 points"):
        project(points[:2], 10)
