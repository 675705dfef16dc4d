"""``perfsuite init URL``: what it finds, what it writes, what it says when it finds nothing."""

from __future__ import annotations

import asyncio
import json
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perfsuite.cli import main
from perfsuite.configuration import configure
from perfsuite.targets.base import Failure
from perfsuite.targets.http.inference import infer_name, infer_stream
from perfsuite.targets.http.openapi import chat_operations, key_headers
from perfsuite.targets.template import load_template
from served import Asked, beside, chunked, delta, sse, whole
from serving import serving

KEY = "sk-a-key-that-nobody-may-see"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def fastapi(path: str, schema: dict[str, object], **more: object) -> dict[str, object]:
    """An OpenAPI document as FastAPI writes it."""
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ask"}}}}
    chat = {"summary": "Chat", "operationId": "chat_post", "requestBody": body, **more}
    upload = {"operationId": "upload", "requestBody": {"content": {"application/json": {"schema": {
        "type": "object", "properties": {"text": {"type": "string"}}}}}}}  # fmt: skip
    return {
        "openapi": "3.1.0",
        "paths": {"/health": {"get": {"operationId": "health"}}, "/upload": {"post": upload}, path: {"post": chat}},
        "components": {"schemas": {"Ask": {"type": "object", **schema}}},
    }


def two_chats() -> dict[str, object]:
    document = fastapi("/chat", ASK)
    paths = document["paths"]
    assert isinstance(paths, dict)
    paths["/say"] = {"post": {**paths["/chat"]["post"], "summary": "", "operationId": "say"}}
    return document


ASK = {
    "properties": {
        "message": {"type": "string", "title": "Message"},
        "session_id": {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "Session"},
        "user_id": {"type": "string"},
        "mode": {"type": "string", "enum": ["fast", "slow"]},
        "depth": {"type": "integer", "minimum": 3},
        "temperature": {"type": "number", "default": 0.7},
    },
    "required": ["message", "user_id", "mode", "depth"],
}
SENT = {
    "message": "{message}", "session_id": "{conversation_id}", "user_id": "{user_id}", "mode": "fast", "depth": 3
}  # fmt: skip


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


