"""The stand-in for the model: forms that were asked for, hashed embeddings, stated delays, counts by client."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from math import hypot
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite.serve import canned
from perfsuite.serve.http import BadRequest
from perfsuite.serve.standin import MOST_CLIENTS, Counts, StandIn
from serving import CHAT, Client

EMBED = "/v1/embeddings"
FACT = "The locker of Ada has the code ZX42."


def ask(*requests: tuple[str, Any], model: StandIn | None = None, method: str = "POST") -> tuple[list[Any], StandIn]:
    """The answers to requests over one connection, and the stand-in that gave them."""

    async def talk() -> tuple[list[Any], StandIn]:
        async with model or StandIn() as standin, Client(standin) as client:  # type: ignore[arg-type]
            return [await client.ask(path, body, method) for path, body in requests], standin

    return asyncio.run(talk())


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": text}], **more}


def schema(name: str, properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    shape = {"type": "object", "properties": properties, "required": list(properties), **more}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": shape}}}


def said(heard: Any) -> Any:
    return heard.json()["choices"][0]["message"]


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_embeddings_are_of_length_one_and_the_same_for_the_same_text() -> None:
    body = {"model": "e", "input": [FACT, "What is the code ZX42?", "Trains are late today."], "dimensions": 64}
    heard, _ = ask((EMBED, body), (EMBED, body))
    first, again = [[one["embedding"] for one in one.json()["data"]] for one in heard]
    assert first == again
    assert [len(vector) for vector in first] == [64] * 3
    assert all(abs(hypot(*vector) - 1) < 1e-5 for vector in first)
    assert cosine(first[0], first[1]) > cosine(first[0], first[2]), "they know spelling"


def test_the_dimension_is_the_one_asked_for_or_the_one_it_was_made_with() -> None:
    heard, _ = ask((EMBED, {"input": "a"}), (EMBED, {"input": "a", "dimensions": 7}), model=StandIn(dim=96))
    assert [len(one.json()["data"][0]["embedding"]) for one in heard] == [96, 7]


def test_embeddings_in_base64_are_the_same_floats() -> None:
    heard, _ = ask((EMBED, {"input": FACT}), (EMBED, {"input": FACT, "encoding_format": "base64"}))
    plain, packed = (one.json()["data"][0]["embedding"] for one in heard)
    data = base64.b64decode(packed)
    assert list(struct.unpack(f"<{len(data) // 4}f", data)) == pytest.approx(plain, abs=1e-7)


def test_tokens_are_embedded_as_well_as_text() -> None:
    heard, _ = ask((EMBED, {"input": [[1, 2, 3], [1, 2, 3], [9, 8]]}), (EMBED, {"input": [1, 2, 3]}))
    same, too, other = (one["embedding"] for one in heard[0].json()["data"])
    assert same == too == heard[1].json()["data"][0]["embedding"]
    assert same != other


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (EMBED, {"input": []}, "not empty"),
        (EMBED, {"input": [None]}, "input[0]"),
        (EMBED, {"input": "a", "dimensions": 99_999}, "at most"),
        (EMBED, {"input": "a", "encoding_format": "int8"}, "float or base64"),
        (CHAT, {"messages": []}, "at least one message"),
        (CHAT, {"messages": ["a"]}, "messages[0]"),
        (CHAT, chat("a", response_format={"type": "json_schema"}), "must be an object"),
        (CHAT, chat("a", tools=[{"function": {}}]), "its name"),
        (
            CHAT,
            chat("a", tools=[{"function": {"name": "f"}}], tool_choice={"function": {"name": "g"}}),
            "not among the tools",
        ),
        (CHAT, b"[" * 100_000, "JSON"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(path: str, body: Any, words: str) -> None:
    heard, model = ask((path, body), (EMBED, {"input": "after"}))
    assert heard[0].status == 400
    assert words in heard[0].json()["error"]["message"]
    assert heard[1].status == 200, "the connection goes on"
    assert model.counts("anonymous").refused == 1


def test_langmem_is_answered_by_the_tool_that_keeps() -> None:
    text = f"Reflect.\n\n<session_1-a>\n{'=' * 32} Human Message {'=' * 33}\n\n{FACT}\n</session_1-a>"
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"properties": properties, "required": required}}}
        for name, properties, required in (
            ("PatchDoc", {"json_doc_id": {"type": "string"}, "patches": {"type": "array"}}, ["json_doc_id"]),
            ("Memory", {"content": {"type": "string"}}, ["content"]),
        )
    ]
    for tool in tools:
        tool["function"]["parameters"]["type"] = "object"  # type: ignore[index]
    heard, model = ask((CHAT, chat(text, tools=tools, tool_choice="required")))
    (call,) = said(heard[0])["tool_calls"]
    assert call["function"]["name"] == "Memory"
    assert json.loads(call["function"]["arguments"]) == {"content": FACT}
    assert heard[0].json()["choices"][0]["finish_reason"] == "tool_calls"
    assert model.counts("anonymous").unknown == 0


def test_mem0_is_answered_with_the_new_message_and_nothing_of_the_old_ones() -> None:
    text = (
        '## Existing Memories\n[{"id": "0", "text": "Old."}]\n\n## New Messages\nuser: ' + FACT + "\n\n\n"
        '## Observation Date\n2026-01-01\n\n# Output:\nJSON with "memory"'
    )
    heard, _ = ask((CHAT, chat(text, response_format={"type": "json_object"})))
    (memory,) = json.loads(said(heard[0])["content"])["memory"]
    assert memory["text"] == FACT


GRAPHITI = (
    "<CURRENT_MESSAGE>\n" + FACT + "\n</CURRENT_MESSAGE>\n"
    '<ENTITIES>\n[{"id": 0, "name": "Ada"}, {"id": 1, "name": "ZX42"}]\n</ENTITIES>\n'
    '<EXISTING ENTITIES>\n[{"candidate_id": 7, "name": "ada"}]\n</EXISTING ENTITIES>\n'
    "<EXISTING FACTS>\n[{'idx': 3, 'fact': 'It rains.'}, {'idx': 4, 'fact': 'It snows.'}]\n</EXISTING FACTS>\n"
    "<NEW FACT>\nIt snows.\n</NEW FACT>\n"
)
ARRAY = {"type": "array", "items": {"type": "object"}}


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (["extracted_entities"], {"Ada", "ZX42"}),
        (["entity_resolutions"], [7, -1]),
        (["edges"], [("Ada", "ZX42", FACT)]),
        (["duplicate_facts", "contradicted_facts"], [4]),
        (["summaries"], ["Ada", "ZX42"]),
    ],
)
def test_graphiti_is_answered_in_each_of_its_structures(properties: list[str], expected: object) -> None:
    heard, model = ask((CHAT, chat(GRAPHITI, **schema("X", dict.fromkeys(properties, ARRAY)))))
    value = json.loads(said(heard[0])["content"])
    found = value[properties[0]]
    read: Any = {
        "extracted_entities": lambda: {one["name"] for one in found} & {"Ada", "ZX42"},
        "entity_resolutions": lambda: [one["duplicate_candidate_id"] for one in found],
        "edges": lambda: [(one["source_entity_name"], one["target_entity_name"], one["fact"]) for one in found],
        "duplicate_facts": lambda: found,
        "summaries": lambda: [one["name"] for one in found],
    }
    assert read[properties[0]]() == expected
    assert model.counts("anonymous").unknown == 0


def test_a_structure_that_no_row_knows_is_valid_and_counted() -> None:
    import jsonschema

    shape = {
        "type": "object",
        "$defs": {"Kind": {"enum": ["small", "large"]}},
        "properties": {
            "kind": {"$ref": "#/$defs/Kind"},
            "rows": {"type": "array", "minItems": 2, "items": {"type": "integer", "minimum": 5}},
            "why": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "title": {"type": "string", "maxLength": 10},
            "is_so": {"type": "boolean"},
            "left_out": {"type": "string"},
        },
        "required": ["kind", "rows", "why", "title", "is_so"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "Odd", "schema": shape}}
    heard, model = ask((CHAT, chat(FACT, response_format=wanted)))
    value = json.loads(said(heard[0])["content"])
    jsonschema.validate(value, shape)
    assert value["title"] == FACT[:10]
    assert model.counts("anonymous").unknown == 1


def test_a_schema_that_refers_to_itself_ends() -> None:
    shape = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}, "properties": {"x": {"$ref": "#/$defs/A"}}}
    value, known = canned.fill(shape, canned.read([{"role": "user", "content": FACT}]))
    assert json.dumps(value)
    assert not known


def test_a_schema_that_grows_without_end_is_cut() -> None:
    both = {name: {"$ref": "#/$defs/Tree"} for name in ("left", "right")}
    tree = {"type": "object", "properties": both, "required": ["left", "right"]}
    shape = {"type": "object", "properties": {"tree": {"$ref": "#/$defs/Tree"}}, "$defs": {"Tree": tree}}
    value, _ = canned.fill(shape, canned.read([{"role": "user", "content": FACT}]))
    assert json.dumps(value).count("left") < canned.MOST_VALUES


WORDS = """
    $ref $defs anyOf const default enum items maxLength minItems minimum properties required type content edges summary
    text function name parameters
