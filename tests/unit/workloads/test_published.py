"""Files of the form of LongMemEval and LoCoMo."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from perfsuite.errors import UsageError
from perfsuite.workloads.published import PublishedFile
from published_made import locomo, longmemeval, written


@pytest.mark.parametrize("indent", [None, 2])
def test_longmemeval(tmp_path: Path, indent: int | None) -> None:
    file = PublishedFile(written(tmp_path / "s.json", longmemeval(), indent=indent))
    cases = list(file.cases())
    assert [case.name for case in cases] == ["q0", "q1", "q2", "q3_abs"]
    assert file.unusable == []
    for case in cases[:3]:
        asked = [question for question in case.questions() if question.kind == "asked"]
        assert len(asked) == 1
        (key,) = asked[0].relevant
        evidence = next(memory for memory in case.memories() if memory.key == key)
        assert "parrot" in evidence.text
        assert evidence.timestamp == datetime(2023, 5, 21, 2, 21, tzinfo=UTC).timestamp() + 2
        assert evidence.session.endswith("-1")
        assert {memory.role for memory in case.memories()} == {"user", "assistant"}
    (unanswerable,) = [question for question in cases[3].questions() if question.kind != "verbatim"]
    assert (unanswerable.kind, unanswerable.relevant) == ("unanswerable", ())
    assert "LongMemEval" in file.described


def test_sessions_are_stored_in_the_order_of_time(tmp_path: Path) -> None:
    values = longmemeval(1 + 1)
    values[0]["haystack_dates"].reverse()
    file = PublishedFile(written(tmp_path / "s.json", values))
    case = next(iter(file.cases()))
    times = [memory.timestamp or 0.0 for memory in case.memories()]
    assert times == sorted(times)
    assert [memory.session for memory in case.memories()][:2] == ["s0-2", "s0-2"]
    evidence = {key for question in case.questions() if question.kind == "asked" for key in question.relevant}
    assert {memory.key for memory in case.memories() if "parrot" in memory.text} == evidence


def test_locomo(tmp_path: Path) -> None:
    file = PublishedFile(written(tmp_path / "l.json", locomo()))
    first, second = file.cases()
    texts = {memory.key: memory.text for memory in first.memories()}
    assert texts["conv-0/D1:3"] == "Ada: Look at this picture 01. [shares a red barn near Wexby01]"
    by_kind: dict[str, list[tuple[str, ...]]] = {}
    for question in first.questions():
        by_kind.setdefault(question.kind, []).append(question.relevant)
    assert by_kind["asked"] == [("conv-0/D1:2",), ("conv-0/D1:3", "conv-0/D2:3")]  # a padded number, two in one label
    assert by_kind["unanswerable"] == [()]
    assert 1 <= len(by_kind["verbatim"]) <= 4
    assert [one.reason for one in file.unusable] == [f"conv-{n}: question 4: no evidence named" for n in (0, 1)]
    times = {memory.session: memory.timestamp for memory in reversed(list(second.memories()))}
    assert times["conv-1/session_2"] == datetime(2023, 5, 9, 14, 56, tzinfo=UTC).timestamp()


def test_locomo_as_its_file_really_is(tmp_path: Path) -> None:
    """More fields, answers that are numbers, sessions that have only a date, evidence in several spellings."""
    made = locomo(1)
    (one,) = made
    one |= {"event_summary": {}, "observation": {}, "session_summary": {}}
    one["conversation"]["session_3_date_time"] = "12:09 am on 13 September, 2023"
    one["conversation"]["session_2"][0] |= {"img_url": ["http://127.0.0.1/x"], "query": "a barn", "re-download": True}
    one["qa"] = [
        {"question": "Which year?", "answer": 2022, "evidence": ["D1:1; D2:1"], "category": 2},
        {"question": "Which barns?", "answer": "red", "evidence": ["D:1:03", "D2:3"], "category": 1},
        {"question": "Which boats?", "answer": "a kayak", "evidence": ["D1:2 D2:2 D1:2"], "category": 1},
        {"question": "Who sold it?", "adversarial_answer": "Ada", "evidence": ["D1:2"], "category": 5},
        {"question": "How long ago?", "answer": "a year", "evidence": ["D"], "category": 3},
    ]
    file = PublishedFile(written(tmp_path / "locomo.json", made, indent=4))
    (case,) = file.cases()
    asked = [one for one in case.questions() if one.kind != "verbatim"]
    assert [[key.split("/")[1] for key in one.relevant] for one in asked] == [
        ["D1:1", "D2:1"],
        ["D1:3", "D2:3"],
        ["D1:2", "D2:2"],
        [],
    ]
    assert asked[-1].kind == "unanswerable"
    assert all(memory.timestamp is not None for memory in case.memories())
    assert [one.reason for one in file.unusable] == ["conv-0: question 5: no evidence named"]


def test_longmemeval_as_its_files_really_are(tmp_path: Path) -> None:
    """Turns of the evidence's sessions say of each whether it has the answer; the same session may lie there twice."""
    made = longmemeval(2)
    for turn in made[0]["haystack_sessions"][1]:
        turn.setdefault("has_answer", False)
    made[0]["answer"] = 3
    made[0]["haystack_sessions"].append(made[0]["haystack_sessions"][0])
    made[0]["haystack_session_ids"].append(made[0]["haystack_session_ids"][0])
    made[0]["haystack_dates"].append("2023/05/29 (Mon) 00:05")
    made[0]["haystack_sessions"][2].append({"role": "user", "content": ""})
    file = PublishedFile(written(tmp_path / "oracle.json", made))
    first, second = file.cases()
    stored = list(first.memories())
    (relevant,) = next(one for one in first.questions() if one.kind == "asked").relevant
    assert "Zebulon0" in next(memory.text for memory in stored if memory.key == relevant)
    assert len({memory.key for memory in stored}) == len(stored) == 9
    assert next(iter(second.questions())).kind == "unanswerable"
    assert file.unusable == []


