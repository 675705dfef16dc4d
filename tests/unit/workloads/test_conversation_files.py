from __future__ import annotations

import io
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite.errors import UsageError
from perfsuite.workloads import splitter
from perfsuite.workloads.files import ConversationFile
from perfsuite.workloads.splitter import Span, Unusable, json_lines, json_values

TALK = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]
SHAREGPT = {"id": "x", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(values), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_splitter_finds_the_elements_whatever_the_chunks(
    elements: list[object], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    data = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitter, "CHUNK", chunk)
        found = list(json_values(io.BytesIO(data)))
    assert all(isinstance(part, Span) for part in found)
    assert [json.loads(part.data) for part in found if isinstance(part, Span)] == elements


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\ \n1a', max_size=80).map(str.encode))
def test_splitter_survives_any_bytes(data: bytes) -> None:
    assert all(isinstance(part, Span | Unusable) for part in json_values(io.BytesIO(data)))


def read(path: Path, data: bytes | str) -> tuple[list[tuple[int, int]], list[Unusable]]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    file = ConversationFile(path)
    return [(one.line, len(one.messages)) for one in file], file.unusable


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TALK, [2]),
        ([TALK, TALK], [2, 2]),
        ({"messages": TALK}, [2]),
        ([{"messages": TALK}, SHAREGPT], [2, 2]),
        (SHAREGPT, [2]),
        ({"conversations": [{"messages": TALK}, SHAREGPT]}, [2, 2]),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_every_form(tmp_path: Path, value: object, expected: list[int], indent: int | None, mark: bytes) -> None:
    found, unusable = read(tmp_path / "a.json", mark + json.dumps(value, indent=indent).encode())
    assert [messages for _, messages in found] == expected
    assert unusable == []


@pytest.mark.parametrize(
    "text",
    [
        f"[\n{json.dumps({'messages': TALK})}\n]\n",
        f"[{json.dumps(TALK)},\n{json.dumps(TALK)}\n]\n",
        '{"messages": [\n' + ",\n".join(map(json.dumps, TALK)) + "\n]}",
    ],
)
def test_one_value_over_several_lines_is_no_json_lines(tmp_path: Path, text: str) -> None:
    found, unusable = read(tmp_path / "a.json", text)
    assert {messages for _, messages in found} == {2}
    assert unusable == []


@pytest.mark.parametrize("good", [{"messages": TALK}, TALK, SHAREGPT])
@pytest.mark.parametrize("bad", ["{bad", "[bad", '{"messages": ['])
def test_damaged_first_lines_do_not_hide_the_others(tmp_path: Path, good: object, bad: str) -> None:
    found, unusable = read(tmp_path / "a.jsonl", "\n".join([bad] * 3 + [json.dumps(good)] * 5))
    assert [line for line, _ in found] == [4, 5, 6, 7, 8]
    assert [one.line for one in unusable] == [1, 2, 3]


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no plain file"):
        ConversationFile(tmp_path / "pipe")


def test_lines_with_bad_ones_between(tmp_path: Path) -> None:
    lines = [
        json.dumps({"messages": TALK}).encode(),
        b"{bad",
        json.dumps(SHAREGPT).encode(),
        b'{"messages": [{"role": "wizard", "content": "y"}, {"role": "user", "content": "y"}]}',
        b"\xff\xfe",
        b"",
        b'{"messages": [{"role": "assistant", "content": "y"}]}',
        json.dumps(TALK).encode(),
    ]
    found, unusable = read(tmp_path / "a.jsonl", b"\n".join(lines))
    assert found == [(1, 2), (3, 2), (4, 1), (8, 2)]
    assert [one.line for one in unusable] == [2, 4, 5, 7]
    assert "wizard" in unusable[1].reason
    assert "no message of a user" in unusable[3].reason


def test_half_of_a_surrogate_pair_is_named_for_what_it_is(tmp_path: Path) -> None:
    said = r'{"messages": [{"role": "user", "content": "cut PAIR"}]}'
    lines = [said.replace("PAIR", pair) for pair in (r"\ud83d", r"\uDE00", r"\ud83d\ude00")]
    found, unusable = read(tmp_path / "a.jsonl", "\n".join([*lines, r'{"messages": "\ud83d']))
    assert found == [(3, 1)], "a whole pair is a character"
    assert ["surrogate" in one.reason for one in unusable] == [True, True, False]


def test_a_bad_first_line_hides_nothing(tmp_path: Path) -> None:
    found, unusable = read(tmp_path / "a.jsonl", b"{bad\n" + json.dumps(SHAREGPT).encode() + b"\n")
    assert found == [(2, 2)]
    assert [one.line for one in unusable] == [1]


def test_invalid_utf8_in_one_element(tmp_path: Path) -> None:
    data = b'[{"messages": [{"role": "user", "content": "\xff"}]},\n' + json.dumps(SHAREGPT).encode() + b"]"
    found, unusable = read(tmp_path / "a.json", data)
    assert found == [(2, 2)]
    assert "UTF-8" in unusable[0].reason


@pytest.mark.parametrize("indent", [None, 2])
def test_a_truncated_array_gives_what_came_before(tmp_path: Path, indent: int | None) -> None:
    found, unusable = read(tmp_path / "a.json", json.dumps([TALK, TALK], indent=indent)[:-9])
    assert [messages for _, messages in found] == [2]
    assert "truncated" in unusable[0].reason


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n", "empty"),
        (b"\x00\x01", "NUL byte at offset 0"),
        (b"\x1f\x8b123", "gunzip"),
        (b"\xff\xfea\x00", "UTF-16"),
        (b"hello\nworld", "no conversation"),
        (b"[" * 100_000, "truncated"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
        (b"[}", "out of place"),
        (b"[1, 2]", "not a number"),
        (b'{"a": 1}', "'a'"),
        (b"null", "null"),
    ],
)
def test_hostile_files(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=r"a\.json") as caught:
        read(tmp_path / "a.json", data)
    assert says in str(caught.value)


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        ConversationFile(tmp_path / "none")
    with pytest.raises(UsageError, match="is a folder"):
        ConversationFile(tmp_path)


def test_parts_tools_and_names(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}], "name": "Bo"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "x", "tool_call_id": "1"},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"messages": messages}))
    file = ConversationFile(path)
    (one,) = file
    assert [part.reason for part in file.unusable] == ["message 1: 1 of its 2 parts no text, and left out"]
    assert one.messages[0] == {"role": "user", "content": "a", "name": "Bo"}
    assert one.messages[1]["tool_calls"] == [{"id": "1"}]
    assert one.messages[2]["tool_call_id"] == "1"


def test_long_lines_are_skipped_without_being_held() -> None:
    data = b'{"a": 1}\n' + b"x" * 5000 + b'\n{"b": 2}\n'
    found = list(json_lines(io.BytesIO(data), largest=1000))
    assert isinstance(found[1], Unusable)
    assert [part.line for part in found] == [1, 2, 3]
    (large,) = json_values(io.BytesIO(b'["' + b"y" * 3_000_000 + b'"]'), largest=1000)
    assert isinstance(large, Unusable)
    assert "longer than 1,000" in large.reason


@pytest.mark.parametrize("separator", [",", ",\n"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "a.json"
    one = json.dumps({"messages": [{"role": "user", "content": "word " * 200}] * 10})
    path.write_text("[" + separator.join([one] * 2000) + "]")
    assert path.stat().st_size > 20_000_000
    file = ConversationFile(path)
    tracemalloc.start()
    count = sum(1 for _ in file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 2000
    assert peak < 4_000_000