@pytest.mark.parametrize(
    ("answer", "stream"),
    [
        (whole("200 OK", {"id": "7", "reply": "Hello you"}), {"kind": "none", "text": "$.reply", "error": "$.error"}),
        (
            chunked(*sse({"token": "Hello "}, {"token": "you"}, "[DONE]")),
            {"kind": "sse", "text": "$.token", "error": "$.error", "done": "[DONE]"},
        ),
        (
            chunked(
                lines({"delta": "Hello ", "done": False}, {"delta": "you", "done": True}), kind="application/x-ndjson"
            ),
            {"kind": "ndjson", "text": "$.delta", "error": "$.error", "done": "$.done"},
        ),
        (chunked(b"Hello ", b"you", kind="text/plain"), {"kind": "text"}),
    ],
)
def test_a_service_by_its_openapi_document(
    answer: bytes, stream: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def service(asked: Asked) -> bytes:
        if asked.path == "/openapi.json":
            return whole("200 OK", fastapi("/chat", ASK))
        return answer if asked.path == "/chat" else b""

    with beside(service) as server:
        assert main(["init", server.url, "--message", "hi there"]) == 0
        out = capsys.readouterr().out
        assert "got      Hello you" in out
        assert "ttft" in out
        assert "measured response_time" in out.replace("memory_usage, ", "")
        assert "does not show its inside" in out
        posts = [one.json for one in server.asked if one.method == "POST"]
        assert posts == [
            {"message": "hi there", "session_id": "init", "user_id": "init", "mode": "fast", "depth": 3}
        ]  # one message, no more
        written = tomllib.loads((tmp_path / "perfsuite.toml").read_text())
        assert written["template"]["request"] == {"method": "POST", "path": "/chat", "json": SENT}
        assert written["template"]["stream"] == stream
        plan = configure({}, folder=tmp_path, environment={})
        assert plan.target == "template:perfsuite.toml"
        assert load_template("perfsuite.toml").base.url == server.url


def openai(asked: Asked) -> bytes:
    if KEY not in asked.headers.get("authorization", ""):
        return whole("401 No", {"error": {"message": "no key"}})
    if asked.path == "/v1/models":
        return whole("200 OK", {"object": "list", "data": [{"id": "embed-1"}, {"id": "m1"}]})
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    return chunked(*sse(delta("Hel"), delta("lo"), usage, "[DONE]")) if asked.path == "/v1/chat/completions" else b""


def test_a_known_dialect_whose_key_is_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with beside(openai) as server:
        assert main(["init", server.url]) == 2
        assert "wants a key: export OPENAI_API_KEY" in capsys.readouterr().err
        assert not (tmp_path / "perfsuite.toml").exists()
        monkeypatch.setenv("SHOP_KEY", KEY)
        assert main(["init", server.url, "--api-key-env", "SHOP_KEY"]) == 0
        captured = capsys.readouterr()
        assert "got      Hello" in captured.out
        assert "5 prompt and 2 completion tokens (usage)" in captured.out
        text = (tmp_path / "perfsuite.toml").read_text()
        assert KEY not in text + captured.out + captured.err
        plan = configure({}, folder=tmp_path, environment={})
        assert (plan.target, plan.api_key_env, [model.name for model in plan.models]) == (
            server.url,
            "SHOP_KEY",
            ["m1"],
        )
        # What is there is not replaced unasked.
        assert main(["init", server.url, "--api-key-env", "SHOP_KEY"]) == 2
        assert "--force" in capsys.readouterr().err
        assert main(["init", server.url, "--api-key-env", "SHOP_KEY", "--force", "--model", "other"]) == 0
        assert 'model = ["other"]' in (tmp_path / "perfsuite.toml").read_text()


def test_a_default_key_is_not_sent_to_a_service_that_does_not_ask_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with beside(lambda asked: b"") as server:
        assert main(["init", server.url]) == 1
        assert server.asked
        assert not any(KEY in str(asked.headers) for asked in server.asked)


def only(path: str, refusal: bytes, answer: bytes, everywhere: bytes = b"") -> Callable[[Asked], bytes]:
    """A service of one operation that lists no models; what else is asked gets ``everywhere``."""

    def service(asked: Asked) -> bytes:
        if (asked.method, asked.path) != ("POST", path):
            return everywhere
        if "authorization" not in asked.headers and "x-api-key" not in asked.headers:
            return whole("401 No", {"type": "error", "error": {"message": "no key"}})
        return refusal if asked.json == {} else answer

    return service


MESSAGE_STREAM = chunked(
    *sse({"type": "message_start", "message": {"usage": {"input_tokens": 4, "output_tokens": 1}}}),
    *sse({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}),
    *sse({"type": "message_delta", "usage": {"output_tokens": 2}}, {"type": "message_stop"}),
)
MISSING = whole("400 Bad Request", {"type": "error", "error": {"message": "messages: missing"}})


def test_a_service_that_lists_no_models_is_known_by_how_it_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = chunked(*sse(delta("Hi"), {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}, "[DONE]"))
    for path, prefix, variable, answer in (
        ("/v1/messages", "anthropic+", "ANTHROPIC_API_KEY", MESSAGE_STREAM),
        ("/v1/chat/completions", "", "OPENAI_API_KEY", chat),
    ):
        with beside(only(path, MISSING, answer)) as server:
            assert main(["init", server.url, "--model", "m1", "--force"]) == 2
            assert f"wants a key: export {variable}" in capsys.readouterr().err
            monkeypatch.setenv(variable, KEY)
            assert main(["init", server.url, "--force"]) == 2
            assert "name one with --model" in capsys.readouterr().err
            assert main(["init", server.url, "--model", "m1", "--force"]) == 0
            assert "4 prompt and 2 completion tokens (usage)" in capsys.readouterr().out
            sent = [one.json for one in server.asked if one.path == path and one.json != {}]
            assert len(sent) == 1, "one message"
        written = tomllib.loads((tmp_path / "perfsuite.toml").read_text())
        assert (written["target"], written["model"]) == (f"{prefix}{server.url}", ["m1"])
        monkeypatch.delenv(variable)


def test_what_refuses_everything_alike_is_no_dialect(capsys: pytest.CaptureFixture[str]) -> None:
    other = whole("400 Bad Request", {"detail": "no such thing here"})
    for path in ("/v1/messages", "/v1/chat/completions"):
        with beside(only(path, other, b"", everywhere=other)) as server:
            assert main(["init", server.url, "--api-key-env", "PATH", "--model", "m1"]) == 1
            assert "was recognised" in capsys.readouterr().err
    # A refusal that is not Anthropic's is another service's messages.
    with beside(only("/v1/messages", whole("422 No", {"detail": []}), b"")) as server:
        assert main(["init", server.url, "--api-key-env", "PATH", "--model", "m1"]) == 1


def test_ollama(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def service(asked: Asked) -> bytes:
        if asked.path == "/api/chat":
            return chunked(
                lines({"message": {"content": "Hi"}}, {"done": True, "eval_count": 1, "prompt_eval_count": 3})
            )
        known = {"/api/version": {"version": "0.9"}, "/api/tags": {"models": [{"name": "llama:1b"}]}}
        return whole("200 OK", known[asked.path]) if asked.path in known else b""

    with beside(service) as server:
        assert main(["init", server.url]) == 0
        written = tomllib.loads((tmp_path / "perfsuite.toml").read_text())
        assert (written["target"], written["model"]) == (f"ollama+{server.url}", ["llama:1b"])
        assert "3 prompt and 1 completion" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("document", "answer", "says"),
    [
        (None, b"", ["was recognised", "/v1/models: 404 Not Found", "/openapi.json: 404"]),
        ({"paths": {"/health": {"get": {}}}}, b"", ["no operation in it that takes a message", "GET /health"]),
        (
            fastapi("/chat", ASK),
            whole("422 No", {"detail": [{"loc": ["body", "x"], "msg": "missing"}]}),
            ["body.x: missing"],
        ),
        (fastapi("/chat", ASK), whole("200 OK", {"error": "no credit"}), ["no credit"]),
        (fastapi("/chat", ASK), whole("200 OK", {"id": "3"}), ["no text was found"]),
        (two_chats(), b"", ["POST /chat", "404", "other operations that take a message: POST /say"]),
    ],
)
def test_what_does_not_work_is_named(
    document: object, answer: bytes, says: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def service(asked: Asked) -> bytes:
        if asked.path == "/openapi.json" and document is not None:
            return whole("200 OK", document)
        return answer if asked.path == "/chat" else b""

    with beside(service) as server:
        assert main(["init", server.url]) == 1
    err = capsys.readouterr().err
    assert all(text in err for text in says), err
    assert not (tmp_path / "perfsuite.toml").exists()


def test_a_service_that_speaks_another_scheme_is_guessed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def closes() -> int:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        port = int(server.sockets[0].getsockname()[1])
        async with server:
            return await asyncio.to_thread(main, ["init", f"http://127.0.0.1:{port}"])

    assert asyncio.run(closes()) == 1
    assert "does it speak https?" in capsys.readouterr().err

    kept: list[asyncio.StreamWriter] = []

    async def waits() -> int:
        server = await asyncio.start_server(lambda reader, writer: kept.append(writer), "127.0.0.1", 0)
        port = int(server.sockets[0].getsockname()[1])
        async with server:
            code = await asyncio.to_thread(main, ["init", f"https://127.0.0.1:{port}", "--timeout", "300ms"])
            for writer in kept:
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        return code

    assert asyncio.run(waits()) == 1
    assert "does it speak https?" in capsys.readouterr().err


def test_nobody_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "http://127.0.0.1:1"]) == 1
    assert "start the service" in capsys.readouterr().err
    assert main(["init", "127.0.0.1"]) == 2


