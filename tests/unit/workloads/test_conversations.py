from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
from itertools import combinations, islice, takewhile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite.errors import UsageError
from perfsuite.plan import Workload
from perfsuite.targets.base import Reply, Request
from perfsuite.units import TokenLength
from perfsuite.workloads.conversations import AGES, Turn, _Writer, conversations, spoken
from perfsuite.workloads.lengths import draw
from perfsuite.workloads.prose import corpus, corpus_id, passages, sentences
from perfsuite.workloads.requests import access_pattern, requests
from perfsuite.workloads.zipf import Zipf


def test_prose_is_english_sentences() -> None:
    lines = corpus()
    assert len(lines) > 500
    assert len(set(lines)) == len(lines)
    assert all(line[0].isupper() and line.endswith(".") and "\n" not in line for line in lines)
    assert len(corpus_id()) == 16
    assert list(islice(sentences(1), 50)) == list(islice(sentences(1), 50)) != list(islice(sentences(2), 50))
    assert len(set(passages(200))) == 200


def test_zipf_follows_its_law() -> None:
    zipf = Zipf(100, 1.0, random.Random(1))
    draws = [zipf.draw() for _ in range(20_000)]
    assert set(draws) <= set(range(100))
    expected = 20_000 / sum(1 / rank for rank in range(1, 101))
    assert draws.count(0) == pytest.approx(expected, rel=0.1)
    assert draws.count(1) == pytest.approx(expected / 2, rel=0.15)
    uniform = Zipf(2, 0.0, random.Random(1))
    assert 0.4 < sum(uniform.draw() for _ in range(2000)) / 2000 < 0.6
    for n, exponent in ((0, 1.0), (5, -1.0), (5, float("nan"))):
        with pytest.raises(ValueError, match="Zipf"):
            Zipf(n, exponent, random.Random(1))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**40))
def test_facts_are_unique_and_asked_at_their_age(seed: int) -> None:
    seen: set[str] = set()
    for conversation in islice(conversations(seed), 3):
        newest: dict[str, str] = {}
        said: list[str] = []
        for number, turn in enumerate(conversation.turns):
            if turn.expects is not None:
                fact = turn.expects
                assert newest[fact.key] == fact.value, "asks for the newest value"
                assert turn.age == number - fact.turn >= 1
                assert fact.value in said[fact.turn]
                assert fact.value not in turn.message
            if turn.plants is not None:
                assert turn.plants.value not in seen
                assert turn.plants.turn == number
                assert turn.plants.statement in turn.message
                seen.add(turn.plants.value)
                newest[turn.plants.key] = turn.plants.value
            said.append(turn.message)
        transcript = json.dumps(conversation.messages())
        assert all(transcript.count(fact.value) == 1 for fact in conversation.facts)


def test_known_ages_updates_and_repeats_all_occur() -> None:
    ages: set[int] = set()
    updated = repeated = 0
    for conversation in islice(conversations(3), 60):
        questions = [turn.message for turn in conversation.turns if turn.expects is not None]
        repeated += len(questions) - len(set(questions))
        keys = [fact.key for fact in conversation.facts]
        updated += len(keys) - len(set(keys))
        ages |= {turn.age for turn in conversation.turns if turn.expects is not None}
    assert set(AGES) <= ages
    assert updated > 20
    assert repeated > 20


def test_a_conversation_is_the_same_wherever_it_is_begun() -> None:
    assert next(conversations(5, start=7)) == next(islice(conversations(5), 7, None))
    assert next(conversations(5)) != next(conversations(6))


@pytest.mark.parametrize("minimum", [10_000, 40_000])
def test_minimum_bytes(minimum: int) -> None:
    for conversation in islice(conversations(1, minimum_bytes=minimum), 20):
        assert len(json.dumps(conversation.messages(), ensure_ascii=False).encode()) >= minimum


def test_spoken_conversations_are_the_same_and_written_as_they_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for whole, (name, user, turns) in islice(zip(conversations(5), spoken(5), strict=False), 4):
        assert (name, user, tuple(turns)) == (whole.id, whole.user_id, whole.turns)
    written = 0
    write = _Writer.turn

    def counted(self: _Writer, turn: int) -> Turn:
        nonlocal written
        written += 1
        return write(self, turn)

    monkeypatch.setattr(_Writer, "turn", counted)
    list(islice(requests(3, slots=64, workload=Workload()), 100))
    assert written == 100


def test_where_nobody_looks_no_fact_is_expected() -> None:
    asked, unasked = (
        list(islice(requests(3, slots=4, workload=Workload(), expecting=expecting), 300)) for expecting in (True, False)
    )
    assert [one.messages for one in asked] == [one.messages for one in unasked]
    assert any(one.expects for one in asked)
    assert not any(one.expects for one in unasked)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="ages"):
        next(conversations(1, ages=()))
    with pytest.raises(ValueError, match="turns"):
        next(conversations(1, turns=(5, 2)))
    with pytest.raises(ValueError, match="slot"):
        next(requests(1, slots=0, workload=Workload()))


def test_same_words_under_any_hash_seed() -> None:
    code = (
        "from perfsuite.plan import Workload; from perfsuite.workloads.requests import requests\n"
        "from itertools import islice; import hashlib\n"
        "print(hashlib.sha256(repr(list(islice(requests(9, slots=3, workload=Workload()), 90))).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hashseed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashseed in ("0", "1", "77")
    }
    assert len(digests) == 1


