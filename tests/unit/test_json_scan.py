"""The scan of payloads against the standard library's decoder."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite._core import JsonScan

KEYS = ["a", "b", "é", 'q"\\', "content"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "a\\", '"}]', "😀\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip
STEPS = st.sampled_from(["[]", "[0]", "[2]", "[-1]", *(f".{key}" for key in KEYS if "\\" not in key)])
RULES = st.tuples(
    st.lists(STEPS, max_size=4).map("".join), st.sampled_from(["", "", "=x", "=true", "=😀\n", "=null", "=1", "="])
)


def valid(path: str) -> str:
    """The same path as a rule has it: no dot at the start."""
    return path.removeprefix(".")


def reached(value: object, path: str) -> Iterator[object]:
    """Every value that a path leads to."""
    if not path:
        yield value
    elif path.startswith("["):
        place, rest = path[1:].split("]", 1)
        elements = value if isinstance(value, list) else []
        for number, element in enumerate(elements):
            if place in ("", str(number)) or (place == "-1" and number == len(elements) - 1):
                yield from reached(element, rest)
    else:
        key = path[1:].replace("[", ".", 1).split(".", 1)[0]
        if isinstance(value, dict) and key in value:
            yield from reached(value[key], path[1 + len(key) :])


def matches(value: object, test: str) -> bool:
    if not test:
        return bool(value)
    if isinstance(value, str):
        return value == test[1:]
    return not isinstance(value, list | dict) and json.dumps(value) == test[1:]


@given(VALUES, st.lists(RULES, max_size=8), st.booleans(), st.sampled_from([None, 1]))
def test_the_same_as_decoding(
    value: object, rules: list[tuple[str, str]], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    scan = JsonScan([valid(path) + test for path, test in rules])
    expected = [[found for found in reached(value, path) if matches(found, test)] for path, test in rules]
    matched = scan.scan(text)
    assert [bool(matched >> i & 1) for i in range(len(rules))] == [bool(found) for found in expected]
    for raw, found in zip(scan.find(text), expected, strict=True):
        assert (raw is None) == (not found)
        assert raw is None or json.loads(raw) == found[0]


@given(VALUES.filter(lambda value: isinstance(value, list | dict)))
def test_what_is_cut_is_refused(value: object) -> None:
    text = json.dumps(value).encode()
    scan = JsonScan(["a[].b", "[].content"])
    for n in range(len(text)):
        with pytest.raises(ValueError, match="cut short"):
            scan.scan(text[:n])


def test_the_dialects() -> None:
    """What a first token is, by bit: text, reasoning; usage and errors beside it."""
    chat = JsonScan(["choices[].delta.content", "choices[].delta.reasoning_content", "usage", "error"])
    assert chat.scan(b'{"choices":[{"delta":{"role":"assistant","content":null}}]}') == 0
    assert chat.scan(b'{"choices":[{"delta":{"content":"Hi"}}],"usage":null}') == 1
    assert chat.scan(b'{"choices":[{"delta":{"reasoning_content":"hm"}}]}') == 2
    assert chat.scan(b'{"choices":[],"usage":{"prompt_tokens":3}}') == 4
    assert chat.find(b'{"choices":[],"usage":{"prompt_tokens":3}}')[2] == b'{"prompt_tokens":3}'
    responses = JsonScan(["type=response.output_text.delta", "delta"])
    assert responses.scan(b'{"type":"response.output_text.delta","delta":"Hi"}') == 3
    assert responses.scan(b'{"type":"response.reasoning_text.delta","delta":"hm"}') == 2
    ollama = JsonScan(["message.content", "done=true"])
    assert ollama.scan(memoryview(b'{"message":{"content":""},"done":true}')) == 2


@pytest.mark.parametrize(
    "rule", ["a.", ".a", "a..b", "a[", "a[0", "a[-2]", "a[1234567890]", "a[0x]", "a]", "a[]b", ".".join("a" * 33)]
)
def test_what_is_no_rule_is_named(rule: str) -> None:
    with pytest.raises(ValueError, match="is not a path") as caught:
        JsonScan(["fine", rule])
    assert repr(rule) in str(caught.value)


def test_wrong_arguments() -> None:
    for rules, error in ((["a"] * 65, ValueError), (["a\0b"], ValueError), ([1], TypeError), ("a.b", TypeError)):
        with pytest.raises(error):
            JsonScan(rules)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        JsonScan([]).scan("text")  # type: ignore[arg-type]
    assert JsonScan([]).scan(b"{}") == 0


def test_nothing_is_left_behind() -> None:
    def once() -> None:
        JsonScan(["a.b", "c=1"]).find(b'{"a":{"b":"x"}}')
        with pytest.raises(ValueError, match="cut short"):
            JsonScan(["a"]).scan(bytearray(b"{"))

    once()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(200):
        once()
    gc.collect()
    assert sys.getallocatedblocks() - before < 50