def test_which_operation_chats_and_what_it_is_sent() -> None:
    messages = {"type": "array", "items": {"$ref": "#/components/schemas/M"}}
    document = fastapi("/v2/{user_id}/chat/{thread_id}", {"properties": {"messages": messages, "stream": {
        "type": "boolean", "default": False}, "query": {"type": "string"}}, "required": ["messages"]})  # fmt: skip
    document["components"]["schemas"]["M"] = {  # type: ignore[index]
        "type": "object", "properties": {"role": {"type": "string"}, "content": {"type": "string"}}
    }  # fmt: skip
    document["paths"]["/v2/{user_id}/chat/{thread_id}"]["post"]["parameters"] = [  # type: ignore[index]
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("user_id", "thread_id")
    ]
    document["paths"]["/ask"] = {"post": {"parameters": [  # type: ignore[index]
        {"name": "question", "in": "query", "required": True, "schema": {"type": "string"}},
        {"name": "lang", "in": "query", "schema": {"type": "string"}},
        {"name": "n", "in": "query", "required": True, "schema": {"type": "integer", "default": 2}}]}}  # fmt: skip
    first, second = chat_operations(document)  # and not /upload, which takes a text too
    assert first.request.path == "/v2/{user_id}/chat/{conversation_id}"
    assert first.request.json == {"messages": "{messages}", "stream": True}
    assert (second.request.path, second.request.json) == ("/ask?question={message}&n=2", None)


