"""What the wire driver makes of a target: the same as the asyncio driver, which decodes every event."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfsuite
from perfsuite._core import Events
from perfsuite.configuration import configure
from perfsuite.loadgen import Delivered, LoadSpec, drive, driver
from perfsuite.targets import open_target
from perfsuite.targets.base import Fact, Failure, Reply, Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.target import ChatTarget
from perfsuite.targets.http.template_file import parse_template
from perfsuite.targets.template import TemplateTarget
from served import Answering, Asked, a_request, beside, chunked, delta, serving, sse, whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")

ENDLESS = LoadSpec(duration_s=20.0, concurrency=1, max_requests=3, request_timeout_s=5.0)
USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}
Ended = list[tuple[Reply | None, Failure | None]]


def requests(**more: object) -> Iterator[Request]:
    while True:
        yield a_request("hello", **more)


async def driven(
    target: ChatTarget | TemplateTarget, *, wire: bool = True, spec: LoadSpec = ENDLESS, **more: object
) -> tuple[Delivered, Events, Ended]:
    """A load on the target, which is opened and closed; by the asyncio driver without ``wire``."""
    ended: Ended = []
    events = Events()
    await target.open()
    try:
        by = {"answers": True} if wire else {}
        delivered = await (drive if wire else driver.drive)(
            target, requests(**more), spec, events,
            on_reply=lambda request, reply, failure, row: ended.append((reply, failure)),
            **by,  # type: ignore[arg-type]
        )  # fmt: skip
    finally:
        await target.close()
    assert bool(delivered.wire) is wire
    assert events.in_flight == events.waiting == 0
    return delivered, events, ended


def run(answer: Answering, make: object, **more: object) -> list[tuple[Delivered, Events, Ended]]:
    """The load by the wire and by asyncio, each at a service that answers so; ``make(url)`` makes the target."""

    async def go() -> list[tuple[Delivered, Events, Ended]]:
        found = []
        for wire in (True, False):
            async with serving(answer) as server:
                found.append(await driven(make(server.url), wire=wire, **more))  # type: ignore[operator, arg-type]
        return found

    return asyncio.run(asyncio.wait_for(go(), 60))


def chat(url: str, key: Secret | None = None) -> ChatTarget:
    return ChatTarget("openai", parse_address(url, "a test"), key, {"m1": parse_address(url, "a test")})


def a_template(url: str, stream: str) -> TemplateTarget:
    import tomllib

    table = tomllib.loads(f'base = "{url}"\n[request]\npath = "/chat"\njson = {{ text = "{{message}}" }}\n{stream}')
    return TemplateTarget(parse_template(table, "a test"))


def always(body: bytes) -> Answering:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(whole("200 OK", {"data": [{"id": "m1"}]}) if asked.method == "GET" else body)

    return answer


def gist(found: tuple[Delivered, Events, Ended]) -> object:
    """What both drivers must agree on."""
    _, events, ended = found
    replies = [(r.text, r.model, r.prompt_tokens, r.completion_tokens, r.cached_tokens) for r, _ in ended if r]
    return replies, [f.kind for _, f in ended if f], events.chunks, events.completed, events.errors


TOOL = {"choices": [{"delta": {"tool_calls": [{"function": {"name": "look", "arguments": '{"a":1}'}}]}}]}
REASONED = {"choices": [{"delta": {"reasoning_content": "hm", "content": None}}]}
HALVES = ("\\ud83d", "\\ude00")
"""One character in the escapes of two events, as some services send it."""
ENDS = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
DOCUMENT = {"choices": [{"message": {"content": "all of it"}, "finish_reason": "stop"}], "usage": USAGE["usage"]}


@pytest.mark.parametrize(
    "answer",
    [
        chunked(*sse(delta("a"), delta("b"), USAGE, "[DONE]")),
        chunked(*sse(delta(None), delta(""), delta("é €"), ENDS, USAGE, "[DONE]")),
        chunked(*sse(REASONED, TOOL, delta("a"), ENDS, USAGE)),
        chunked(b": a comment\n\n", *sse(delta("a"), ENDS, USAGE, "[DONE]")),
        whole("200 OK", DOCUMENT),
        chunked(*sse(delta("a")), end=True),
        chunked(*sse(delta("a"), {"error": {"message": "it broke"}})),
        chunked(*sse(delta("a")), *sse({"message": "it broke"}, name="error")),
        chunked(b"data: {oh no\n\n"),
        chunked(b'data: {"choices":[{"delta":{"content":"no utf-8: \xff\xc3"}}]}\n\n', *sse(ENDS, "[DONE]")),
        chunked(b'data: {"x":"\xff","choices":[{"delta":{"content":"beside"}}]}\n\n', *sse(ENDS, "[DONE]")),
        chunked(*sse(*(f'{{"choices":[{{"delta":{{"content":"{half}"}}}}]}}' for half in HALVES)), *sse("[DONE]")),
        chunked(*sse('{"choices":[{"delta":{"content":"a\ttab"}}]}'), *sse("[DONE]")),
        chunked(b'data: {"choices":[{"delta":{"content":"\xff"}}]\n\n'),
        whole("400 Bad Request", {"error": {"message": "no such thing"}}),
        whole("401 Unauthorized", {"error": {"message": "the key sk-123456 is wrong"}}),
        whole("503 Service Unavailable", b"<html>down</html>", kind="text/html"),
        whole("429 Too Many Requests", {"detail": "slowly"}, "Retry-After: 9"),
        whole("302 Found", b"", "Location: /elsewhere"),
    ],
    ids=lambda answer: answer.split(b"\r\n\r\n")[1][4:34],
)
def test_both_drivers_agree_on_chat(answer: bytes) -> None:
    wire, by_asyncio = run(always(answer), lambda url: chat(url, Secret("sk-123456")))
    assert gist(wire) == gist(by_asyncio)
    assert len(wire[2]) == 3
    for _, failure in wire[2]:
        assert "sk-123456" not in str(failure)
        assert failure is None or "/v1/chat/completions" in str(failure)
    assert list(wire[0].examples) == list(by_asyncio[0].examples)


STREAM = '[stream]\nkind = "sse"\ntext = "$.d.text"\n'
SIGNS = '[stream]\nkind = "none"\ntext = "$.t"\nerror = ["$.error", "$.ok=false", "$.status = error", "$.code=7"]\n'
GROWING = STREAM + 'mode = "cumulative"\n'
STATE = """[stream]
kind = "sse"
event = "v"
text = "$.m[-1].content"
mode = "cumulative"
usage = "$.m[-1].used"
"""
"""As langgraph's: the whole state each time, which begins with what the user said."""


