"""The realtime target against ``serve``: what it hears, keeps and calls failures."""

from __future__ import annotations

import asyncio
import builtins
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from perfsuite._core import Events, Row
from perfsuite.errors import MissingExtra, PerfsuiteError, UsageError
from perfsuite.plan import Plan
from perfsuite.serve.server import Server
from perfsuite.targets import check_target, open_target
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.realtime.target import RealtimeTarget, split_target
from serving import Client, serving, truth

GIVE_UP_S = 60.0
HELLO = [{"role": "user", "content": "hello"}]


def address_of(server: Server) -> Any:
    return split_target("realtime+" + server.url.replace("http", "ws", 1))


def request(*texts: str, conversation: str = "c", user: str = "u", **more: Any) -> Request:
    """A conversation of user and assistant in turn, whose last message is new."""
    roles = ("user", "assistant")
    messages = [{"role": roles[index % 2], "content": text} for index, text in enumerate(texts)]
    return Request(message=texts[-1], messages=messages, user_id=user, conversation_id=conversation, **more)


async def ask(target: RealtimeTarget, asked: Request, row: Row | None = None) -> Reply:
    row = row or Events().begin(time.monotonic_ns())
    try:
        async with asyncio.timeout(GIVE_UP_S):
            return await target.send(asked, row)
    finally:
        row.end()


Talk = Callable[[RealtimeTarget, Server], Awaitable[Any]]


def talk(do: Talk, *, target: dict[str, Any] | None = None, **options: Any) -> Any:
    """What ``do`` makes of a target that is open on a server."""

    async def run() -> Any:
        async with serving(**options) as server:
            one = RealtimeTarget(address_of(server), **(target or {}))
            await one.open()
            try:
                return await do(one, server)
            finally:
                await one.close()

    return asyncio.run(run())


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("modality", ["audio", "text"])
@pytest.mark.parametrize("engine", ["paced", "reference"])
def test_an_answer(engine: str, modality: str) -> None:
    async def do(target: RealtimeTarget, server: Server) -> tuple[Reply, int]:
        row = Events().begin(time.monotonic_ns())
        return await ask(target, request("hello"), row), row.tokens

    more: dict[str, Any] = {} if engine == "paced" else {"models": ()}
    reply, tokens = talk(do, target={"modality": modality}, engine=engine, **more)
    assert reply.text
    assert tokens == reply.completion_tokens == 10, "deltas of one kind are counted, not what is heard and read"
    assert reply.prompt_tokens is not None
    assert reply.counted_by == "usage"
    assert reply.ended_ns is not None
    spoken = modality == "audio"
    assert str(reply.extra["response"]).startswith("resp_")
    assert reply.extra.items() >= {"audio_bytes": 9600 * spoken, "audio_chunks": 10 * spoken}.items()
    assert set(reply.times) == {"session"} | ({"first_audio", "longest_audio_gap"} if spoken else set())
    assert all(ms >= 0 for ms in reply.times.values())


def test_it_names_the_model_of_its_session_and_what_its_stamps_are() -> None:
    async def do(target: RealtimeTarget, server: Server) -> None:
        assert target.models == ("quick",)
        assert target.schemes == ["ws"]
        assert target.driver == "asyncio"
        assert "stamped in the read callback" in target.stamps
        assert "first delta" in target.stamps
        assert target.endpoints() == ()
        [pages] = target.metrics_pages
        assert {page.url for page in pages} == {server.url + "/metrics"}

    talk(do)


def test_an_answer_is_no_longer_than_asked() -> None:
    async def do(target: RealtimeTarget, server: Server) -> Reply:
        return await ask(target, request("hello", max_tokens=3))

    assert talk(do).completion_tokens == 3


def test_a_conversation_has_one_connection_and_what_was_said_is_not_said_again() -> None:
    async def do(target: RealtimeTarget, server: Server) -> list[Reply]:
        first = await ask(target, request("hello"))
        second = await ask(target, request("hello", "what the workload has in its place", "and more"))
        assert server.connections == 1
        async with Client(server) as client:
            assert len({row["id"] for row in await truth(client)}) == 2
        return [first, second]

    first, second = talk(do)
    assert "session" in first.times
    assert "session" not in second.times
    # The answer is in the prompt as the service gave it, and the first message once.
    assert second.prompt_tokens > first.prompt_tokens + first.completion_tokens
    assert second.cached_tokens >= first.prompt_tokens - 4, "it begins like the prompt before it"


