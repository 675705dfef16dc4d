"""The seeded memories: markers, distractors, updates, and questions whose answers are known."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from itertools import islice

import pytest

from perfsuite.workloads import memories
from perfsuite.workloads.memories import (
    ATTRIBUTES,
    KINDS,
    SIZE,
    STATEMENTS,
    UPDATES,
    VERBATIM,
    Memory,
    Question,
    Seeded,
    SeededCase,
    digest,
)

SMALL_WORDS = frozenset(
    "a about an and are at be by can did do does during for from get he how i if in is it its let may me my no not of "  # noqa: SIM905
    "off on onto or out over own she so some that the their them then there these they this to under up was we what "
    "when where which who whom why will with you your".split()
)


def case(count: int = 200, asked: int = 100, seed: int = 3) -> tuple[dict[str, Memory], list[Question]]:
    one = SeededCase(seed, count, asked)
    return {memory.key: memory for memory in one.memories()}, one.questions()


def content(text: str) -> set[str]:
    """Words that matter, cut to five letters so that endings do not hide them."""
    return {word[:5] for word in re.findall(r"[a-z]+", text.lower()) if word not in SMALL_WORDS}


def test_the_same_on_every_run() -> None:
    code = (
        "from perfsuite.workloads.memories import *; c = SeededCase(3, 400); print(digest(c.memories(), c.questions()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    one = SeededCase(3, 400)
    assert found == {digest(one.memories(), one.questions()) + "\n"}
    other = SeededCase(4, 400)
    assert digest(other.memories(), other.questions()) + "\n" not in found


@pytest.mark.parametrize("count", [20, 100, 119, 1000])
def test_as_many_as_asked_for(count: int) -> None:
    found, questions = case(count, 10_000)
    assert len(found) == count
    assert len(questions) == count // SIZE * memories.ASKS


def test_a_conversation_does_not_depend_on_how_many_there_are() -> None:
    small, _ = case(100)
    large, _ = case(500)
    assert all(large[key] == memory for key, memory in small.items())


def test_markers_are_in_one_text_alone() -> None:
    found, questions = case(1000, 500)
    marked = {memory.marker: memory.key for memory in found.values() if memory.marker}
    assert len(marked) == sum(memory.marker is not None for memory in found.values())
    for memory in found.values():
        said = set(re.findall(r"\w+", memory.text)) & set(marked)
        assert said == ({memory.marker} if memory.marker else set())
        assert (memory.marker is None) == memory.off_topic
    for question in questions:
        assert not set(re.findall(r"\w+", question.text)) & set(marked)


def test_numbers_never_share_a_marker() -> None:
    assert math.gcd(memories._SPREAD, memories._MARKERS) == 1
    assert len({memories.marker(5, number) for number in range(200_000)}) == 200_000


def test_every_kind_of_question_and_what_answers_it() -> None:
    found, questions = case(400, 200)
    assert set(KINDS) - {"asked"} == {question.kind for question in questions}
    for question in questions:
        assert all(found[key].cluster == question.cluster for key in (*question.relevant, *question.stale))
        assert bool(question.relevant) == (question.kind != "unanswerable")
        assert bool(question.stale) == (question.kind == "updated")
        if question.kind == "across":
            assert len({found[key].session for key in question.relevant}) == memories.SAID


def test_an_update_comes_later_and_replaces_the_same_fact() -> None:
    found, questions = case(400, 400)
    order = {key: at for at, key in enumerate(found)}
    updated = [question for question in questions if question.kind == "updated"]
    assert updated
    for question in updated:
        (new,), (old,) = question.relevant, question.stale
        later, earlier = found[new].timestamp, found[old].timestamp
        assert later is not None
        assert earlier is not None
        assert later > earlier
        assert order[new] > order[old] + 5
        assert content(found[new].text) & content(found[old].text) >= content(
            re.search(r"(?:for|the) (the .*?) (?:is|has)", found[old].text)[1].split(" for ")[-1]  # type: ignore[index]
        )


@pytest.mark.parametrize("one", ATTRIBUTES, ids=lambda one: one.name)
def test_paraphrases_share_no_word_with_the_statement(one: memories.Attribute) -> None:
    place = "the Zzz xxx"
    asked = content(one.otherwise.format(place=place)) - content(place)
    for form in (*STATEMENTS, *UPDATES):
        said = content(form.format(attribute=one.name, place=place, value="")) - content(place)
        assert not asked & said
    # The negative control: the verbatim forms do.
    assert all(content(form.format(attribute=one.name, place=place)) & content(one.name) for form in VERBATIM)


def test_each_question_has_near_duplicates_around_its_answer() -> None:
    found, questions = case(200)
    for question in questions:
        if question.kind not in ("verbatim", "paraphrased"):
            continue
        (key,) = question.relevant
        words = content(found[key].text)
        near = [memory for memory in found.values() if memory.key != key and len(content(memory.text) & words) >= 1]
        assert len(near) >= 3


def test_no_unanswerable_question_is_answered() -> None:
    found, questions = case(1000, 500)
    said = [memory.text for memory in found.values() if not memory.off_topic]
    for question in questions:
        if question.kind == "unanswerable":
            place = re.search(r"(?:the )?([A-Z]\w{4,} (?:" + "|".join(memories.PLACES) + "))", question.text)
            assert place is not None
            attributes = [
                one.name
                for one in ATTRIBUTES
                if f" {one.name} " in question.text or question.text == one.otherwise.format(place=f"the {place[1]}")
            ]
            assert len(attributes) == 1
            assert not any(place[1] in text and f" {attributes[0]} " in text for text in said)


def test_times_go_forward_in_a_session_and_conversations_overlap() -> None:
    found = list(SeededCase(0, 500).memories())
    by_session: dict[str, list[float]] = {}
    for memory in found:
        by_session.setdefault(memory.session, []).append(memory.timestamp or 0.0)
    assert all(times == sorted(times) for times in by_session.values())
    assert [memory.cluster for memory in found[:60]].count("c0") < SIZE
    assert Counter(memory.cluster for memory in found) == {f"c{n}": SIZE for n in range(25)}


def test_a_million_are_drawn_in_bounded_memory() -> None:
    list(islice(SeededCase(0, 1_000_000).memories(), 2_000))  # what is cached once
    tracemalloc.start()
    try:
        taken = sum(1 for _ in islice(SeededCase(0, 1_000_000).memories(), 10_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert taken == 10_000
    assert peak < 2_000_000


def test_questions_are_spread_over_all_conversations() -> None:
    questions = SeededCase(0, 10_000, 300).questions()
    numbers = {int(question.cluster[1:]) for question in questions}
    assert len(questions) == 300
    assert len(numbers) == 30
    assert max(numbers) > 400


@pytest.mark.parametrize(("count", "asked"), [(19, 10), (0, 10), (100, 0)])
def test_what_cannot_be_made(count: int, asked: int) -> None:
    with pytest.raises(ValueError, match=r"fewer than|one question"):
        SeededCase(0, count, asked)


def test_a_case_for_each_size() -> None:
    workload = Seeded(0, (40, 100))
    assert [case.count for case in workload.cases()] == [40, 100]
    assert "seed 0" in workload.described
