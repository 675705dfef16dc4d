"""The reference system behind the APIs, pages, connections and the pacer."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import Any

import pytest

from perfsuite.serve.options import ModelDelays
from perfsuite.serve.pacer import Pacer
from serving import CHAT, QUICK, Client, chat, serving

INSTANT = (ModelDelays("sim-small", 0, 0), ModelDelays("sim-large", 0, 0))


def reference(**options: Any) -> Any:
    return serving(engine="reference", models=INSTANT, tokens=40, **options)


def test_the_reference_system_remembers_by_what_was_said() -> None:
    async def talk() -> tuple[str, str, dict[str, Any]]:
        async with reference() as server, Client(server) as client:
            said = ["My dog is called Rex."]
            for text in (
                "The weather is fine today.",
                "Please go on.",
                "I like trains.",
                "We met in May.",
                "So it goes.",
            ):
                said += [(await client.ask(CHAT, chat(*said))).text(), text]
            said += [(await client.ask(CHAT, chat(*said))).text(), "What is my dog called?"]
            heard = await client.ask(CHAT, chat(*said, stream_options={"include_usage": True}))
            stranger = await client.ask(CHAT, chat("What is my dog called?"))
            return heard.text(), stranger.text(), heard.events()[-2]["usage"]

    known, unknown, usage = asyncio.run(talk())
    assert "Rex" in known
    assert "Rex" not in unknown, "another conversation knows nothing of it"
    assert usage["completion_tokens"] > 0
    assert 0 <= usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"]


def test_a_conversation_may_be_named() -> None:
    async def talk(*headers: dict[str, str]) -> list[str]:
        async with reference() as server, Client(server) as client:
            await client.ask(CHAT, chat("My cat is called Tom."), headers=headers[0])
            return [(await client.ask(CHAT, chat("What is my cat called?"), headers=one)).text() for one in headers]

    same, other = asyncio.run(talk({"x-conversation-id": "a"}, {"x-conversation-id": "b"}))
    assert "Tom" in same
    assert "Tom" not in other


def test_what_the_system_refuses_is_an_error_of_the_api() -> None:
    async def ask() -> tuple[Any, Any, float]:
        async with reference() as server, Client(server) as client:
            heard = await client.ask(CHAT, chat("word " * 9000))
            after = await client.ask(CHAT, chat("hello"))
            return heard, after, server.counts.in_flight

    heard, after, in_flight = asyncio.run(ask())
    assert heard.status == 400
    assert heard.json()["error"]["code"] == "context_length_exceeded"
    assert after.status == 200
    assert in_flight == 0


def test_faults_strike_the_reference_system_too() -> None:
    async def ask() -> tuple[bool, bool]:
        async with reference() as server:
            async with Client(server) as client:
                cut = await client.ask(CHAT, chat("hello"), headers={"x-perfsuite-fault": "cut@3"})
            async with Client(server) as client:
                return cut.complete, (await client.ask(CHAT, chat("hello"))).complete

    assert asyncio.run(ask()) == (False, True)


def test_an_answer_of_the_reference_system_that_never_ends() -> None:
    async def leave() -> tuple[int, int]:
        async with reference() as server:
            async with Client(server) as client:
                body = b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
                client.writer.write(
                    b"POST %b?fault=never_end HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
                    % (CHAT.encode(), len(body), body)
                )
                heard = b""
                while heard.count(b'"content":') < 60:
                    heard += await asyncio.wait_for(client.reader.read(65536), 30)
            while server.counts.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            async with Client(server) as other:
                whole = await other.ask(CHAT, chat("x"))
                return heard.count(b'"content":'), whole.body.count(b'"content":')

    endless, whole = asyncio.run(leave())
    assert endless >= 60 > whole


def test_metrics_count() -> None:
    async def ask() -> dict[str, float]:
        async with serving() as server, Client(server) as client:
            for fault in ("", "", "500"):
                await client.ask(CHAT, chat(), headers={"x-perfsuite-fault": fault})
            await client.ask('/no"where', method="GET")
            text = (await client.ask("/metrics", method="GET")).body.decode()
            for line in text.splitlines():
                assert line.startswith("#") or re.fullmatch(r"[a-z_]+(\{[^{}]*\})? [0-9.e+]+", line), line
            return {
                key: float(value)
                for key, _, value in (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
            }

    found = asyncio.run(ask())
    assert found['perfsuite_requests_total{path="/v1/chat/completions",status="200"}'] == 2
    assert found['perfsuite_requests_total{path="/v1/chat/completions",status="500"}'] == 1
    assert found['perfsuite_requests_total{path="unknown",status="404"}'] == 1
    assert found["perfsuite_completion_tokens_total"] == 20
    assert found["perfsuite_requests_in_flight"] == 0
    assert found["perfsuite_connections"] == 1
    assert found["process_resident_memory_bytes"] > 1e6


def test_pages() -> None:
    async def ask() -> None:
        async with serving() as server, Client(server) as client:
            assert (await client.ask("/v1/models", method="GET")).json()["data"][0]["id"] == "quick"
            assert (await client.ask("/api/tags", method="GET")).json()["models"][0]["name"] == "quick"
            health = (await client.ask("/health", method="GET")).json()
            assert health["models"] == [{"name": "quick", "ttft_ms": 2.0, "token_ms": 1.0}]
            assert (await client.ask("/health", method="HEAD")).status == 200
            assert (await client.ask("/health", method="GET")).status == 200
            assert (await client.ask(CHAT, method="GET")).status == 405

    asyncio.run(ask())


def test_two_requests_at_once_on_one_connection_are_answered_in_turn() -> None:
    async def ask() -> list[str]:
        async with serving(models=QUICK) as server, Client(server) as client:
            asking = [asyncio.ensure_future(client.ask(CHAT, chat(max_tokens=3)))]
            await asyncio.sleep(0)
            client.writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            first = await asking[0]
            second = await client.hear()
            return [first.headers["content-type"][:17], second.headers["content-type"]]

    assert asyncio.run(ask()) == ["text/event-stream", "application/json"]


def test_a_client_of_http_1_0_gets_a_bare_stream_up_to_the_close() -> None:
    async def ask() -> bytes:
        async with serving() as server, Client(server) as client:
            client.writer.write(
                b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: 59\r\n\r\n"
                + b'{"messages":[{"role":"user","content":"x"}],"stream":true}'.ljust(59)
            )
            return await asyncio.wait_for(client.reader.read(), 30)

    head, _, body = asyncio.run(ask()).partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert b"Connection: close" in head
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


def test_what_is_no_request_is_answered_and_closed() -> None:
    async def ask(data: bytes) -> bytes:
        async with serving() as server, Client(server) as client:
            client.writer.write(data)
            return await asyncio.wait_for(client.reader.read(), 30)

    assert asyncio.run(ask(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert asyncio.run(ask(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_waits_for_100_continue() -> None:
    async def ask() -> tuple[bytes, int]:
        async with serving() as server, Client(server) as client:
            body = b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
            client.writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
                % len(body)
            )
            interim = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 30)
            client.writer.write(body)
            return interim, (await client.hear()).status

    assert asyncio.run(ask()) == (b"HTTP/1.1 100 Continue\r\n\r\n", 200)


def test_a_client_that_does_not_read_holds_up_only_itself() -> None:
    async def ask() -> tuple[int, int]:
        endless: Any = {"tokens": 1_000_000, "models": (ModelDelays("fast", 0, 0),), "tokens_per_chunk": 50}
        async with serving(**endless) as server, Client(server) as lazy, Client(server) as other:
            await lazy.ask("/health", method="GET")
            lazy.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]
            body = b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
            lazy.writer.write(
                b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (len(body) + 22)
                + body[:-1] + b',"max_tokens":1000000 }'
            )  # fmt: skip
            heard = await other.ask(CHAT, chat(max_tokens=300))
            assert heard.complete
            held = server.counts.in_flight
            lazy.writer.transport.resume_reading()  # type: ignore[attr-defined]
            rest = await lazy.hear()
            return held, rest.body.count(b"content_block_delta\n")

    assert asyncio.run(ask()) == (1, 20_000)


def test_the_server_leaves_nothing_behind() -> None:
    async def run() -> tuple[int, int, set[asyncio.Task[Any]]]:
        async with serving() as server:
            async with Client(server) as client:
                await client.ask(CHAT, chat())
            opened = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
            body = b'{"messages":[{"role":"user","content":"x"}],"stream":true}'
            target = b"/v1/chat/completions?fault=never_end"
            opened[1].write(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (target, len(body), body))
            await opened[0].readuntil(b'"content":')
        opened[1].close()
        current = asyncio.current_task()
        assert current is not None
        return server.connections, server.counts.in_flight, asyncio.all_tasks() - {current}

    assert asyncio.run(run()) == (0, 0, set())


def test_many_connections_at_once_are_all_held() -> None:
    async def run() -> tuple[int, int]:
        async with serving(models=(ModelDelays("m", 1000, 1),), tokens=3) as server:

            async def one() -> bool:
                async with Client(server) as client:
                    return (await client.ask(CHAT, chat())).complete

            asking = [asyncio.create_task(one()) for _ in range(200)]
            most = 0
            while not all(task.done() for task in asking):
                most = max(most, server.counts.in_flight)
                await asyncio.sleep(0.002)
            return most, sum([await task for task in asking])

    most, complete = asyncio.run(run())
    assert most > 100
    assert complete == 200


def test_the_pacer_catches_up_without_its_timer() -> None:
    async def run() -> list[int]:
        pacer = Pacer()
        ran: list[int] = []

        def step(due: int) -> int:
            ran.append(due)
            pacer.catch_up()  # from within a step it does nothing
            return 0

        now = time.monotonic_ns()
        for due in (now - 2, now - 1, now + 10**12):
            pacer.at(due, step)
        pacer.catch_up()
        pacer.close()
        return [due - now for due in ran]

    assert asyncio.run(run()) == [-2, -1]


def test_the_pacer_runs_in_order_and_never_early(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> tuple[bool, list[int], list[int]]:
        pacer = Pacer()
        now = time.monotonic_ns()
        ran: list[int] = []
        early: list[int] = []
        over = asyncio.Event()

        def step(index: int, due_ns: int) -> Any:
            def stepped(due: int) -> int:
                assert due == due_ns
                if time.monotonic_ns() < due:
                    early.append(index)
                ran.append(index)
                if len(ran) == 20:
                    over.set()
                return 0

            return stepped

        for index in (*range(19, -1, -2), *range(0, 20, 2)):
            pacer.at(now + index * 500_000, step(index, now + index * 500_000))
        await asyncio.wait_for(over.wait(), 30)
        precise = pacer.precise
        assert len(pacer) == 0
        pacer.close()
        pacer.at(now, step(0, now))
        assert len(pacer) == 0
        return precise, ran, early

    precise, ran, early = asyncio.run(run())
    assert (ran, early) == (list(range(20)), [])

    def no_timer() -> None:
        raise NotImplementedError

    monkeypatch.setattr("perfsuite.serve.pacer.make_timer", no_timer)
    precise, ran, early = asyncio.run(run())
    assert (precise, ran, early) == (False, list(range(20)), [])
