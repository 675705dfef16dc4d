"""A chat target against servers that behave, and that do not."""

from __future__ import annotations

import asyncio
import pickle
import socket
from pathlib import Path

import pytest

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.plan import ModelChoice, Plan
from perfsuite.targets import check_target, open_target
from perfsuite.targets.base import Failure, Reply
from perfsuite.targets.http.client import Call
from perfsuite.targets.http.failures import HttpFailure
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.target import ChatTarget
from served import Asked, a_request, a_row, chunked, delta, serving, sse, whole

KEY = "sk-a-key-that-nobody-may-see"
STREAM = [
    *sse({"choices": [{"delta": {"role": "assistant", "content": None}}]}, delta("Hel"), delta("lo")),
    *sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}),
    *sse({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2,
                                   "prompt_tokens_details": {"cached_tokens": 3}}}, "[DONE]"),
]  # fmt: skip


async def target_at(url: str, **plan: object) -> ChatTarget:
    plan.setdefault("models", (ModelChoice(name="m1"),))
    target = await open_target(Plan(target=url, **plan), Path("/nowhere"))  # type: ignore[arg-type]
    assert isinstance(target, ChatTarget)
    return target


def models_or(answer: bytes, *, close: bool = False) -> object:
    async def answering(asked: Asked, writer: asyncio.StreamWriter) -> object:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": [{"id": "m1"}, {"id": "text-embed"}, {"id": "m2"}]}))
            return None
        writer.write(answer)
        await writer.drain()
        return False if close else None

    return answering


def sent_to(answer: bytes, *, close: bool = False, **plan: object) -> Reply:
    async def go() -> Reply:
        async with serving(models_or(answer, close=close)) as server:  # type: ignore[arg-type]
            target = await target_at(server.url, **plan)
            try:
                row, _ = a_row()
                return await target.send(a_request(), row)
            finally:
                await target.close()

    return asyncio.run(asyncio.wait_for(go(), 10))


def failed(answer: bytes, *, close: bool = False) -> Failure:
    with pytest.raises(Failure) as caught:
        sent_to(answer, close=close)
    return caught.value


def test_a_stream_becomes_tokens_and_a_reply() -> None:
    async def go() -> None:
        async with serving(models_or(chunked(*STREAM))) as server:  # type: ignore[arg-type]
            target = await target_at(f"{server.url}/v1", models=())
            assert target.models == ("m1", "m2")  # what embeds is no chat model
            row, events = a_row()
            reply = await target.send(a_request(max_tokens=9), row)
            row.end(0)
            assert (reply.text, reply.model, reply.counted_by) == ("Hello", "m1", "usage")
            assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (7, 2, 3)
            assert events.chunks == 2  # neither the role nor the usage is a token
            for _ in range(3):
                await target.send(a_request(), a_row()[0])
            assert server.connections == 1
            asked = server.asked[1]
            assert asked.path == "/v1/chat/completions"
            body = asked.json
            assert isinstance(body, dict)
            assert body["stream_options"] == {"include_usage": True}
            assert body["max_tokens"] == 9
            assert body["messages"][-1] == {"role": "user", "content": "hello"}
            assert len(target.process_ids) == 1
            await target.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("answer", "close", "kind", "says"),
    [
        (whole("404 Not Found", {"detail": "Not Found"}), False, "http_4xx", "404 Not Found: Not Found"),
        (whole("400 Bad", {"error": {"message": "no such model"}}), False, "http_4xx", "no such model"),
        (whole("429 Slow", {"error": "busy"}, "Retry-After: 3"), False, "http_429", "busy (Retry-After: 3)"),
        (whole("503 Down", b"x" * 9000, kind="text/plain"), False, "http_5xx", "503 Service Unavailable: xxx"),
        (whole("307 Moved", b"", "Location: /v2"), False, "protocol", "redirects to /v2"),
        (whole("200 OK", b"", "Content-Encoding: gzip"), False, "protocol", "gzip"),
        (chunked(*STREAM[:3], end=False), True, "incomplete", "cut short"),
        (chunked(*STREAM[:3]), False, "incomplete", "after 2 chunks without saying"),
        (chunked(*sse("{broken")), False, "malformed", "is not JSON"),
        (chunked(*sse({"answer": "hi"})), False, "malformed", "neither `choices`"),
        (chunked(*sse(delta(17))), False, "malformed", "$.choices[0].delta.content"),
        (chunked(*sse({"error": {"message": "out of memory"}})), False, "target", "out of memory"),
        (chunked(*sse(delta("x" * (5 << 20)))), False, "too_large", "larger than"),
        (whole("200 OK", {"answer": "hi"}), False, "malformed", "neither `choices`"),
        (b"SSH-2.0-OpenSSH_9\r\n", True, "protocol", "right port"),
    ],
)
def test_each_failure_has_its_kind(answer: bytes, close: bool, kind: str, says: str) -> None:
    failure = failed(answer, close=close)
    assert (failure.kind, says in str(failure)) == (kind, True), str(failure)
    assert len(str(failure)) < 500


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    failure = failed(whole("429 Slow", b"", "Retry-After: 3"))
    assert isinstance(failure, HttpFailure)
    assert failure.retry_after == "3"