STRING = {"type": "string"}
SESSIONS = {
    "paths": {
        "/sessions": {"post": {"operationId": "create", "responses": {}}},
        "/sessions/{session_id}/messages": {
            "post": {
                "operationId": "send",
                "parameters": [
                    {"name": "session_id", "in": "path", "required": True, "schema": STRING},
                    {"name": "x-tenant", "in": "header", "required": True, "schema": STRING},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"properties": {"content": STRING}}}}},
            }
        },
    },
    "components": {"securitySchemes": {"APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"}}},
}


def test_a_conversation_that_has_to_be_made_first_and_a_key_in_a_header_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def service(asked: Asked) -> bytes:
        if asked.path == "/openapi.json":
            return whole("200 OK", SESSIONS)
        if asked.method == "GET":
            return b""
        if asked.headers.get("x-api-key") != KEY:
            return whole("403 No", {"detail": f"not {asked.headers.get('x-api-key')}"})
        if asked.path == "/sessions":
            return whole("201 Created", {"object": "session", "data": {"id": "s7", "owner_id": "o1"}})
        known = asked.path == "/sessions/s7/messages" and asked.headers.get("x-tenant") == "perfsuite"
        return whole("200 OK", {"reply": "Hello you"}) if known else whole("404 Not Found", {"detail": "no session"})

    monkeypatch.setenv("SHOP_KEY", KEY)
    with beside(service) as server:
        assert main(["init", server.url]) == 1
        err = capsys.readouterr().err
        assert "its requests carry a key (X-API-Key)" in err
        assert not (tmp_path / "perfsuite.toml").exists()
        assert main(["init", server.url, "--api-key-env", "SHOP_KEY"]) == 0
        out = capsys.readouterr().out
        assert "POST /sessions, then POST /sessions/{session_id}/messages" in out
        assert "got      Hello you" in out
    text = (tmp_path / "perfsuite.toml").read_text()
    assert KEY not in text + out + err
    written = tomllib.loads(text)["template"]
    assert written["headers"] == {"X-API-Key": "{env:SHOP_KEY}", "x-tenant": "perfsuite"}
    assert written["setup"] == [
        {
            "per": "conversation",
            "request": {"method": "POST", "path": "/sessions"},
            "capture": {"session_id": "$.data.id"},
        }
    ]
    template = load_template("perfsuite.toml")
    assert template.request.path == "/sessions/{session_id}/messages"
    assert template.setup[0].capture["session_id"].text == "$.data.id"