def state(texts: list[str]) -> dict[str, object]:
    return {"m": [{"content": text, "used": {"input_tokens": 3, "output_tokens": len(text)}} for text in texts]}


@pytest.mark.parametrize(
    ("stream", "answer"),
    [
        (STREAM, chunked(*sse({"d": {"text": "a"}}, {"d": {"text": "b"}}))),
        (STREAM, chunked(*sse({"d": {"text": "a"}}, "[DONE]"))),
        (STREAM, chunked(*sse({"elsewhere": "a"}))),
        (
            '[stream]\nkind = "sse"\ntext = "$.c[1].t[0]"\nusage = "$[0]"\n',
            chunked(*sse({"c": [{"t": ["no"]}, {"t": ["a", "no"]}]}, {"c": [{"t": ["no"]}]}, [{"input_tokens": 3}])),
        ),
        (STREAM + 'done = "$.over"\n', chunked(*sse({"d": {"text": "a"}}, {"over": True}))),
        (STREAM + 'done = "$.over"\n', chunked(*sse({"d": {"text": "a"}}, {"over": False}))),
        (STREAM + 'done = "END"\n', chunked(*sse({"d": {"text": "a"}}, "END"))),
        (STREAM + 'done = "$.over"\n', chunked(*sse({"d": {"text": "a"}}, {"over": 0}))),
        (STREAM + 'done = "event:over"\n', chunked(*sse({"d": {"text": "a"}}), *sse("that is all", name="over"))),
        (STREAM + 'done = "event:over"\n', chunked(*sse({"d": {"text": "a"}}), *sse({"d": {"text": "b"}}, name="ove"))),
        (
            STREAM + 'event = "part"\ndone = "event:over"\n',
            chunked(*sse({"d": {"text": "a"}}, name="part"), *sse({}, name="over"), *sse("no", name="error")),
        ),
        (STREAM + 'done = "event:message"\n', chunked(*sse({"d": {"text": "a"}}, name="part"), *sse("over"))),
        (STREAM + 'done = "event:error"\n', chunked(*sse({"d": {"text": "a"}}), *sse("over", name="error"))),
        (STREAM + 'error = "$.err"\n', chunked(*sse({"d": {"text": "a"}}, {"err": "no"}))),
        (SIGNS, whole("200 OK", {"t": "all", "ok": True, "status": "fine"})),
        (SIGNS, whole("200 OK", {"t": "all", "ok": False, "msg": "no credit"})),
        (SIGNS, whole("200 OK", {"t": "all", "status": "error", "detail": "no credit"})),
        (SIGNS, whole("200 OK", {"t": "all", "ok": "no", "status": {"error": 1}})),
        (SIGNS, whole("200 OK", {"t": "all", "code": 7})),
        (STREAM + 'event = "message"\n', chunked(*sse({"d": {"text": "a"}}), *sse({"d": {"text": "b"}}, name="x"))),
        (STREAM + 'event = "part"\n', chunked(*sse("nonsense", name="x"), *sse({"d": {"text": "a"}}, name="part"))),
        (STREAM + 'event = "part"\n', chunked(*sse({"message": "no"}, name="error"))),
        (STREAM, chunked(*sse({"d": {"text": "a"}}), *sse({"message": "no"}, name="error"))),
        (
            STREAM + 'usage = "$.used"\n',
            chunked(*sse({"d": {"text": "a"}}, {"used": {"input_tokens": 5, "eval_count": 4, "prompt_tokens": 6}})),
        ),
        ('[stream]\nkind = "sse"\n', chunked(*sse("some", "words"))),
        ('[stream]\nkind = "sse"\n', chunked(*sse("some"), *sse("no", name="error"))),
        ('[stream]\nkind = "ndjson"\ntext = "$.t"\n', chunked(b'{"t":"a"}\n{"t":"b"}\n', kind="application/x-ndjson")),
        ('[stream]\nkind = "none"\ntext = "$.t"\n', whole("200 OK", {"t": "all"})),
        ('[stream]\nkind = "none"\ntext = "$.t"\n', whole("200 OK", {"t": ""})),
        ('[stream]\nkind = "none"\n', whole("200 OK", b"just words", kind="text/plain")),
        ('[stream]\nkind = "none"\n', whole("200 OK", b"", kind="text/plain")),
        ('[stream]\nkind = "text"\n', whole("200 OK", b"just words", kind="text/plain")),
        (GROWING, chunked(*sse({"d": {"text": "a"}}, {"d": {"text": "a"}}, {"d": {"text": "ab"}}, {"d": {}}))),
        (GROWING, chunked(*sse({"d": {"text": "hello"}}, {"d": {"text": "a"}}, {"d": {"text": "hello"}}))),
        (GROWING, chunked(*sse('{"d": {"text": "hell\\u006f"}}', '{"d": {"text": ""}}', '{"d": {"text": "hello a"}}'))),
        (GROWING, chunked(*sse({"d": {"text": "a long one, to begin with"}}, {"d": {"text": "b"}}))),
        (GROWING, chunked(*sse({"d": {"text": "hello"}}))),
        (STATE, chunked(*sse(*map(state, [["hello"], ["hello", "a"], ["hello", "a"], ["hello", "ab"]]), name="v"))),
        (STATE, chunked(*sse(state(["no"]), name="x"), *sse(state(["a", "b"]), {"m": []}, name="v"))),
        ('[stream]\nkind = "sse"\nmode = "cumulative"\n', chunked(*sse("hello", "some", "some", "some words"))),
        ('[stream]\nkind = "ndjson"\ntext = "$.t"\nmode = "cumulative"\n', whole("200 OK", b'{"t":"a"}\n{"t":"ab"}')),
        ('[stream]\nkind = "none"\ntext = "$.t[-1]"\nmode = "cumulative"\n', whole("200 OK", {"t": ["x", "all"]})),
        ('[stream]\nkind = "text"\nmode = "cumulative"\n', whole("200 OK", b"hello", kind="text/plain")),
    ],
)
def test_both_drivers_agree_on_templates(stream: str, answer: bytes) -> None:
    wire, by_asyncio = run(always(answer), lambda url: a_template(url, stream))
    assert gist(wire) == gist(by_asyncio)
    assert len(wire[2]) == 3


