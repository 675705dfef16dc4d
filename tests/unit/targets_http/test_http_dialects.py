"""Each dialect: what is sent, and how recorded answers read."""

from __future__ import annotations

import json

import pytest

from perfsuite.settings import BY_NAME
from perfsuite.targets import HTTP, SCHEMES
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.dialect import Dialect, Usage, WrongShape, plain
from perfsuite.targets.http.dialects import DIALECTS, dialect_at
from perfsuite.targets.http.hearing import Hearing
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.splitting import Splitter
from perfsuite.targets.http.target import split_target
from served import a_request, a_row, sse

AT = parse_address("http://h:1", "test")


def heard(dialect: Dialect, stream: bytes) -> tuple[Hearing, int]:
    """(what was heard, content chunks of the visible answer)"""
    row, events = a_row()
    hearing = Hearing(dialect.reader(a_request()), row)
    splitter = Splitter(dialect.stream)
    hearing.take(splitter.feed(stream, events.start_ns))
    hearing.take(splitter.finish(0))
    row.end(0)
    return hearing, events.chunks


def named(*events: dict[str, object]) -> bytes:
    return b"".join(piece for event in events for piece in sse(event, name=str(event["type"])))


RESPONSES = named(
    {"type": "response.created", "response": {"usage": None}},
    {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
    {"type": "response.output_text.delta", "delta": "Hel"},
    {"type": "response.output_text.delta", "delta": "lo"},
    {"type": "response.output_text.done", "text": "Hello"},
    {
        "type": "response.completed",
        "response": {
            "model": "m",
            "usage": {"input_tokens": 9, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 2}},
        },
    },
)
ANTHROPIC = named(
    {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 4, "cache_read_input_tokens": 2,
                                          "cache_creation_input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
)  # fmt: skip
CHAT = b"".join(
    sse(
        {"choices": [{"delta": {"role": "assistant", "content": ""}}]},
        {"choices": [{"delta": {"reasoning_content": "hm"}}]},
        {"choices": [{"delta": {"content": "Hel"}}]},
        {"choices": [{"delta": {"content": "lo"}, "finish_reason": "stop"}], "model": "m"},
        {
            "choices": [],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}},
        },
        "[DONE]",
    )
)
OLLAMA = b"\n".join(
    json.dumps(line).encode()
    for line in (
        {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {"model": "m", "message": {"content": "Hel"}, "done": False},
        {"model": "m", "message": {"content": "lo"}, "done": False},
        {"model": "m", "message": {"content": ""}, "done": True, "prompt_eval_count": 9, "eval_count": 4},
    )
)


@pytest.mark.parametrize(
    ("name", "stream", "cached"),
    [("openai", CHAT, 2), ("responses", RESPONSES, 2), ("anthropic", ANTHROPIC, 2), ("ollama", OLLAMA, None)],
)
def test_a_recorded_stream_reads_the_same_in_every_dialect(name: str, stream: bytes, cached: int | None) -> None:
    hearing, visible = heard(dialect_at(name, AT, None), stream)
    assert (hearing.text, hearing.model, hearing.ended) == ("Hello", "m", True)
    assert hearing.usage == Usage(9, 4, cached)
    assert (hearing.chunks, visible, hearing.hidden) == (3, 2, 2)  # thinking is a chunk, and not of the answer


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("openai", {"choices": [{"message": {"content": "Hello"}}]}),
        ("responses", {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]}),
        ("anthropic", {"type": "message", "content": [{"type": "text", "text": "Hello"}]}),
        ("ollama", {"message": {"content": "Hello"}, "done": True}),
    ],
)
def test_a_whole_answer(name: str, whole: dict[str, object]) -> None:
    reader = dialect_at(name, AT, None).reader(a_request())
    piece = reader.whole(json.dumps(whole).encode())
    assert (piece.text, piece.end) == ("Hello", True)
    for wrong in (b"", b"[]", b"\xff", b'{"type":"other"}', b'{"choices": 3, "output": 3, "content": 3, "done": 3}'):
        with pytest.raises(WrongShape):
            reader.whole(wrong)


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("openai", {"error": {"message": "too busy"}}),
        ("responses", {"type": "error", "message": "too busy"}),
        ("responses", {"type": "response.failed", "response": {"error": {"message": "too busy"}}}),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "too busy"}}),
        ("ollama", {"error": "too busy"}),
    ],
)
def test_an_error_within_a_stream_is_told(name: str, event: dict[str, object]) -> None:
    assert dialect_at(name, AT, None).reader(a_request()).classify("", json.dumps(event).encode()).error == "too busy"