def test_requests_keep_a_conversation_per_slot() -> None:
    drawn = list(islice(requests(1, slots=4, workload=Workload(), models=["a", "b"]), 40))
    for slot in range(4):
        mine = drawn[slot::4]
        assert len({request.conversation_id for request in mine}) == 1
        assert [len(request.messages) for request in mine] == list(range(1, 21, 2))
        assert all(request.messages[-1]["content"] == request.message for request in mine)
        assert {request.model for request in mine} == {"ab"[slot % 2]}
    assert len({request.conversation_id for request in drawn}) == 4


def test_requests_move_on_to_new_conversations() -> None:
    drawn = list(islice(requests(1, slots=2, workload=Workload()), 600))
    names = [request.conversation_id for request in drawn]
    assert len(set(names)) > 4
    assert max(len(request.messages) for request in drawn) <= 400


def test_sizes() -> None:
    sized = Workload(prompt_tokens=TokenLength(400), output_tokens=TokenLength(7))
    wide = next(requests(1, slots=1, workload=sized))
    assert 250 < len(wide.message.split()) < 400
    assert wide.max_tokens == 7


def test_lengths_that_spread() -> None:
    """Log-normal with the mean and the standard deviation that were asked for, the same for the same seed."""
    rng = random.Random(5)
    drawn = [draw(TokenLength(200, 50), rng) for _ in range(20_000)]
    assert statistics.mean(drawn) == pytest.approx(200, rel=0.01)
    assert statistics.stdev(drawn) == pytest.approx(50, rel=0.05)
    assert min(drawn) >= 1
    assert {draw(TokenLength(200), rng) for _ in range(10)} == {200}
    spread = Workload(output_tokens=TokenLength(20, 10))
    first, again = ([r.max_tokens for r in islice(requests(1, slots=2, workload=spread), 30)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 5


def shared(one: Request, other: Request) -> int:
    """Characters that two prompts have in common at the beginning."""
    texts = ["".join(f"<{m['role']}>{m['content']}" for m in request.messages) for request in (one, other)]
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))


@pytest.mark.parametrize("turns", [None, 6])
def test_a_cold_prefix_cache_finds_no_prompt_that_begins_like_an_earlier_one(turns: int | None) -> None:
    def drawn(cache: Literal["cold", "warm"]) -> list[Request]:
        source = requests(1, slots=3, workload=Workload(prefix_cache=cache, turns=turns))
        found = []
        for _ in range(24):
            found.append(next(source))
            source.answered(found[-1], Reply(text="yes"))
        return found

    cold, warm = drawn("cold"), drawn("warm")
    assert max(shared(one, other) for one, other in combinations(cold, 2)) < len("<user>[") + 12
    assert len({request.message[:14] for request in cold}) == 24
    # Negative control: each prompt of a warm conversation begins as the one before it did, all of it.
    first, second = (request for request in (warm[0], warm[3]))
    assert first.conversation_id == second.conversation_id
    assert shared(first, second) > len(str(first.messages[-1]["content"]))


def test_with_turns_a_conversation_grows_by_what_the_system_answered() -> None:
    source = requests(1, slots=2, workload=Workload(turns=3))
    asked: dict[str, list[Request]] = {}
    for number in range(12):
        request = next(source)
        asked.setdefault(request.conversation_id, []).append(request)
        source.answered(request, Reply(text=f"answer {number}"))
    assert [len(one) for one in asked.values()] == [3, 3, 3, 3]
    for conversation in asked.values():
        sizes = [len(request.messages) for request in conversation]
        assert sizes == [1, 3, 5]
        answers = [m["content"] for m in conversation[-1].messages if m["role"] == "assistant"]
        assert all(str(text).startswith("answer ") for text in answers)
        assert conversation[1].messages[:1] == conversation[0].messages
        assert conversation[2].messages[:3] == conversation[1].messages


def test_with_turns_nobody_speaks_before_the_answer_came() -> None:
    source = requests(1, slots=2, workload=Workload(turns=3))
    first, second = next(source), next(source)
    third = next(source)  # both slots wait: a third conversation begins
    assert len({first.conversation_id, second.conversation_id, third.conversation_id}) == 3
    source.answered(second, None)  # it failed: as if it had not been said
    following = next(source)
    assert following.conversation_id == second.conversation_id
    assert len(following.messages) == 1
    assert following.message != second.message


def test_a_paced_user_has_conversations_of_its_own() -> None:
    source = requests(1, slots=3, workload=Workload(turns=2))
    ours = []
    for _ in range(4):
        ours.append(source.of(1))
        source.answered(ours[-1], Reply(text="x"))
    assert [len(request.messages) for request in ours] == [1, 3, 1, 3]
    other = source.of(0)
    assert other.conversation_id not in {request.conversation_id for request in ours}


def test_requests_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    talk = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    path.write_text(json.dumps({"messages": talk}) + "\nnot json\n")
    workload = Workload(conversations=path)
    drawn = list(islice(requests(1, slots=1, workload=workload), 5))
    assert [request.message for request in drawn] == ["one", "three", "one", "three", "one"]
    assert list(drawn[1].messages) == talk
    assert drawn[0].conversation_id == drawn[1].conversation_id != drawn[2].conversation_id
    assert str(path) in access_pattern(workload)
    with pytest.raises(UsageError):
        next(requests(1, slots=1, workload=Workload(conversations=tmp_path / "none")))
