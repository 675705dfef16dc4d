"""Clocks of other processes: where they stand, and how far that may be off."""

from __future__ import annotations

import random

from perfsuite.cluster.clocks import related


def test_the_shortest_round_trip_decides() -> None:
    clock = related([(0, 1_000_500, 900), (1_000, 1_001_100, 1_200), (5_000, 1_009_000, 9_000)])
    assert (clock.offset_ns, clock.error_ns) == (1_000_000, 100)
    assert clock.here(clock.there(77)) == 77


def test_the_error_holds_however_uneven_the_two_ways_are() -> None:
    rng = random.Random(3)
    for _ in range(500):
        offset = rng.randrange(-(10**12), 10**12)
        trips = []
        for _ in range(5):
            sent = rng.randrange(10**9)
            out, back = rng.randrange(10**6), rng.randrange(10**6)
            trips.append((sent, sent + out + offset, sent + out + back))
        clock = related(trips)
        assert abs(clock.offset_ns - offset) <= clock.error_ns


def test_an_error_smaller_than_half_the_round_trip_would_not_hold() -> None:
    clock = related([(0, 1_000, 1_000)])  # all of the time was spent on the way there
    assert abs(clock.offset_ns - 0) == clock.error_ns == 500
