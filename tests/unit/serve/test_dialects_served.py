"""Each API as its published reference has it: whole, streamed, and failing."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfsuite.reference.tokenizer import count_prompt, count_text, render
from perfsuite.serve.dialect import Answer
from perfsuite.serve.http import BadRequest
from perfsuite.serve.paced import WORDS
from perfsuite.serve.prompts import PromptCache
from perfsuite.serve.server import DIALECTS
from perfsuite.targets.http.dialect import agents_in
from serving import CHAT, Client, Heard, chat, serving

DEEP = b'{"messages":[{"role":"user","content":"x","tool_calls":%b%b}]}' % (b"[" * 980, b"]" * 980)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "text", "name", "tool_calls", "id"]), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = ("model", "messages", "stream", "max_tokens", "input", "system", "instructions", "metadata", "options")


def ask(path: str, body: Any, method: str = "POST", **options: Any) -> Heard:
    async def once() -> Heard:
        async with serving(**options) as server, Client(server) as client:
            return await client.ask(path, body, method)

    return asyncio.run(once())


def test_openai_chat_streamed() -> None:
    heard = ask(CHAT, chat("hello there", stream_options={"include_usage": True}))
    assert heard.status == 200
    assert heard.headers["content-type"].startswith("text/event-stream")
    events = heard.events()
    assert events[-1] == "[DONE]"
    *chunks, usage = events[:-1]
    assert len({chunk["id"] for chunk in events[:-1]}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert all(set(delta) == {"content"} and delta["content"] for delta in deltas[1:-1])
    assert deltas[-1] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 11 + ["stop"]
    assert all(chunk["usage"] is None for chunk in chunks)
    prompt = count_prompt(render([{"role": "user", "content": "hello there"}]))
    assert usage["choices"] == []
    assert usage["usage"]["prompt_tokens"] == prompt
    assert usage["usage"]["completion_tokens"] == count_text(heard.text()) == 10
    assert usage["usage"]["total_tokens"] == prompt + 10
    assert "agents" not in usage["usage"], "this engine has none"


@pytest.mark.parametrize("stream", [True, False])
def test_the_systems_agents_are_told_apart(stream: bool) -> None:
    """As the checkpoint reads it, beside what OpenAI has; they come to no less than the answer's own tokens."""
    options = {"stream_options": {"include_usage": True}} if stream else {"stream": False}
    heard = ask(CHAT, chat("hello there", **options), engine="reference")
    usage = heard.events()[-2]["usage"] if stream else heard.json()["usage"]
    told = {one.agent: one for one in agents_in(usage["agents"])}
    assert set(told) == {"planner", "responder"}
    assert told["responder"].prompt_tokens == usage["prompt_tokens"] > 0
    assert told["responder"].completion_tokens == usage["completion_tokens"] > 0
    assert told["planner"].model != told["responder"].model


def test_usage_is_left_out_where_it_was_not_asked_for() -> None:
    events = ask(CHAT, chat()).events()
    assert len(events) == 1 + 10 + 1 + 1
    assert all("usage" not in one for one in events[:-1])