"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON, JSON, st.sampled_from(["json_schema", "json_object", "text"]), st.text(max_size=80))
def test_whatever_is_asked_is_answered_or_refused(shape: Any, tools: Any, kind: str, text: str) -> None:
    wanted = {"type": kind, "json_schema": {"schema": shape}}
    body = {"messages": [{"role": "user", "content": text}], "tools": tools, "response_format": wanted}
    with suppress(BadRequest):
        said = canned.answer(body)
        assert json.dumps([said.text, *(call.arguments for call in said.calls)])


def test_a_streamed_answer_says_the_same_as_a_whole_one() -> None:
    heard, _ = ask((CHAT, chat(FACT)), (CHAT, chat(FACT, stream=True)))
    assert heard[1].text() == said(heard[0])["content"] == FACT
    assert heard[1].events()[-1] == "[DONE]"


def test_clients_are_counted_apart() -> None:
    one, two = "/of/one/v1/chat/completions", "/of/two/v1/embeddings"
    heard, model = ask((one, chat(FACT)), (two, {"input": [FACT, FACT]}), (two, {"input": "x"}))
    assert [one.status for one in heard] == [200] * 3
    first, second = model.counts("one"), model.counts("two")
    assert (first.chat_calls, first.embedding_calls, first.chat_characters_in) == (1, 0, len(FACT) + len("s\n"))
    assert first.chat_characters_out == len(FACT)
    assert (second.chat_calls, second.embedding_calls, second.embedding_texts) == (0, 2, 3)
    assert second.embedding_characters == 2 * len(FACT) + 1
    assert model.counts("three") == Counts()
    assert second.since(second) == Counts()