def test_a_langgraph_server_by_the_template_that_is_made_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = {"schema": {"properties": {"query": STRING}}}
    search = {"post": {"operationId": "search_items", "requestBody": {"content": {"application/json": query}}}}
    paths = {"/threads": {"post": {}}, "/threads/{thread}/runs/stream": {"post": {}}, "/store/items/search": search}

    def service(asked: Asked) -> bytes:
        said = {"messages": [{"content": "hi"}, {"content": "Hello you"}]}
        return {
            "/openapi.json": lambda: whole("200 OK", {"paths": paths}),
            "/assistants/search": lambda: whole("200 OK", [{"graph_id": "helper"}, {"graph_id": "helper"}, 3]),
            "/threads": lambda: whole("200 OK", {"thread_id": "t1"}),
            "/threads/t1/runs/stream": lambda: chunked(*sse(said, name="values")),
        }.get(asked.path, lambda: b"")()

    with beside(service) as server:
        assert main(["init", server.url]) == 0
        asked = [one.json for one in server.asked if one.path == "/threads/t1/runs/stream"]
    assert [one["assistant_id"] for one in asked] == ["helper"]
    out = capsys.readouterr().out
    assert "by template:langgraph, graphs: helper" in out
    assert "got      Hello you" in out
    written = tomllib.loads((tmp_path / "perfsuite.toml").read_text())
    assert written["model"] == ["helper"]
    assert written["template"]["base"] == server.url
    assert written["template"]["request"]["json"]["assistant_id"] == "{model}"
    assert load_template("perfsuite.toml").stream.cumulative


def test_what_only_looks_something_up_is_no_chat() -> None:
    query = {"schema": {"properties": {"query": STRING}}}
    search = {"post": {"operationId": "search_items", "requestBody": {"content": {"application/json": query}}}}
    assert chat_operations({"paths": {"/store/items/search": search}}) == []


def test_a_get_is_a_chat_only_where_its_path_says_so() -> None:
    def get(name: str) -> dict[str, object]:
        return {"get": {"parameters": [{"name": name, "in": "query", "required": True, "schema": STRING}]}}

    found = chat_operations({"paths": {"/items": get("q"), "/search": get("query"), "/ask": get("q")}})
    assert [(one.request.method, one.request.path) for one in found] == [("GET", "/ask?q={message}")]


@pytest.mark.parametrize(
    ("scheme", "headers"),
    [
        ({"type": "http", "scheme": "bearer"}, {"Authorization": "Bearer {key}"}),
        ({"type": "oauth2"}, {"Authorization": "Bearer {key}"}),
        ({"type": "apiKey", "in": "query", "name": "key"}, {}),
        ({"type": "http", "scheme": "basic"}, {}),
        ("odd", {}),
    ],
)
def test_which_header_carries_the_key(scheme: object, headers: dict[str, str]) -> None:
    assert key_headers({"components": {"securitySchemes": {"one": scheme}}}) == headers
    assert key_headers(None) == key_headers({"components": 3}) == {}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"thread_id": "t"}, "$.thread_id"),
        ({"id": 7, "thread_id": "t"}, "$.thread_id"),
        ({"user": {"id": "u"}, "id": "t"}, "$.id"),
        ({"threadId": "t", "id": "x"}, "$.threadId"),
        ({"chat_id": "c"}, "$.chat_id"),
        ({"chat_id": "c", "user_id": "u"}, None),
        ({"ok": True, "id": True}, None),
        ("t", "$"),
        (["t"], None),
    ],
)
def test_where_the_name_of_what_was_made_lies(document: object, path: str | None) -> None:
    assert infer_name(json.dumps(document).encode(), "thread_id") == path