def test_openai_chat_whole_says_what_the_stream_says() -> None:
    whole = ask(CHAT, chat(stream=False)).json()
    streamed = ask(CHAT, chat()).text()
    assert whole["choices"][0]["message"]["content"] == streamed
    assert whole["usage"]["completion_tokens"] == 10
    assert whole["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(("limit", "tokens", "reason"), [(4, 4, "length"), (10, 10, "stop"), (99, 10, "stop")])
def test_the_clients_limit_counts(limit: int, tokens: int, reason: str) -> None:
    events = ask(CHAT, chat(max_tokens=limit, stream_options={"include_usage": True})).events()
    assert events[-2]["usage"]["completion_tokens"] == tokens
    assert events[-3]["choices"][0]["finish_reason"] == reason


@pytest.mark.parametrize(("per_chunk", "pieces"), [(1, 10), (4, 3), (5, 2), (64, 1)])
def test_tokens_per_chunk(per_chunk: int, pieces: int) -> None:
    heard = ask(CHAT, chat(), tokens_per_chunk=per_chunk)
    deltas = [one["choices"][0]["delta"] for one in heard.events()[1:-2]]
    assert [count_text(delta["content"]) for delta in deltas][:-1] == [per_chunk] * (pieces - 1)
    assert len(deltas) == pieces
    assert heard.text() == ask(CHAT, chat()).text()


def test_openai_responses_streamed() -> None:
    events = ask("/v1/responses", {"input": "hello", "stream": True}).events()
    kinds = [one["type"] for one in events]
    assert kinds == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        *["response.output_text.delta"] * 10,
        "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    said = "".join(one["delta"] for one in events if "delta" in one)
    last = events[-1]["response"]
    assert last["output"][0]["content"][0]["text"] == said
    assert last["usage"]["output_tokens"] == count_text(said) == 10
    assert len({one["item_id"] for one in events if "item_id" in one}) == 1


def test_anthropic_streamed() -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 4, "stream": True, "system": "be brief"}
    heard = ask("/v1/messages", body)
    kinds = [one["type"] for one in heard.events()]
    assert kinds == [
        "message_start", "content_block_start", "ping", *["content_block_delta"] * 4, "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert [line[7:] for line in heard.body.decode().split("\n") if line.startswith("event: ")] == kinds
    delta = heard.events()[-2]
    assert delta["delta"]["stop_reason"] == "max_tokens"
    assert delta["usage"]["output_tokens"] == 4
    start = heard.events()[0]["message"]["usage"]
    asked = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert start["input_tokens"] + start["cache_read_input_tokens"] == count_prompt(render(asked))


def test_ollama_streams_lines_unless_told_otherwise() -> None:
    body = {"messages": [{"role": "user", "content": "hello"}]}
    heard = ask("/api/chat", body)
    lines = [json.loads(line) for line in heard.body.splitlines()]
    assert [line["done"] for line in lines] == [False] * 10 + [True]
    assert lines[-1]["eval_count"] == 10
    whole = ask("/api/chat", {**body, "stream": False}).json()
    assert whole["message"]["content"] == "".join(line["message"]["content"] for line in lines)
    short = ask("/api/chat", {**body, "stream": False, "options": {"num_predict": 3}}).json()
    assert (short["eval_count"], short["done_reason"]) == (3, "length")


def test_the_prompt_cache_knows_what_was_there_before() -> None:
    async def talk() -> list[dict[str, Any]]:
        async with serving() as server, Client(server) as client:
            said = ["hello", "hi", "and again"]
            found = [(await client.ask(CHAT, chat(*said[:1], stream=False))).json()["usage"]]
            found += [(await client.ask(CHAT, chat(*said, stream=False))).json()["usage"] for _ in range(2)]
            found.append((await client.ask(CHAT, chat("other", *said[1:], stream=False))).json()["usage"])
            return found

    cold, grown, same, other = asyncio.run(talk())
    opening = count_prompt(render(()))
    cached = [one["prompt_tokens_details"]["cached_tokens"] for one in (cold, grown, same, other)]
    assert cached == [0, cold["prompt_tokens"] - opening, same["prompt_tokens"] - opening, 0]
    assert 0 < cached[1] < cached[2] < same["prompt_tokens"]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (CHAT, b"{", 400, "not JSON"),
        (CHAT, b"[" * 100_000, 400, "not JSON"),
        (CHAT, b"[1]", 400, "must be a JSON object"),
        (CHAT, {}, 400, "messages must be a list"),
        (CHAT, {"messages": [3]}, 400, r"messages\[0\]"),
        (CHAT, chat(max_tokens=0), 400, "max_tokens"),
        (CHAT, chat(max_tokens=True), 400, "max_tokens"),
        (CHAT, chat(model="quik"), 404, "did you mean quick"),
        (CHAT, chat(model=7), 400, "model must be text"),
        ("/v1/messages", {"messages": [{"role": "user", "content": "x"}]}, 400, "max_tokens: Field required"),
        ("/v1/responses", {"input": 3}, 400, "input must be"),
        ("/api/chat", {"messages": []}, 400, "messages must be"),
        ("/nowhere", {}, 404, "nothing at /nowhere"),
    ],
)
def test_mistakes_are_named_in_the_apis_form(path: str, body: Any, status: int, says: str) -> None:
    async def twice() -> tuple[Heard, Heard]:
        async with serving() as server, Client(server) as client:
            return await client.ask(path, body), await client.ask("/health", method="GET")

    heard, after = asyncio.run(twice())
    assert heard.status == status
    error = heard.json()["error"]
    assert re.search(says, error if path == "/api/chat" else error["message"])
    if path == "/v1/messages":
        assert heard.json()["type"] == "error"
    assert after.status == 200, "the connection goes on"


def test_nesting_near_the_interpreters_limit_is_answered_or_refused() -> None:
    """How deep Python follows depends on its version; whatever it does, the service goes on."""

    async def twice() -> tuple[Heard, Heard]:
        async with serving() as server, Client(server) as client:
            return await client.ask(CHAT, DEEP), await client.ask("/health", method="GET")

    heard, after = asyncio.run(twice())
    if heard.status != 200:
        assert heard.status == 400
        assert re.search("nested too deeply|not JSON", heard.json()["error"]["message"])
    assert after.status == 200


def test_every_word_is_one_token() -> None:
    assert [word for word in WORDS if count_text(f" {word}") != 1 or count_text(word.capitalize()) != 1] == []


def test_the_same_seed_says_the_same() -> None:
    assert ask(CHAT, chat(), seed=5).body.count(b"data") == 13
    assert ask(CHAT, chat(), seed=5).text() == ask(CHAT, chat(), seed=5).text()
    assert ask(CHAT, chat(), seed=5).text() != ask(CHAT, chat(), seed=6).text()


@pytest.mark.parametrize("path", DIALECTS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6))
def test_any_json_is_read_or_refused(path: str, body: dict[str, Any]) -> None:
    dialect = DIALECTS[path]
    try:
        asked = dialect.read(body)
    except BadRequest:
        return
    tokens, cached = PromptCache().count(asked.model, asked.messages)
    assert tokens > 0
    assert cached == 0
    answer = Answer("x" * 24, asked.model, 0, include_usage=asked.include_usage)
    assert json.loads(json.dumps(dialect.whole(answer, "text")))
    for frame in (dialect.opening(answer), dialect.piece(answer, 'é\n\n"', 0), dialect.closing(answer, "é", 1)):
        assert frame.count(b"\n\n") == frame.count(b"data: "), "no text breaks an event"
