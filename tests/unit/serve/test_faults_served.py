"""Every fault is what it says; the same request without it is answered in full (the negative control)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from perfsuite.errors import UsageError
from perfsuite.serve import faults
from perfsuite.serve.pacer import Pacer
from serving import CHAT, Client, Heard, chat, serving, truth

DIALECTS = {
    CHAT: chat(),
    "/v1/responses": {"input": "hello", "stream": True},
    "/v1/messages": {"messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 99},
    "/api/chat": {"messages": [{"role": "user", "content": "x"}]},
}


def strike(fault: str, body: Any = None, path: str = CHAT, **options: Any) -> tuple[Heard, dict[str, Any]]:
    """The answer to a request with the fault, and its row of the truth."""

    async def once() -> tuple[Heard, dict[str, Any]]:
        async with serving(**options) as server:
            async with Client(server) as client:
                heard = await client.ask(path, body or DIALECTS[path], headers={"x-perfsuite-fault": fault})
            async with Client(server) as other:
                assert (await other.ask(CHAT, chat())).complete, "the next is well"
                return heard, (await truth(other))[0]

    return asyncio.run(once())


@pytest.mark.parametrize("path", DIALECTS)
def test_nothing_happens_unasked(path: str) -> None:
    heard, row = strike("", path=path)
    assert heard.complete
    assert (row["end"], row["status"], row["tokens"], len(row["sent_offsets_ns"])) == ("complete", 200, 10, 10)


@pytest.mark.parametrize("path", DIALECTS)
@pytest.mark.parametrize(("fault", "end"), [("cut@3", "cut"), ("reset@3", "reset")])
def test_a_stream_that_breaks(path: str, fault: str, end: str) -> None:
    heard, row = strike(fault, path=path)
    assert heard.status == 200
    assert not heard.complete
    assert heard.reset == (end == "reset")
    assert (row["end"], row["tokens"], len(row["sent_offsets_ns"])) == (end, 3, 3)


def test_a_stall_is_in_the_truth_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece is due when the stall says, to the nanosecond, and the truth has none of them before it was due."""

    def stalled(fault: str) -> tuple[list[float], list[float]]:
        waited: list[int] = []
        until = Pacer.until

        async def noted(self: Pacer, due_ns: int) -> None:
            waited.append(due_ns)
            await until(self, due_ns)

        with monkeypatch.context() as patch:
            patch.setattr(Pacer, "until", noted)
            _, row = strike(fault)
        assert row["tokens"] == len(waited) == 10
        return [(at - row["received_ns"]) / 1e6 for at in waited], [offset / 1e6 for offset in row["sent_offsets_ns"]]

    due, sent = stalled("stall=60@4")
    assert due == pytest.approx([2, 3, 4, 5, *range(66, 72)], abs=1e-6)
    assert all(left >= at for left, at in zip(sent, due, strict=True))
    due, sent = stalled("stall=0@4")
    assert due == pytest.approx(range(2, 12), abs=1e-6), "the negative control"
    assert all(left >= at for left, at in zip(sent, due, strict=True))


@pytest.mark.parametrize("status", [400, 401, 418, 429, 500, 503])
def test_refusals(status: int) -> None:
    heard, row = strike(f"{status}=7")
    assert heard.status == row["status"] == status
    assert heard.complete
    assert "error" in heard.json()
    assert heard.headers.get("retry-after") == ("7" if status == 429 else None)
    if status != 429:
        assert heard.json()["error"]["message"] == "7"
    assert row["end"] == "refused"


def test_garbage_is_no_http() -> None:
    async def once() -> bytes:
        async with serving() as server, Client(server) as client:
            data = json.dumps(chat()).encode()
            client.writer.write(
                b"POST /v1/chat/completions?fault=garbage HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)
                + data
            )
            return await asyncio.wait_for(client.reader.read(), 30)

    data = asyncio.run(once())
    assert len(data) == 4096
    assert not data.startswith(b"HTTP")


@pytest.mark.parametrize("path", DIALECTS)
def test_one_event_that_is_not_json(path: str) -> None:
    heard, _ = strike("bad_json@2", path=path)
    assert heard.complete
    lines = [line.removeprefix("data: ") for line in heard.body.decode().split("\n") if line[:1] in ("d", "{")]
    broken = [line for line in lines if line != "[DONE]" and not _is_json(line)]
    assert len(broken) == 1


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("path", DIALECTS)
def test_an_error_inside_a_200(path: str) -> None:
    heard, row = strike("error_in_200@4", path=path)
    assert heard.status == 200
    assert heard.complete, "the body's framing ends properly"
    assert b"asked to fail in mid-stream" in heard.body
    assert b"[DONE]" not in heard.body
    assert (row["end"], row["tokens"]) == ("error", 4)