def test_clients_beyond_the_most_are_counted_together() -> None:
    requests = [(f"/of/c{number}/v1/embeddings", {"input": "a"}) for number in range(MOST_CLIENTS + 3)]
    _, model = ask(*requests)
    assert len(model.clients) == MOST_CLIENTS + 1
    assert model.counts("others").embedding_calls == 3


def test_an_answer_takes_the_stated_delay_and_the_wait_is_counted_once_for_calls_side_by_side() -> None:
    async def talk() -> tuple[Counts, float]:
        async with StandIn(chat_ms=60) as model:
            clients = [Client(model) for _ in range(5)]  # type: ignore[arg-type]
            for client in clients:
                await client.__aenter__()
            path = model.url_of("busy").removeprefix(model.url) + "/chat/completions"
            begun = time.monotonic()
            await asyncio.gather(*(client.ask(path, chat(FACT)) for client in clients))
            wall = (time.monotonic() - begun) * 1e3
            for client in clients:
                await client.__aexit__()
            return model.counts("busy"), wall

    counts, wall = asyncio.run(talk())
    assert counts.waited_ms >= 5 * 60
    assert 60 <= counts.busy_ms <= wall
    assert wall >= 60


def test_what_is_no_call_is_answered_too() -> None:
    heard, _ = ask(("/of/x/v1/models", None), ("/health", None), ("/counts", None), ("/nowhere", None), method="GET")
    assert [one.status for one in heard] == [200, 200, 200, 404]
    assert [one["id"] for one in heard[0].json()["data"]] == ["stand-in", "stand-in-embedding"]
    refused, _ = ask((EMBED, None), method="GET")
    assert refused[0].status == 405


@pytest.mark.parametrize("name", ["", "a/b", "ä", "a b"])
def test_a_client_needs_a_name_that_a_path_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="client's name"):
        StandIn().url_of(name)