Sent = tuple[str, dict[str, str], dict[str, object]]


def sent(name: str, key: Secret | None = None, url: str = "http://h:1") -> Sent:
    call = dialect_at(name, parse_address(url, "test"), key).call(a_request(max_tokens=5), "m")
    return call.path, dict(call.headers), json.loads(call.body)


def test_what_is_sent() -> None:
    user = {"role": "user", "content": "hello"}
    system = {"role": "system", "content": "be brief"}
    assert sent("openai")[2] == {
        "model": "m", "messages": [system, user], "stream": True, "stream_options": {"include_usage": True},
        "max_tokens": 5,
    }  # fmt: skip
    assert sent("openai", url="https://api.openai.com")[2]["max_completion_tokens"] == 5
    assert sent("responses")[2] == {
        "model": "m", "input": [{"type": "message", **system}, {"type": "message", **user}], "stream": True,
        "store": False, "max_output_tokens": 5,
    }  # fmt: skip
    path, headers, body = sent("anthropic", Secret("the-key"))
    assert (path, headers["x-api-key"], headers["anthropic-version"]) == ("/v1/messages", "the-key", "2023-06-01")
    assert body == {"model": "m", "max_tokens": 5, "system": "be brief", "messages": [user], "stream": True}
    path, _, body = sent("ollama")
    assert path == "/api/chat"
    assert body == {"model": "m", "messages": [system, user], "stream": True, "options": {"num_predict": 5}}


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://h", "/v1/chat/completions"),
        ("https://h/v1/", "/v1/chat/completions"),
        ("https://h/openai/v1", "/openai/v1/chat/completions"),
        ("https://h/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("http://[::1]:8000/llm", "/llm/v1/chat/completions"),
        ("responses+http://h", "/v1/responses"),
        ("anthropic+https://h", "/v1/messages"),
        ("ollama+http://h:11434", "/api/chat"),
    ],
)
def test_a_target_s_address_with_or_without_v1(target: str, path: str) -> None:
    dialect, address = split_target(target)
    assert dialect_at(dialect, address, None).call(a_request(), None).path == path


def test_addresses() -> None:
    assert parse_address("http://127.0.0.9:80", "x").authority == "127.0.0.9"
    assert parse_address("https://[::1]:8443/a/", "x").url == "https://[::1]:8443/a"
    assert parse_address("http://localhost", "x").loopback
    assert parse_address("http://[::1]", "x").loopback
    assert not parse_address("http://10.0.0.1", "x").loopback


def test_every_dialect_can_be_named_and_has_a_url() -> None:
    prefixes = {"http", "https"} | (set(DIALECTS) - {"openai"})  # what is not named is OpenAI's
    assert prefixes == HTTP
    assert prefixes <= set(SCHEMES)
    for name in DIALECTS:
        assert dialect_at(name, AT, None).name
    assert all(prefix in BY_NAME["target"].help for prefix in prefixes - {"https"})


def test_a_workloads_own_marks_are_not_sent() -> None:
    clean = {"role": "user", "content": "a", "name": "b"}
    marked = {"role": "user", "pinned": True, "content": "c"}
    called = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert plain([clean, marked, called]) == [clean, {"role": "user", "content": "c"}, called]
    assert marked["pinned"] is True