REPORTS = 'error = "$.error"\n'


@pytest.mark.parametrize(
    ("value", "failed"),
    [
        *((value, False) for value in ("null", "false", "0", "0.0", "-0", "0e3", '""', "{}", "[]")),
        *((value, True) for value in ("true", "1", "-1", "0.5", "1e-3", '"no"', '"0"', '{"code":0}', "[0]")),
    ],
)
def test_both_drivers_agree_on_what_is_an_error(value: str, failed: bool) -> None:
    """Services say "no error" in many ways."""
    choices = json.dumps(DOCUMENT)[:-1]
    bodies = {
        chat: whole("200 OK", f'{choices},"error":{value}}}'.encode()),
        **{
            (lambda url, text=text: a_template(url, text)): answer
            for text, answer in (
                (
                    '[stream]\nkind = "none"\ntext = "$.t"\n' + REPORTS,
                    whole("200 OK", f'{{"t":"all","error":{value}}}'.encode()),
                ),
                (STREAM + REPORTS, chunked(*sse(f'{{"d":{{"text":"a"}},"error":{value}}}'))),
            )
        },
    }
    for make, body in bodies.items():
        wire, by_asyncio = run(always(body), make)
        assert gist(wire) == gist(by_asyncio)
        assert wire[1].errors == ({"target": 3} if failed else {})


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        ('[stream]\nkind = "sse"\ntext = "$.messages[-2].content"\n', "a place from a list's end"),
        ('[stream]\nkind = "sse"\ntext = "$[\\"a.b\\"]"\n', "'a.b'"),
        ('[stream]\nkind = "sse"\nusage = "$.u"\n', "anywhere in it"),
        ('[stream]\nkind = "ndjson"\ntext = "$"\n', "the document itself"),
    ],
)
def test_what_no_rule_can_say_is_left_to_asyncio_and_the_result_says_why(stream: str, why: str) -> None:
    target = a_template("http://127.0.0.1:1", stream)
    assert target.endpoints() == ()
    assert why in target.stamps
    assert "asyncio" in target.transport
    wired = a_template("http://127.0.0.1:1", STREAM)
    assert (len(wired.endpoints()), "kernel" in wired.stamps, "kernel" in wired.transport) == (1, True, True)