def test_another_conversation_of_the_user_closes_the_one_that_is_left() -> None:
    async def do(target: RealtimeTarget, server: Server) -> None:
        for number in range(5):
            await ask(target, request("hello", conversation=f"c{number}"))
        await until(lambda: server.connections == 1)
        await ask(target, request("hello", conversation="other", user="v"))
        assert server.connections == 2

    talk(do)


def test_a_conversation_that_goes_on_otherwise_is_said_anew() -> None:
    async def do(target: RealtimeTarget, server: Server) -> None:
        await ask(target, request("hello"))
        again = await ask(target, request("quite another beginning", "a", "b"))
        assert "session" in again.times
        assert target.reconnected == 1
        await until(lambda: server.connections == 1)

    talk(do)


def test_a_lost_connection_is_made_again_with_what_was_said() -> None:
    async def do(target: RealtimeTarget, server: Server) -> tuple[Reply, Reply]:
        first = await ask(target, request("hello", headers=(("x-perfsuite-fault", "close_keepalive"),)))
        await until(lambda: server.connections == 0)
        later = request("hello", first.text, "and more", headers=(("x-perfsuite-fault", "close_keepalive"),))
        return first, await ask(target, later)

    first, second = talk(do)
    assert second.prompt_tokens > first.prompt_tokens + first.completion_tokens


def test_two_messages_of_one_conversation_at_once_have_a_connection_each() -> None:
    async def do(target: RealtimeTarget, server: Server) -> None:
        replies = await asyncio.gather(*(ask(target, request("hello")) for _ in range(4)))
        assert [reply.completion_tokens for reply in replies] == [10] * 4
        await until(lambda: server.connections == 1)

    talk(do)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(GIVE_UP_S):
        while not true():  # noqa: ASYNC110 - another task's doing, in this loop
            await asyncio.sleep(0.001)


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────────

FAULTS = [
    ("cut@0", "closed", "without an answer"),
    ("cut@3", "incomplete", "after 6 deltas"),
    ("reset@0", "reset", "reset"),
    ("reset@3", "reset", "reset"),
    ("no_done", "incomplete", r"said goodbye \(1000\) after 20 deltas"),
    ("garbage", "protocol", "no WebSocket frame"),
    ("bad_json@2", "malformed", "not JSON"),
    ("error_in_200@2", "target", "asked to fail in mid-stream"),
    ("big=10MB@2", "too_large", "larger than 8 MiB"),
    ("429=2", "http_429", "Retry-After: 2"),
    ("401=go away", "http_4xx", "go away"),
    ("503=busy", "http_5xx", "503 Service Unavailable: busy"),
]


@pytest.mark.parametrize(("fault", "kind", "says"), FAULTS)
def test_a_fault_has_its_kind(fault: str, kind: str, says: str) -> None:
    async def do(target: RealtimeTarget, server: Server) -> None:
        with pytest.raises(Failure, match=says) as caught:
            await ask(target, request("hello", headers=(("x-perfsuite-fault", fault),)))
        assert caught.value.kind == kind
        assert (await ask(target, request("hello"))).completion_tokens == 10, "the next is well"

    talk(do)


@pytest.mark.parametrize("fault", ["", "stall=30@4", "partial_utf8@3", "big=100kB@3", "close_keepalive", "grow"])
def test_what_is_no_failure(fault: str) -> None:
    async def do(target: RealtimeTarget, server: Server) -> Reply:
        return await ask(target, request("hello", headers=(("x-perfsuite-fault", fault),)))

    reply = talk(do)
    assert reply.completion_tokens == 10
    if fault == "partial_utf8@3":
        assert "é" in reply.text
    if fault == "grow":
        assert reply.extra["audio_bytes"] == 960 * sum(range(1, 11))


