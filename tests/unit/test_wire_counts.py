"""What the engines' counts say of a result's figures, and when they say nothing."""

from __future__ import annotations

import pytest

from perfsuite._core import Events, Wire
from perfsuite.loadgen.engines import ENGINES, most_connections
from perfsuite.loadgen.wire_counts import counted, idleness, warnings
from perfsuite.targets.http.wired import WIRE_SCHEMES


def counts(**more: int) -> dict[str, int]:
    return {**dict.fromkeys(Wire("127.0.0.1", 9, Events()).stats(), 0), "reads": 1000, "kernel_reads": 1000, **more}


def test_good_counts_say_nothing() -> None:
    fine = {"coalesced_reads": 10, "lag_over": 10, "lag_max_ns": 4_000_000, "turn_max_ns": 5_000_000, "sent": 100}
    assert warnings(counts(**fine, stale_retries=1)) == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"coalesced_reads": 11}, "11 of 1,000 reads held two chunks or more"),
        ({"merged_reads": 11, "merged_pieces": 12}, "12 chunks or more are missing"),
        ({"kernel_reads": 989}, "11 of 1,000 reads were stamped after the read"),
        ({"lag_over": 11, "lag_max_ns": 7_500_000}, "up to 7.5 ms"),
        ({"turn_max_ns": 6_000_000}, "busy for 6.0 ms"),
        ({"clock_steps": 1}, "the wall clock was set"),
        ({"paused": 2}, "the engine's log was full 2 times"),
        ({"sent": 100, "stale_retries": 50}, "50 of 100 requests were sent again"),
    ],
)
def test_each_trouble_has_its_words(more: dict[str, int], words: str) -> None:
    (text,) = warnings(counts(**more))
    assert words in text


def test_a_loop_that_was_not_held_says_so() -> None:
    assert idleness(7.7, 8, 3) == []
    (text,) = idleness(6.0, 8, 3)
    assert text.startswith("6 of 8 were in flight on average")
    assert "found none 3 times" in text
    (text,) = idleness(6.0, 8, None)
    assert text.startswith("6 of 8 were in flight on average")
    assert "event loop" in text, "Python drives in one"
    assert idleness(6.0, 8, None, 1.7) == [], "the others paused"


def test_several_engines_are_one() -> None:
    class Counting:
        def __init__(self, reads: int, longest: int) -> None:
            self.found = {"reads": reads, "lag_max_ns": longest}

        def stats(self) -> dict[str, int]:
            return self.found

    assert counted([Counting(3, 50), Counting(4, 20)]) == {"reads": 7, "lag_max_ns": 50}  # type: ignore[list-item]


def test_no_more_connections_than_files() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most_connections(3) == 3
    if hard != resource.RLIM_INFINITY:
        assert most_connections(hard * 2) < hard


def test_there_is_an_engine_for_each_scheme_that_targets_leave_to_one() -> None:
    assert ENGINES.keys() == WIRE_SCHEMES