def test_what_is_no_plain_http_is_left_to_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    pytest.importorskip("httpx")
    assert "proxy" in a_template("http://service.example", STREAM).stamps
    assert a_template("http://127.0.0.1:1", STREAM).endpoints() != ()


def test_what_a_service_refuses_is_found_out_before_the_load() -> None:
    """It wants neither stream_options nor max_tokens: both are left out of every request of the load."""
    bodies = []

    async def picky(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": [{"id": "m1"}]}))
            return
        body = json.loads(asked.body)
        bodies.append(body)
        refused = next((name for name in ("stream_options", "max_tokens") if name in body), None)
        words = {"stream_options": "unknown field stream_options", "max_tokens": "use max_completion_tokens instead"}
        if refused is not None:
            writer.write(whole("400 Bad Request", {"error": {"message": words[refused]}}))
        else:
            writer.write(chunked(*sse(delta("a"), delta("b"), "[DONE]")))

    async def go() -> tuple[Delivered, Events, Ended]:
        async with serving(picky) as server:
            return await driven(chat(server.url), spec=LoadSpec(duration_s=20, concurrency=4, max_requests=12),
                                max_tokens=9)  # fmt: skip

    delivered, events, _ = asyncio.run(go())
    assert (delivered.completed, events.failed) == (12, 0)
    assert len(bodies) == 12 + 3, "three tries of one message each, and then the load"
    assert [body["max_completion_tokens"] for body in bodies[3:]] == [9] * 12
    assert events.chunks == 24


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (whole("200 OK", b"<html><body>Welcome</body></html>", kind="text/html"), "is it a chat that answers there?"),
        (whole("307 Moved", b"", "Location: /v2"), "redirects to"),
    ],
)
def test_what_is_no_chat_is_named_whoever_reads_it(answer: bytes, says: str) -> None:
    async def service(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer if asked.method == "POST" else whole("200 OK", {"data": [{"id": "m1"}]}))

    for delivered, _, _ in run(service, chat):
        (texts,) = delivered.examples.values()
        assert says in texts[0]


