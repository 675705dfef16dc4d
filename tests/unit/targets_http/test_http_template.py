"""Templates: read, checked, filled in, and driven against services of each kind."""

from __future__ import annotations

import asyncio
import json
import tomllib
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from perfsuite.configuration import configure
from perfsuite.errors import UsageError
from perfsuite.plan import Plan
from perfsuite.targets import check_target, open_target
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.targets.http.filling import filled, filled_path
from perfsuite.targets.http.paths import MISSING, parse_path
from perfsuite.targets.http.template_file import parse_template
from perfsuite.targets.template import TemplateTarget, load_template, shipped
from served import Asked, Server, a_request, a_row, chunked, serving, sse, whole

CHAT = """
base = "{url}"
[request]
path = "/chat"
json = {{ text = "{{message}}" }}
[stream]
"""


def answered(answer: bytes, stream: str, tmp_path: Path, requests: int = 1) -> tuple[Reply, int]:
    """(the reply of a service that answers so, the chunks it came in)"""

    async def service(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async def go() -> tuple[Reply, int]:
        async with serving(service) as server:
            file = tmp_path / "t.toml"
            file.write_text(CHAT.format(url=server.url) + stream)
            target = await open_target(Plan(target=f"template:{file}"), tmp_path)
            row, events = a_row()
            try:
                reply = await target.send(a_request(), row)
            finally:
                await target.close()
            row.end(0)
            return reply, events.chunks

    return asyncio.run(asyncio.wait_for(go(), 10))


def lines(*values: object) -> bytes:
    return chunked(*(json.dumps(value).encode() + b"\n" for value in values), kind="application/x-ndjson")


@pytest.mark.parametrize(
    ("answer", "stream", "chunks"),
    [
        (whole("200 OK", {"reply": {"text": "Hello"}}), 'kind = "none"\ntext = "$.reply.text"', 1),
        (whole("200 OK", b"Hello", kind="text/plain"), 'kind = "none"', 1),
        (chunked(*sse({"d": "Hel"}, {"x": 1}, {"d": "lo"})), 'kind = "sse"\ntext = "$.d"', 2),
        (chunked(*sse("Hel", "lo", "[END]")), 'kind = "sse"\ndone = "[END]"', 2),
        (chunked(*sse({"d": "Hello"}), *sse("", name="fin")), 'kind="sse"\ntext="$.d"\ndone="event:fin"', 1),
        (lines({"d": "Hel"}, {"d": "lo", "end": True}), 'kind = "ndjson"\ntext = "$.d"\ndone = "$.end"', 2),
        (lines({"d": "Hel"}, {"d": "Hello"}), 'kind = "ndjson"\ntext = "$.d"\nmode = "cumulative"', 2),
        (chunked(b"Hello", kind="text/plain"), 'kind = "text"', 1),
        (b"HTTP/1.1 200 OK\r\n\r\nHello", 'kind = "text"', 1),
    ],
)
def test_each_kind_of_stream(answer: bytes, stream: str, chunks: int, tmp_path: Path) -> None:
    if b"HTTP/1.1 200 OK\r\n\r\n" in answer:
        answer = answer.replace(b"OK\r\n", b"OK\r\nContent-Length: 5\r\n")
    reply, seen = answered(answer, stream, tmp_path)
    assert (reply.text, seen) == ("Hello", chunks)
    if 'kind = "none"' in stream:
        assert reply.counted_by.startswith("an estimate")
    else:
        assert (reply.counted_by, reply.completion_tokens) == ("chunks, as they came", chunks)


def test_a_cumulative_state_begins_with_an_echo_and_may_start_over(tmp_path: Path) -> None:
    states = [["hello"], ["hello", "Let"], ["hello", "Let me"], ["hello", "Let me", "Hi"], ["hello", "Hi you"]]
    body = chunked(*(sse({"m": state}, name="values")[0] for state in states), *sse({"m": ["no"]}, name="other"))
    reply, chunks = answered(body, 'kind="sse"\nevent="values"\ntext="$.m[-1]"\nmode="cumulative"', tmp_path)
    assert (reply.text, chunks) == ("Hi you", 4)


SIGNS = 'kind = "none"\ntext = "$.t"\nerror = ["$.error", "$.ok=false", "$.s=7"]'


def test_a_sign_of_an_error_with_a_value_is_that_value_alone(tmp_path: Path) -> None:
    for told in ({"ok": True}, {"ok": "no", "s": 8}, {"ok": None, "s": [7]}, {"error": None}):
        reply, _ = answered(whole("200 OK", {"t": "Hello", **told}), SIGNS, tmp_path)
        assert reply.text == "Hello"


def test_a_request_may_be_a_form(tmp_path: Path) -> None:
    async def go() -> Asked:
        async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(whole("200 OK", {"t": "Hello"}))

        async with serving(answer) as server:
            form = 'path = "/chat"\nform = { message = "{message}", n = 2, deep = true, of = "{user_id}" }'
            text = f'base = "{server.url}"\n[request]\n{form}\n[stream]\nkind = "none"\ntext = "$.t"\n'
            (tmp_path / "t.toml").write_text(text, encoding="utf-8")
            target = TemplateTarget(load_template(str(tmp_path / "t.toml")))
            try:
                await target.send(a_request("a & b = ü"), a_row()[0])
            finally:
                await target.close()
            return server.asked[0]

    asked = asyncio.run(go())
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(asked.body.decode()) == [("message", "a & b = ü"), ("n", "2"), ("deep", "true"), ("of", "u1")]
    for body, says in (
        ('json = {}\nform = { a = "b" }', "a request has one body"),
        ('form = { a = ["b"] }', "'a' is a table or a list"),
        ('form = { a = "{nobody}" }', "nobody"),
    ):
        text = f'base = "http://h"\n[request]\npath = "/chat"\n{body}\n[stream]\nkind = "none"\n'
        (tmp_path / "t.toml").write_text(text, encoding="utf-8")
        with pytest.raises(UsageError) as caught:
            load_template(str(tmp_path / "t.toml"))
        assert says in str(caught.value)


def test_usage_under_any_name(tmp_path: Path) -> None:
    told = {"text": "Hi", "u": {"input_tokens": 9, "output_tokens": 2, "input_token_details": {"cache_read": 4}}}
    reply, _ = answered(whole("200 OK", told), 'kind="none"\ntext="$.text"\nusage="$.u"', tmp_path)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens, reply.counted_by) == (9, 2, 4, "usage")


