"""What is sent while models are switched."""

from __future__ import annotations

from itertools import islice, pairwise

import pytest

from perfsuite._core import Histogram
from perfsuite.evidence import NotMeasured, Samples
from perfsuite.suites.course import Course
from perfsuite.suites.probes.switching import rounds, switch_evidence
from perfsuite.suites.recall import SAME_MESSAGE
from perfsuite.targets.base import Request


def sent(models: list[str], count: int, *, black_box: bool = False) -> tuple[list[Request], list[str]]:
    told: list[str] = []
    return list(islice(rounds(7, models, told.append, black_box=black_box), count)), told


@pytest.mark.parametrize("models", [["a", "b"], ["a", "b", "c"], list("abcdef")])
@pytest.mark.parametrize("black_box", [False, True])
def test_a_fact_is_planted_under_one_model_and_asked_once_under_another(models: list[str], black_box: bool) -> None:
    requests, told = sent(models, 200, black_box=black_box)
    planted: dict[str, str] = {}
    asked: set[str] = set()
    for number, request in enumerate(requests):
        fact = request.expects
        if fact is not None and request.age != SAME_MESSAGE:
            assert planted[fact.value] != request.model
            assert fact.value not in asked
            assert fact.value not in request.message
            assert requests[number - request.age].message.count(fact.value) == 1, "the age is that of the fact"
            assert any(fact.value in str(m["content"]) for m in request.messages), "a stateless service is sent it"
            asked.add(fact.value)
        for word in request.message.replace(".", " ").split():
            if len(word) == 6 and all(letter in "0123456789abcdef" for letter in word):
                planted[word] = request.model or ""
    assert len(asked) > 50
    switches = [model for model, after in pairwise(told) if model != after]
    assert len(switches) == len(told) - 1, "every round is a switch"


def test_more_requests_switch_than_not_and_every_model_is_used_steadily() -> None:
    requests, told = sent(["a", "b", "c"], 90)
    assert len(told) == 60
    steady = [after.model for before, after in pairwise(requests) if before.model == after.model]
    assert {steady.count(model) for model in "abc"} == {10}


def test_a_black_box_has_room_to_answer_and_is_asked_for_what_it_is_just_told() -> None:
    inside, _ = sent(["a", "b"], 40)
    outside, _ = sent(["a", "b"], 40, black_box=True)
    assert not [one for one in inside if one.expects is not None and one.age == SAME_MESSAGE]
    same = [one for one in outside if one.expects is not None and one.age == SAME_MESSAGE]
    assert same
    for one in same:
        assert one.expects is not None
        assert one.expects.value in one.message
        assert one.expects.question in one.message
    assert {one.max_tokens for one in inside} == {2}
    assert all((one.max_tokens or 0) >= 32 for one in outside)


@pytest.mark.parametrize("models", [["a", "b"], list("abcde")])
def test_users_and_assistants_take_turns(models: list[str]) -> None:
    for request in sent(models, 100)[0]:
        roles = [message["role"] for message in request.messages]
        assert roles == [("user", "assistant")[number % 2] for number in range(len(roles))]
        assert roles[-1] == "user"
        assert request.messages[-1]["content"] == request.message


def test_each_switch_is_a_point_and_its_overhead_is_over_its_own_model() -> None:
    seen = {"a": [(0.0, 120.0), (2.0, 100.0)], "b": [(1.0, 80.0)], "c": [(3.0, 70.0)]}
    switches = {model: Histogram(10) for model in seen}
    courses = {model: Course() for model in seen}
    for model, points in seen.items():
        for t_s, ms in points:
            switches[model].record(ms)
            courses[model].add(t_s, ms)
    steady = {model: Histogram(10) for model in seen}
    steady["a"].record(110.0)
    steady["b"].record(50.0)
    found = switch_evidence(switches, courses, steady, 0, 0.0)
    took, more = found["model_switch_time"], found["switch_overhead"]
    assert isinstance(took, Samples)
    assert isinstance(more, Samples)
    assert list(took.series) == [(0.0, 120.0), (1.0, 80.0), (2.0, 100.0), (3.0, 70.0)]
    assert list(more.series) == [(0.0, pytest.approx(10.0)), (1.0, pytest.approx(30.0)), (2.0, 0.0)], "c has no use"
    assert more.histogram.count == len(more.series)
    none = switch_evidence({}, {}, {}, 0, 0.0)
    assert all(isinstance(one, NotMeasured) for one in none.values())