def test_turns_in_their_own_words_are_those_turns(tmp_path: Path) -> None:
    for case in PublishedFile(written(tmp_path / "l.json", locomo())).cases():
        texts = {memory.key: memory.text for memory in case.memories()}
        asked = [question for question in case.questions() if question.kind == "verbatim"]
        assert asked
        assert len({question.relevant for question in asked}) == len(asked)
        for question in asked:
            assert [key for key, text in texts.items() if text.startswith(question.text)] == list(question.relevant)


def test_as_many_questions_as_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path / "s.json", longmemeval(6))
    assert len(list(PublishedFile(path, asked=2).cases())) == 2
    path = written(tmp_path / "l.json", locomo(3))
    cases = list(PublishedFile(path, asked=4).cases())
    assert [sum(question.kind != "verbatim" for question in case.questions()) for case in cases] == [3, 1]


def test_json_lines_with_damaged_ones_between(tmp_path: Path) -> None:
    good = [json.dumps(one) for one in longmemeval(3)]
    (tmp_path / "s.jsonl").write_text("\n".join([good[0], '{"question_id": ', good[1], "[1]", good[2], '{"a": 1}']))
    file = PublishedFile(tmp_path / "s.jsonl")
    assert [case.name for case in file.cases()] == ["q0", "q1", "q2_abs"]
    assert [one.line for one in file.unusable] == [2, 4, 6]
    assert "not JSON" in file.unusable[0].reason
    assert "an object was expected, not list" in file.unusable[1].reason
    assert "'a'" in file.unusable[2].reason


def test_a_truncated_array_gives_what_came_before(tmp_path: Path) -> None:
    path = written(tmp_path / "s.json", longmemeval(3), indent=1)
    path.write_bytes(path.read_bytes()[:-400])
    file = PublishedFile(path)
    assert [case.name for case in file.cases()] == ["q0", "q1"]
    assert "truncated" in file.unusable[-1].reason


def test_damage_inside_an_element_is_named(tmp_path: Path) -> None:
    values = longmemeval(4)
    values[0]["haystack_sessions"][0] = "nothing"
    values[1]["haystack_sessions"][0][0] = {"role": "user"}
    values[2]["haystack_sessions"][1].pop()
    values[2]["haystack_dates"] = ["yesterday", "2023/13/77 (Mon) 99:99"]
    file = PublishedFile(written(tmp_path / "s.json", values))
    assert [case.name for case in file.cases()] == ["q0", "q1", "q3_abs"]
    assert [one.reason for one in file.unusable] == [
        "q0: session 1 is no list of turns",
        "q1: session 1, turn 1: no content in it",
        "q2: no turn of it is marked has_answer",
    ]


def test_evidence_that_is_no_turn_is_named(tmp_path: Path) -> None:
    values = locomo(1)
    values[0]["qa"][0]["evidence"] = ["D9:9"]
    values[0]["conversation"]["session_1_date_time"] = "at noon"
    file = PublishedFile(written(tmp_path / "l.json", values))
    (case,) = file.cases()
    assert "question 1: its evidence conv-0/D9:9 is no turn" in file.unusable[0].reason
    assert next(case.memories()).timestamp is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\x1f\x8b..", "gunzip"),
        (b'[{"messages": []}]', r"line 1: neither haystack_sessions nor conversation and qa in it, but 'messages'"),
        (b"[]", "no question that can be used"),
        (b"[" * 100_000, "truncated"),
        (b'[{"haystack_sessions": 3, "question": ""}]', "no question, or no list of sessions"),
        (b'[{"conversation": [], "qa": {}}]', "the conversation is no object"),
    ],
)
def test_what_is_no_set(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(UsageError, match=says):
        PublishedFile(tmp_path / "x.json")


def test_a_large_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    values = longmemeval(400)
    for value in values:
        value["haystack_sessions"][0].append({"role": "user", "content": "filler " * 4_000})
    path = written(tmp_path / "s.json", values)
    assert path.stat().st_size > 10_000_000
    file = PublishedFile(path, asked=10_000)
    tracemalloc.start()
    try:
        count = sum(1 for _ in file.cases())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 400
    assert peak < 3_000_000