@pytest.mark.parametrize(
    ("answer", "stream", "kind", "says"),
    [
        (whole("200 OK", {"error": {"message": "no credit"}}), 'kind="none"\nerror="$.error"', "target", "no credit"),
        (whole("200 OK", {"t": "x", "ok": False, "msg": "no credit"}), SIGNS, "target", "no credit"),
        (whole("200 OK", {"t": "x", "ok": True, "s": 7}), SIGNS, "target", "7"),
        (chunked(*sse({"msg": "no credit"}, name="error")), 'kind="sse"\ntext="$.d"', "target", "no credit"),
        (lines({"d": "a"}, {"err": "no credit"}), 'kind="ndjson"\ntext="$.d"\nerror="$.err"', "target", "no credit"),
        (lines({"d": "a"}), 'kind="ndjson"\ntext="$.d"\ndone="$.end"', "incomplete", "without saying"),
        (whole("200 OK", {"answer": "x"}), 'kind="none"\ntext="$.reply"', "malformed", "no text at $.reply"),
        (lines({"answer": "x"}), 'kind="ndjson"\ntext="$.d"', "malformed", "no text at $.d"),
        (whole("200 OK", b"<html>"), 'kind="none"\ntext="$.d"', "malformed", "not JSON"),
        (whole("404 Not Found", {"detail": "Not Found"}), 'kind="none"', "http_4xx", "POST /chat: 404 Not Found"),
    ],
)
def test_what_goes_wrong_is_named(answer: bytes, stream: str, kind: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        answered(answer, stream, tmp_path)
    assert (caught.value.kind, says in str(caught.value)) == (kind, True), str(caught.value)


SETUP = """
base = "{url}/api"
[[setup]]
per = "run"
request = {{ path = "/login", json = {{ who = "perfsuite" }} }}
capture = {{ token = "$.token" }}
[[setup]]
per = "user"
request = {{ path = "/users/{{user_id}}", json = {{ token = "{{token}}" }} }}
[[setup]]
per = "conversation"
request = {{ path = "/threads", json = {{ user = "{{user_id}}" }} }}
capture = {{ thread = "$.ids[-1]" }}
[request]
path = "/threads/{{thread}}?t={{token}}"
json = {{ all = "{{messages}}", text = "> {{message}}", model = "{{model}}" }}
[stream]
kind = "none"
[headers]
Authorization = "Bearer {{env:CHAT_TOKEN}}"
"""


def test_set_up_requests_are_sent_once_and_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_TOKEN", "geheim-geheim")

    async def service(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        if asked.path == "/api/login":
            writer.write(whole("200 OK", {"token": "a/b"}))
        elif asked.path == "/api/threads":
            writer.write(whole("200 OK", {"ids": [1, server_of[0].asked.index(asked)]}))
        else:
            writer.write(whole("200 OK", b"hi", kind="text/plain"))

    server_of: list[Server] = []

    async def go() -> list[Asked]:
        async with serving(service) as server:
            server_of.append(server)
            file = tmp_path / "t.toml"
            file.write_text(SETUP.format(url=server.url))
            target = await open_target(Plan(target=f"template:{file}"), tmp_path)
            messages = [{"role": "user", "content": "x"}]
            requests = [
                Request(message="x", messages=messages, user_id="u/1", conversation_id=f"c{n % 2}") for n in range(6)
            ]
            await asyncio.gather(*(target.send(request, a_row()[0]) for request in requests))
            assert "geheim" not in repr(vars(target)) + repr(target)
            await target.close()
            return server.asked

    asked = asyncio.run(go())
    paths = [one.path for one in asked]
    assert paths.count("/api/login") == 1
    assert paths.count("/api/users/u%2F1") == 1
    assert paths.count("/api/threads") == 2
    sent = [one for one in asked if one.path.startswith("/api/threads/")]
    assert len(sent) == 6
    assert {one.path for one in sent} == {f"/api/threads/{paths.index('/api/threads') + n}?t=a%2Fb" for n in (0, 1)}
    assert sent[0].json == {"all": [{"role": "user", "content": "x"}], "text": "> x", "model": None}
    assert {one.headers["authorization"] for one in asked} == {"Bearer geheim-geheim"}


def test_a_set_up_that_fails_is_a_failure_and_is_tried_again(tmp_path: Path) -> None:
    seen: list[str] = []

    async def service(asked: Asked, writer: asyncio.StreamWriter) -> None:
        seen.append(asked.path)
        if asked.path == "/threads":
            writer.write(whole("200 OK", {"id": None if seen.count("/threads") == 1 else 5}))
        else:
            writer.write(whole("200 OK", b"hi"))

    async def go() -> None:
        async with serving(service) as server:
            table = {
                "base": server.url,
                "setup": [{"request": {"path": "/threads"}, "capture": {"t": "$.id"}}],
                "request": {"path": "/t/{t}"},
                "stream": {"kind": "none"},
            }
            target = TemplateTarget(parse_template(table, "t"))
            with pytest.raises(Failure, match=r"set-up request POST /threads: there is nothing at \$.id"):
                await target.send(a_request(), a_row()[0])
            assert (await target.send(a_request(), a_row()[0])).text == "hi"
            await target.close()

    asyncio.run(go())
    assert seen == ["/threads", "/threads", "/t/5"]


def test_every_mistake_of_a_template_is_named() -> None:
    table = tomllib.loads("""
base = "ftp://x"
bse = 1
[[setup]]
per = "day"
request = { path = "threads", json = { m = "{message}" } }
capture = { message = "$.x", t = "x" }
[request]
method = "POKE"
path = "/{thread}"
json = { a = ["{mesage}"], k = "{env:KEY}" }
[stream]
kind = "ssse"
mode = "app"
text = "$..x"
error = 3
events = "x"
[headers]
Host = "x"
A = 1
""")
    with pytest.raises(UsageError) as caught:
        parse_template(table, "t.toml")
    text = str(caught.value)
    for mistake in (
        "bse", "no address", "per 'day'", "'threads'", "setup[0].request.json.m", "'message' cannot name",
        "capture.t", "'POKE'", "'thread'", "'mesage'", "did you mean message", "[headers] only", "'ssse'", "'app'",
        "'$..x'", "t.toml: stream.error: 3", "did you mean event", "Host is set", "A is not text",
    ):  # fmt: skip
        assert mistake in text, (mistake, text)


def test_templates_that_are_not_there() -> None:
    for target, says in (
        ("template:", "shipped: langgraph"),
        ("template:langraph", "did you mean langgraph"),
        ("template:no/such.toml", "No such file"),
    ):
        with pytest.raises(UsageError, match=says):
            check_target(target)
    with pytest.raises(UsageError, match="request: is missing"):
        parse_template({"base": "http://h"}, "t")


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_TOKEN", raising=False)
    template = parse_template(tomllib.loads(SETUP.format(url="http://h")), "t")
    with pytest.raises(UsageError, match="Authorization needs the variable CHAT_TOKEN"):
        TemplateTarget(template)


def test_langgraph_is_shipped() -> None:
    template = load_template("langgraph")
    assert template.base.url == "http://127.0.0.1:2024"
    assert [setup.per for setup in template.setup] == ["conversation"]


def test_a_project_s_own_file_may_hold_the_template(tmp_path: Path) -> None:
    file = tmp_path / "perfsuite.toml"
    inner = CHAT.format(url="http://h").replace("base", "[template]\nbase", 1)
    inner = inner.replace("[request]", "[template.request]").replace("[stream]", '[template.stream]\nkind = "text"')
    file.write_text(f'target = "template:{file}"\n{inner}')
    plan = configure({}, folder=tmp_path, environment={})
    assert plan.target == f"template:{file}"
    assert load_template(str(file)).request.path == "/chat"


def test_filling() -> None:
    values = {"messages": [{"role": "user"}], "message": 'say "hi"', "model": None, "n": 3}
    form = {"a": "{messages}", "b": "x {message} {n} {other}", "c": ["{model}", 4], "d": '{"raw": {n}}'}
    assert filled(form, values) == {
        "a": [{"role": "user"}], "b": 'x say "hi" 3 {other}', "c": [None, 4], "d": '{"raw": 3}'
    }  # fmt: skip
    assert filled_path("/a/{message}/{n}", values) == "/a/say%20%22hi%22/3"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.a[0]", 1),
        ("$['a'][-2]", 1),
        ('$.a[-1]["b c"]', 7),
        ("$.x.y", MISSING),
        ("$.a.b", MISSING),
        ("$.a[2]", MISSING),
        ("$.a[-3]", MISSING),
    ],
)
def test_paths(path: str, value: object) -> None:
    assert parse_path(path, "x").find({"a": [1, {"b c": 7}]}) == value


@pytest.mark.parametrize("path", ["", "a", "$a", "$.", "$..a", "$[x]", "$.a[", "$.a[*]", 3])
def test_what_is_no_path(path: object) -> None:
    with pytest.raises(UsageError, match=r"t\.toml: text"):
        parse_path(path, "t.toml: text")


def test_what_counts_a_models_tokens_is_made_once() -> None:
    target = TemplateTarget(load_template(shipped()[0]))
    assert target._counter("gpt-4o") is target._counter("gpt-4o")