def test_documents_that_lead_nowhere() -> None:
    loop = {"$ref": "#/components/schemas/Ask"}
    document = fastapi(
        "/chat", {"properties": {"message": {"type": "string"}, "inner": loop}, "required": ["message", "inner"]}
    )
    assert chat_operations(document)[0].request.path == "/chat"
    for odd in (
        {},
        {"paths": 3},
        {"paths": {"/x": 3}},
        {"paths": {"/x": {"post": 3}}},
        {"paths": {"/x": {"post": {}}}},
    ):
        assert chat_operations(odd) == []


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (
            b"".join(
                sse({"m": [{"content": "hi"}]}, {"m": [{"content": "He"}]}, {"m": [{"content": "Hello"}]}, name="v")
            ),
            {"kind": "sse", "text": "$.m[0].content", "mode": "cumulative", "error": "$.error", "event": "v"},
        ),
        (
            b"".join(
                [*sse({"run_id": "1"}, name="meta"), *sse({"text": "a"}, {"text": "b"}, name="d"), *sse({}, name="end")]
            ),
            {"kind": "sse", "text": "$.text", "error": "$.error", "event": "d", "done": "event:end"},
        ),
        (
            b"".join([*sse({"text": "a"}, {"text": "b"}, name="token"), *sse("bye now", name="end")]),
            {"kind": "sse", "text": "$.text", "error": "$.error", "event": "token", "done": "event:end"},
        ),
        (
            b"".join(sse({"text": "a"}, {"text": "b"}, "bye now")),
            {"kind": "sse", "text": "$.text", "error": "$.error", "done": "bye now"},
        ),
        (b"".join(sse("Hel", "lo")), {"kind": "sse"}),
        (
            json.dumps(
                {"choices": [{"message": {"role": "assistant", "content": "x"}}], "usage": {"output_tokens": 1}}
            ).encode(),
            {"kind": "none", "text": "$.choices[0].message.content", "usage": "$.usage", "error": "$.error"},
        ),
        (b'"just text"', {"kind": "none", "text": "$"}),
        (b'data: "Hel"\n\ndata: "lo"\n\ndata: [DONE]\n\n', {"kind": "sse", "text": "$", "done": "[DONE]"}),
        (b"12", {"kind": "none"}),
        (b"just text", {"kind": "text"}),
    ],
)
def test_how_an_answer_reads(body: bytes, form: dict[str, object]) -> None:
    kind = "text/event-stream" if body.startswith((b"data", b"event")) else ""
    found = infer_stream(kind, body, "hi")
    if form.get("event") == "v":
        form.pop("event")
        found.pop("event", None)  # whether one name for all events is worth a filter is not the point
    assert found == form


@pytest.mark.parametrize("body", [b"", b"{}", b'{"id": "1"}', b'{"error": "x", "text": "y"}', b"data: \n\n"])
def test_an_answer_without_text(body: bytes) -> None:
    with pytest.raises(Failure):
        infer_stream("application/json", body, "hi")


