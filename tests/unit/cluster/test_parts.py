"""A load in parts is the whole load, and nothing else."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from perfsuite.cluster.parts import parts_of, shared_out, slots_of
from perfsuite.errors import UsageError
from perfsuite.loadgen import LoadSpec
from perfsuite.loadgen.schedule import schedule
from perfsuite.plan import Workload
from perfsuite.workloads.requests import requests

ARRIVALS = ("constant", "poisson", "ramp", "step")


def due(spec: LoadSpec, seconds: float) -> list[tuple[int, int]]:
    """What falls due within the time."""
    found = []
    for at, user in schedule(spec):
        if at >= seconds * 1e9:
            return found
        found.append((at, user))
    return found


@pytest.mark.parametrize("number", [1, 2, 3, 7])
@pytest.mark.parametrize("arrivals", ARRIVALS)
def test_arrivals_of_all_parts_are_those_of_the_whole(arrivals: Any, number: int) -> None:
    whole = LoadSpec(duration_s=5.0, rate=90.0, arrivals=arrivals, seed=11)
    parts = [due(part, 5.0) for part in parts_of(whole, number)]
    assert sorted(pair for part in parts for pair in part) == due(whole, 5.0)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_constant_parts_are_constant_and_a_phase_apart() -> None:
    first, second = parts_of(LoadSpec(duration_s=5.0, rate=10.0, arrivals="constant"), 2)
    gaps = {b - a for part in (first, second) for (a, _), (b, _) in zip(due(part, 3), due(part, 3)[1:], strict=False)}
    assert gaps == {200_000_000}
    assert due(second, 1)[0][0] - due(first, 1)[0][0] == 100_000_000


def test_users_keep_their_own_times() -> None:
    whole = LoadSpec(duration_s=9.0, users=10, pace_s=2.0, seed=4)
    parts = [due(part, 9.0) for part in parts_of(whole, 3)]
    assert sorted(pair for part in parts for pair in part) == due(whole, 9.0)
    assert [{user % 3 for _, user in part} for part in parts] == [{0}, {1}, {2}]


def test_slots_requests_and_tokens_sum_to_what_was_asked() -> None:
    whole = LoadSpec(duration_s=5.0, concurrency=11, max_requests=101, max_tokens=1000)
    parts = parts_of(whole, 4)
    assert [part.concurrency for part in parts] == [3, 3, 3, 2]
    assert [part.max_requests for part in parts] == [26, 25, 25, 25]
    assert sum(part.max_tokens or 0 for part in parts) == 1000


def test_the_first_so_many_arrivals_are_sent_where_they_are_limited() -> None:
    whole = LoadSpec(duration_s=60.0, rate=50.0, max_requests=17, seed=3)
    sent = [pair for part in parts_of(whole, 3) for pair in islice(schedule(part), part.max_requests)]
    assert sorted(sent) == list(islice(schedule(whole), 17))


@pytest.mark.parametrize(
    ("asked", "parts"),
    [({"concurrency": 2}, 2), ({"users": 3}, 3), ({"rate": 5.0, "max_requests": 1}, 1), ({"rate": 5.0}, 8)],
)
def test_no_part_is_left_with_nothing(asked: dict[str, Any], parts: int) -> None:
    assert len(parts_of(LoadSpec(duration_s=5.0, **asked), 8)) == parts


def test_shares_differ_by_one_at_most() -> None:
    assert shared_out(10, 4) == [3, 3, 2, 2]
    assert shared_out(None, 2) == [None, None]


def test_a_part_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="part"):
        LoadSpec(duration_s=1.0, rate=1.0, part=(2, 2))


def test_conversations_of_all_parts_are_those_of_the_whole() -> None:
    whole = requests(5, slots=1, workload=Workload())
    names = list(dict.fromkeys(request.conversation_id for request in islice(whole, 400)))
    dealt = [whole.recipe.part(index, 3, slots=1) for index in range(3)]
    own = [list(dict.fromkeys(request.conversation_id for request in islice(one, 130))) for one in dealt]
    for index, found in enumerate(own):
        assert found[:2] == names[index::3][:2]


def test_a_part_that_is_made_again_says_other_things() -> None:
    whole = requests(5, slots=1, workload=Workload())
    first, again = (
        {request.message for request in islice(whole.recipe.part(0, 2, slots=1, again=times), 20)} for times in (0, 1)
    )
    assert first != again


def test_slots_of_a_part() -> None:
    closed, paced, opened = (
        parts_of(LoadSpec(duration_s=1.0, **asked), 2)[1] for asked in ({"concurrency": 5}, {"users": 6}, {"rate": 2.0})
    )
    assert [slots_of(one, usual=4) for one in (closed, paced, opened)] == [2, 6, 2]