@pytest.mark.parametrize("fault", ["silence", "never_end"])
def test_what_never_ends_is_given_up_and_the_service_is_left(fault: str) -> None:
    async def do(target: RealtimeTarget, server: Server) -> str:
        asking = asyncio.create_task(ask(target, request("hello", headers=(("x-perfsuite-fault", fault),))))
        await until(lambda: server.counts.in_flight == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: server.connections == 0)
        async with Client(server) as client:
            [row] = await truth(client)
            return str(row["end"])

    assert talk(do) == "gone"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "protocol"),
        (b"SSH-2.0-OpenSSH_9\r\n", "protocol"),
        (b"", "closed"),
    ],
)
def test_what_is_no_websocket(answer: bytes, kind: str) -> None:
    async def run() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        listening = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        target = RealtimeTarget(split_target(f"realtime+ws://127.0.0.1:{port}"))
        with pytest.raises(Failure) as caught:
            await ask(target, request("hello"))
        assert caught.value.kind == kind
        with pytest.raises(PerfsuiteError, match=f"ws://127.0.0.1:{port}/v1/realtime"):
            await target.open()
        listening.close()
        with pytest.raises(Failure) as caught:
            await ask(target, request("hello"))
        assert caught.value.kind == "connect"
        await target.close()

    asyncio.run(run())


def test_a_model_that_is_not_there() -> None:
    async def run() -> None:
        async with serving() as server:
            address = address_of(server)
            target = RealtimeTarget(address, None, {"other": address})
            with pytest.raises(UsageError, match=r"404.*unknown model 'other'.*is the path right"):
                await target.open()

    asyncio.run(run())


# ── keys, the environment, the command line ───────────────────────────────────────────────────────────────────────────


def test_a_key_is_sent_and_shown_to_nobody_else() -> None:
    key = "sk-very-secret-key-0123456789"

    async def run() -> None:
        seen: list[str] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            seen.append(head)
            body = json.dumps({"error": {"message": f"the key {key} is wrong"}}).encode()
            writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            writer.close()

        listening = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        target = RealtimeTarget(split_target(f"realtime+ws://127.0.0.1:{port}"), Secret(key))
        with pytest.raises(UsageError, match="is not accepted") as refused:
            await target.open()
        with pytest.raises(Failure) as failed:
            await ask(target, request("hello"))
        assert failed.value.kind == "http_4xx"
        assert all(f"Authorization: Bearer {key}" in head for head in seen)
        assert len(seen) == 2
        for text in (str(refused.value), str(failed.value), repr(target), repr(target.__dict__)):
            assert key not in text
            assert "very-secret" not in text
        listening.close()

    asyncio.run(run())


def test_a_key_that_an_event_repeats_is_masked() -> None:
    key = "sk-very-secret-key-0123456789"

    async def handle(wire: ServerConnection) -> None:
        assert wire.request is not None
        await wire.send(json.dumps({"type": "session.created", "session": {"model": "m"}}))
        async for message in wire:
            if json.loads(message)["type"] == "response.create":
                said = f"no credit left on {wire.request.headers['Authorization']}"
                await wire.send(json.dumps({"type": "error", "error": {"message": said}}))

    async def run() -> str:
        async with serve(handle, "127.0.0.1", 0) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            target = RealtimeTarget(split_target(f"realtime+ws://127.0.0.1:{port}"), Secret(key))
            await target.open()
            with pytest.raises(Failure) as failed:
                await ask(target, request("hello"))
            await target.close()
            return str(failed.value)

    said = asyncio.run(run())
    assert "no credit left on Bearer •••" in said
    assert "very-secret" not in said


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("ws://127.0.0.1:8000", "/v1/realtime"),
        ("ws://127.0.0.1:8000/", "/v1/realtime"),
        ("wss://example.org/v1", "/v1/realtime"),
        ("wss://example.org/v1/realtime", "/v1/realtime"),
        ("wss://example.org/openai/v1", "/openai/v1/realtime"),
        ("wss://example.org/my/socket", "/my/socket"),
    ],
)
def test_addresses_of_sockets(url: str, path: str) -> None:
    address = split_target(f"realtime+{url}")
    assert address.path == path
    assert address.port in (8000, 443)
    check_target(f"realtime+{url}")


@pytest.mark.parametrize("target", ["realtime:x", "realtime+http://x", "realtime+ws://u:p@x", "realtime+ws://x?a=b"])
def test_addresses_that_are_none(target: str) -> None:
    with pytest.raises(UsageError):
        check_target(target)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "websockets":
            raise ImportError(name)
        return real(name, *arguments, **named)

    plan = Plan(target="realtime+ws://127.0.0.1:9")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r'a realtime target needs websockets.*"perfsuite\[realtime\]"'):
        asyncio.run(open_target(plan, tmp_path))


def test_a_proxy_is_not_passed_over_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    target = RealtimeTarget(split_target("realtime+wss://realtime.invalid"))
    with pytest.raises(UsageError, match=r"put realtime\.invalid into NO_PROXY"):
        asyncio.run(target.open())