# ── a realtime service ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prefix", ["", "realtime+"])
def test_a_realtime_service_is_asked_over_its_socket(
    prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with realtime_server() as url:
        assert main(["init", prefix + url]) == 0
        said = capsys.readouterr().out
        assert f"realtime+{url}/v1/realtime: realtime, model: quick" in said
        assert "10 completion tokens (usage)" in said
        assert "10 chunks" in said
        written = tomllib.loads((tmp_path / "perfsuite.toml").read_text(encoding="utf-8"))
        assert written == {"target": f"realtime+{url}/v1/realtime", "model": ["quick"]}
        assert configure({}, folder=tmp_path, environment={}).target == written["target"]
        assert main(["init", url, "--force", "--model", "other"]) == 2
        assert "unknown model 'other'" in capsys.readouterr().err


@contextmanager
def realtime_server() -> Iterator[str]:
    """A server of the suite's in a thread of its own; its URL."""
    ready, over = threading.Event(), threading.Event()
    urls: list[str] = []

    async def serve() -> None:
        async with serving() as server:
            urls.append(server.url.replace("http", "ws", 1))
            ready.set()
            while not over.is_set():  # noqa: ASYNC110 - the event is another thread's
                await asyncio.sleep(0.005)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield urls[0]
    finally:
        over.set()
        thread.join(60)


TEXT = {"type": "string", "title": "Prompt"}
MESSAGES = {"type": "array", "items": {"$ref": "#/components/schemas/M"}, "title": "Whatever"}
A_FORM = {"properties": {"message": {"type": "string"}, "lang": {"type": "string", "default": "en"}}}


@pytest.mark.parametrize(
    ("kind", "schema", "json_body", "form"),
    [
        ("application/json", TEXT, "{message}", None),
        ("application/json", MESSAGES, "{messages}", None),
        ("application/x-www-form-urlencoded", {**A_FORM, "required": ["message", "lang"]}, None,
         {"message": "{message}", "lang": "en"}),
        ("application/json", {"properties": {"question": TEXT, "user": {"$ref": "#/components/schemas/U"}},
         "required": ["question", "user"]}, {"question": "{message}", "user": {"id": "{user_id}"}}, None),
    ],
)  # fmt: skip
def test_bodies_that_are_no_plain_table(kind: str, schema: object, json_body: object, form: object) -> None:
    parts = {"role": STRING, "content": STRING}
    document = {
        "paths": {"/chat": {"post": {"requestBody": {"content": {kind: {"schema": schema}}}}}},
        "components": {"schemas": {"M": {"type": "object", "properties": parts},
                                   "U": {"type": "object", "properties": {"id": STRING}, "required": ["id"]}}},
    }  # fmt: skip
    (found,) = chat_operations(document)
    assert (found.request.json, found.request.form, list(found.guessed)) == (json_body, form, [])


def test_bodies_that_take_no_message() -> None:
    numbers = {"type": "array", "items": {"type": "number"}, "title": "Messages"}
    for schema in ({"type": "string", "title": "Title"}, {"type": "string"}, numbers):
        body = {"content": {"application/json": {"schema": schema}}}
        assert chat_operations({"paths": {"/chat": {"post": {"requestBody": body}}}}) == []


def test_a_form_from_init_to_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {"application/x-www-form-urlencoded": {"schema": {**A_FORM, "required": ["message"]}}}
    document = {"paths": {"/chat": {"post": {"requestBody": {"content": content}}}}}

    def service(asked: Asked) -> bytes:
        if asked.path == "/openapi.json":
            return whole("200 OK", document)
        good = asked.body == b"message=hi+there"
        return whole("200 OK", {"reply": "Hello you", "success": True}) if good else b""

    with beside(service) as server:
        assert main(["init", server.url, "--message", "hi there"]) == 0
    out = capsys.readouterr().out
    written = tomllib.loads((tmp_path / "perfsuite.toml").read_text())["template"]
    assert written["request"] == {"method": "POST", "path": "/chat", "form": {"message": "{message}"}}
    assert written["stream"]["error"] == ["$.error", "$.success=false"]
    shown, hidden = out.split("measured ")[1].split("\n", 1)
    assert {"ttft", "error_rate", "completion_tokens"} <= set(shown.split(", "))
    assert "not      itl, max_gap, stalls, tpot: its answer came in one piece" in hidden


def test_what_more_tells_an_error_by_what_a_good_answer_has() -> None:
    def signs(answer: object) -> object:
        return infer_stream("application/json", json.dumps(answer).encode(), "hi")["error"]

    assert signs({"reply": "Hello", "ok": True, "status": "success"}) == ["$.error", "$.ok=false", "$.status=error"]
    assert signs({"reply": "Hello", "ok": "yes", "status": "running"}) == "$.error"
    with pytest.raises(Failure, match="no credit"):
        signs({"success": False, "message": "no credit"})


def test_an_end_with_words_of_its_own_is_no_text() -> None:
    ended = b"".join([*sse("Hel", "lo", name="token"), *sse("over", name="end")])
    assert infer_stream("text/event-stream", ended, "hi") == {"kind": "sse", "event": "token"}
    unnamed = b"".join([*sse("Hel", "lo"), *sse("over", name="end")])
    assert infer_stream("text/event-stream", unnamed, "hi") == {"kind": "sse"}
    marked = b"".join([*sse("Hel", "lo", name="token"), *sse("[END]", name="end")])
    assert infer_stream("text/event-stream", marked, "hi") == {"kind": "sse", "done": "[END]"}
    other = b"".join([*sse("Hel", name="token"), *sse("lo", name="more")])
    assert infer_stream("text/event-stream", other, "hi") == {"kind": "sse"}