@pytest.mark.parametrize("end", [STREAM[3:4], STREAM[5:]])
def test_a_finish_reason_or_done_is_an_end(end: list[bytes]) -> None:
    reply = sent_to(chunked(*STREAM[:3], *end))
    assert (reply.text, reply.completion_tokens) == ("Hello", 2)
    assert reply.counted_by == "chunks, as they came"


def test_an_answer_that_was_not_streamed() -> None:
    body = {"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 4, "completion_tokens": 1}}
    reply = sent_to(whole("200 OK", body))
    assert (reply.text, reply.prompt_tokens) == ("Hi", 4)


def test_a_refusal_of_stream_options_is_met_without_them() -> None:
    async def picky(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if b"stream_options" in asked.body:
            writer.write(whole("422 No", {"detail": "stream_options: extra fields not permitted"}))
        else:
            writer.write(chunked(*STREAM))

    async def go() -> None:
        async with serving(picky) as server:
            target = ChatTarget("openai", (await target_at(server.url)).address, None)
            await target_open_quietly(target)
            for _ in range(2):
                assert (await target.send(a_request(), a_row()[0])).text == "Hello"
            assert [b"stream_options" in one.body for one in server.asked if one.method == "POST"] == [1, 0, 0]
            await target.close()

    async def target_open_quietly(target: ChatTarget) -> None:
        target._models = {"m1": target.address}
        await target.open()

    asyncio.run(go())


def test_a_kept_connection_that_was_closed_is_tried_again_once_and_counted() -> None:
    """The server answers, says that it keeps the connection, and closes it when the next request comes."""
    posts: list[int] = []

    async def closing(asked: Asked, writer: asyncio.StreamWriter) -> object:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": [{"id": "m1"}]}))
            return None
        posts.append(1)
        if len(posts) == 2:
            return False
        writer.write(chunked(*STREAM))
        return None

    async def go() -> None:
        async with serving(closing) as server:
            target = await target_at(server.url)
            for _ in range(2):
                assert (await target.send(a_request(), a_row()[0])).text == "Hello"
            assert target.retried == 1
            assert server.connections == 2
            await target.close()

    asyncio.run(go())


def test_a_new_connection_that_is_closed_is_a_failure_and_is_not_tried_again() -> None:
    async def closing(asked: Asked, writer: asyncio.StreamWriter) -> object:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": []}, "Connection: close"))
        return False

    async def go() -> None:
        async with serving(closing) as server:
            target = await target_at(server.url)
            with pytest.raises(Failure) as caught:
                await target.send(a_request(), a_row()[0])
            assert caught.value.kind == "closed"
            assert [one.method for one in server.asked] == ["GET", "POST"]
            assert target.retried == 0
            await target.close()

    asyncio.run(go())


def test_a_reset_has_its_kind() -> None:
    async def resetting(asked: Asked, writer: asyncio.StreamWriter) -> object:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": []}, "Connection: close"))
            return False
        wire = writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        return False

    async def go() -> None:
        async with serving(resetting) as server:
            target = await target_at(server.url)
            with pytest.raises(Failure) as caught:
                await target.send(a_request(), a_row()[0])
            assert caught.value.kind == "reset"
            await target.close()

    asyncio.run(go())


def test_nobody_there_and_no_such_name() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(PerfsuiteError, match=r"refused.*start the service") as caught:
            asyncio.run(target_at(url))
        assert caught.value.exit_code == 1
    with pytest.raises(PerfsuiteError, match="host name"):
        asyncio.run(target_at("http://nowhere.invalid"))


def test_a_cancelled_request_leaves_no_connection_behind() -> None:
    async def slow(asked: Asked, writer: asyncio.StreamWriter) -> object:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": []}))
            return None
        writer.write(chunked(STREAM[1], end=False))
        await asyncio.sleep(30)
        return None

    async def go() -> None:
        async with serving(slow) as server:
            target = await target_at(server.url)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await target.send(a_request(), a_row()[0])
            client = target._served[target.address].client
            assert client._idle == []  # type: ignore[attr-defined]
            await target.close()

    asyncio.run(go())


def test_a_key_reaches_the_service_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", KEY)

    async def refusing(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": [{"id": "m1"}]}))
        else:
            said = asked.headers["authorization"]
            writer.write(whole("401 No", {"error": {"message": f"the key {said} is wrong"}}))

    async def go() -> tuple[ChatTarget, HttpFailure]:
        async with serving(refusing) as server:
            target = await target_at(server.url, api_key_env="SHOP_KEY")
            with pytest.raises(HttpFailure) as caught:
                await target.send(a_request(), a_row()[0])
            assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
            call = target._served[target.address].dialect.call(a_request(), "m1")
            assert KEY not in repr(call)
            assert KEY not in repr(target._served[target.address].dialect)
            await target.close()
            return target, caught.value

    target, failure = asyncio.run(go())
    assert KEY not in str(failure) + failure.message + repr(failure) + repr(vars(target))
    assert "•••" in str(failure)


def test_a_secret_hides_itself() -> None:
    secret = Secret(KEY)
    assert KEY not in f"{secret} {secret!r} {secret:>40} {[secret]}"
    assert secret.reveal() == KEY
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert KEY not in repr(Call("GET", "/", (("Authorization", f"Bearer {KEY}"),)))


def test_a_refused_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async def go(status: str) -> None:
        async def refusing(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(whole(status, {"detail": "no"}))

        async with serving(refusing) as server:
            await target_at(server.url, models=())

    with pytest.raises(UsageError, match="put its key in OPENAI_API_KEY"):
        asyncio.run(go("401 No"))
    with pytest.raises(UsageError, match="name one with --model"):
        asyncio.run(go("404 Not Found"))
    with pytest.raises(UsageError, match="--api-key-env NOT_THERE"):
        asyncio.run(target_at("http://127.0.0.1:1", api_key_env="NOT_THERE"))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("http://u:geheim@h", "ends up in files"),
        ("http://", "no address"),
        ("http://h?key=geheim", "no \\? or #"),
        ("ollama+ftp://h", "no address"),
        ("ollama:x", "ollama\\+http://HOST"),
        ("http://h:99999", "not a URL"),
        ("http://h:0", "port 0"),
    ],
)
def test_a_wrong_address_is_named_before_anything_is_opened(target: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        check_target(target)
    assert "geheim" not in str(caught.value)