def test_a_service_that_changes_its_mind_is_met_from_then_on() -> None:
    seen = 0

    async def picky(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": [{"id": "m1"}]}))
            return
        seen += 1
        if seen > 1 and "stream_options" in json.loads(asked.body):
            writer.write(whole("400 Bad Request", {"error": {"message": "unknown field stream_options"}}))
        else:
            writer.write(chunked(*sse(delta("a"), "[DONE]")))

    async def go() -> tuple[Delivered, Events, Ended]:
        async with serving(picky) as server:
            return await driven(chat(server.url), spec=LoadSpec(duration_s=20, concurrency=1, max_requests=8))

    _, events, ended = asyncio.run(go())
    assert [failure is not None for _, failure in ended] == [True] + [False] * 7
    assert events.errors == {"http_4xx": 1}


def test_a_template_s_set_up_is_done_first_and_once_for_each_conversation() -> None:
    asked_of: list[tuple[str, str]] = []

    async def service(asked: Asked, writer: asyncio.StreamWriter) -> None:
        asked_of.append((asked.path, asked.headers.get("x-run", "")))
        if asked.path == "/threads":
            await asyncio.sleep(0.05)
            writer.write(whole("200 OK", {"id": f"t{len(asked_of)}"}))
        else:
            writer.write(chunked(*sse({"text": "yes"})))

    table = """
        base = "{url}"
        [[setup]]
        per = "conversation"
        request = {{ path = "/threads" }}
        capture = {{ thread = "$.id" }}
        [request]
        path = "/threads/{{thread}}/runs"
        json = {{ text = "{{message}}" }}
        [stream]
        kind = "sse"
        text = "$.text"
    """

    async def go() -> tuple[Delivered, Events, Ended]:
        import tomllib

        async with serving(service) as server:
            target = TemplateTarget(parse_template(tomllib.loads(table.format(url=server.url)), "threads"))
            return await driven(
                target, spec=LoadSpec(duration_s=20, concurrency=4, max_requests=12), headers=(("X-Run", "7"),)
            )

    delivered, events, _ = asyncio.run(go())
    assert (delivered.completed, events.failed, delivered.max_in_flight) == (12, 0, 4)
    assert [path for path, _ in asked_of].count("/threads") == 1
    assert [pair for pair in asked_of if pair[0] == "/threads/t1/runs"] == [("/threads/t1/runs", "7")] * 12
    assert delivered.rate > 0


def test_a_set_up_that_fails_is_a_failed_request() -> None:
    async def service(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(whole("500 Internal Server Error", {"detail": "no threads today"}))

    stream = '[[setup]]\nper = "run"\nrequest = { path = "/threads" }\n' + STREAM
    wire, by_asyncio = run(service, lambda url: a_template(url, stream))
    assert gist(wire) == gist(by_asyncio)
    assert wire[1].errors == {"http_5xx": 3}
    assert "no threads today" in wire[0].examples["http_5xx"][0]


def test_a_header_that_would_be_two_fails_its_request_and_the_run_goes_on() -> None:
    wire, by_asyncio = run(always(chunked(*sse(delta("a"), "[DONE]"))), chat, headers=(("X-Bad", "a\r\nX-Two: b"),))
    assert gist(wire) == gist(by_asyncio)
    assert wire[1].errors == {"target": 3}


def test_text_is_kept_only_where_somebody_needs_it() -> None:
    fact = Fact(key="k", value="a", statement="", question="", turn=0)

    async def go(**more: object) -> list[str]:
        texts: list[str] = []
        async with serving(always(chunked(*sse(delta("a"), USAGE, "[DONE]")))) as server:
            target = chat(server.url)
            await target.open()
            try:
                await drive(
                    target, requests(**more), ENDLESS, Events(),
                    on_reply=lambda request, reply, failure, row: texts.append(reply.text if reply else "none"),
                )  # fmt: skip
            finally:
                await target.close()
        return texts

    assert asyncio.run(go()) == [""] * 3
    assert asyncio.run(go(expects=fact)) == ["a"] * 3


def test_the_plan_s_target_is_wired(tmp_path: Path) -> None:
    async def go() -> tuple[str, str]:
        async with serving(always(b"")) as server:
            plan = configure({"target": server.url}, folder=tmp_path, environment={})
            target = await open_target(plan, tmp_path)
            await target.close()
            await target.open()
            try:
                return target.stamps, str(target.transport)  # type: ignore[attr-defined]
            finally:
                await target.close()

    stamps, transport = asyncio.run(go())
    assert "kernel" in stamps
    assert "kernel" in transport


def test_what_a_service_is_sent_to_find_out_what_it_takes_is_within_the_limit() -> None:
    def service(asked: Asked) -> bytes:
        if asked.method == "GET":
            known = {"/v1/models": {"data": [{"id": "m1"}]}, "/api/tags": {"models": [{"name": "m1"}]}}
            return whole("200 OK", known[asked.path]) if asked.path in known else b""
        if asked.path == "/api/chat":
            return chunked(b'{"message":{"content":"a"}}\n{"done":true}\n', kind="application/x-ndjson")
        return chunked(*sse(delta("a"), "[DONE]"))

    for prefix, finding_out in (("", 1), ("ollama+", 0)):  # Ollama's has nothing that could be left out
        with beside(service) as server:
            result = perfsuite.run("baseline", target=f"{prefix}{server.url}", max_requests=12, duration="60s")
            posts = [one for one in server.asked if one.method == "POST"]
        sent = result.phases[0].delivered
        assert len(posts) == 12
        assert sent["requests"] + sent["warmup"] == 12 - finding_out