def test_a_character_in_two_pieces_is_whole_when_joined() -> None:
    heard, _ = strike("partial_utf8@3")
    assert heard.complete
    assert "é" in heard.text()
    sizes = heard.raw.split(b"\xc3")
    assert sizes[1].startswith(b"\r\n"), "a chunk ends between its bytes"


def test_a_big_event() -> None:
    heard, _ = strike("big=3MB@1")
    assert heard.complete
    assert max(len(one["choices"][0]["delta"].get("content", "")) for one in heard.events()[:-1]) == 3_000_000


def test_without_the_last_event() -> None:
    assert strike("")[0].events()[-1] == "[DONE]"
    heard, _ = strike("no_done")
    assert heard.complete
    assert heard.events()[-1]["choices"][0]["finish_reason"] == "stop"


def test_keep_alive_that_is_not_kept() -> None:
    async def twice(fault: str) -> tuple[str, bool, int]:
        async with serving() as server, Client(server) as client:
            first = await client.ask(CHAT, chat(), headers={"x-perfsuite-fault": fault})
            assert first.complete
            if fault:
                assert await asyncio.wait_for(client.reader.read(), 30) == b""
                return first.headers["connection"], True, 0
            return first.headers["connection"], False, (await client.ask(CHAT, chat())).status

    assert asyncio.run(twice("close_keepalive")) == ("keep-alive", True, 0)
    assert asyncio.run(twice("")) == ("keep-alive", False, 200)


def test_an_answer_that_never_ends_ends_with_the_client() -> None:
    async def leave() -> tuple[int, dict[str, Any], int]:
        async with serving() as server:
            async with Client(server) as client:
                data = json.dumps(chat()).encode()
                client.writer.write(
                    b"POST /v1/chat/completions?fault=never_end HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                    % len(data)
                    + data
                )
                heard = b""
                while heard.count(b'"content":') < 35:
                    heard += await asyncio.wait_for(client.reader.read(65536), 30)
                under_way = server.counts.in_flight
            while server.counts.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            async with Client(server) as other:
                return under_way, (await truth(other))[0], server.connections

    under_way, row, connections = asyncio.run(leave())
    assert under_way == 1
    assert row["end"] == "gone"
    assert row["tokens"] >= 34, "more than the ten that the answer has"
    assert connections == 1


def test_byte_by_byte() -> None:
    async def sizes(fault: str) -> tuple[int, int]:
        async with serving(tokens=1) as server, Client(server) as client:
            data = json.dumps(chat()).encode()
            client.writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-perfsuite-fault: %b\r\nContent-Length: %d\r\n\r\n"
                % (fault.encode(), len(data))
                + data
            )
            heard, reads = b"", 0
            while not heard.endswith(b"0\r\n\r\n"):
                heard += await asyncio.wait_for(client.reader.read(65536), 30)
                reads += 1
            return reads, len(heard)

    reads, length = asyncio.run(sizes("slowloris=0.2ms"))
    assert reads > length / 10
    calm_reads, calm_length = asyncio.run(sizes(""))
    assert calm_reads < 10
    assert calm_length == length


def test_by_chance_with_a_seed() -> None:
    async def statuses(seed: int, probability: float) -> list[int]:
        fault = faults.parse("503")
        async with (
            serving(fault=fault, fault_probability=probability, seed=seed, tokens=1) as server,
            Client(server) as client,
        ):
            return [(await client.ask(CHAT, chat())).status for _ in range(40)]

    some = asyncio.run(statuses(1, 0.5))
    assert set(some) == {200, 503}
    assert some == asyncio.run(statuses(1, 0.5))
    assert some != asyncio.run(statuses(2, 0.5))
    assert set(asyncio.run(statuses(1, 1.0))) == {503}
    assert set(asyncio.run(statuses(1, 0.0))) == {200}


def test_whole_answers_break_too() -> None:
    assert not strike("cut", chat(stream=False))[0].complete
    assert strike("", chat(stream=False))[0].complete
    with pytest.raises(ValueError, match="Expecting"):
        strike("bad_json", chat(stream=False))[0].json()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stal=3", "did you mean stall"),
        ("stall@3", "needs its length"),
        ("cut=3@4", "takes no value"),
        ("399", "from 400 to 599"),
        ("garbage@3", "no place in the stream"),
        ("never_end=1", "takes no value"),
        ("big=1GB", "too big"),
        ("a b", "is not a fault"),
    ],
)
def test_a_fault_that_cannot_be_read(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        faults.parse(text)
    heard, _ = strike(text)
    assert heard.status == 400
    assert says in heard.json()["error"]["message"]


def test_faults_together() -> None:
    fault = faults.parse("stall=200@50, cut@90,429=2")
    assert (fault.stall, fault.stall_s, fault.cut, fault.status, fault.retry_after_s) == (50, 0.2, 90, 429, 2.0)
    assert not faults.parse("")
    assert faults.parse("stall=2s@1").stall_s == 2.0
