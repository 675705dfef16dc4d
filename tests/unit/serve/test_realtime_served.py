"""``/v1/realtime``: the handshake, the events of a session, and what is said to a client that is wrong."""

from __future__ import annotations

import asyncio
import base64
import builtins
import json
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from perfsuite.serve import answering
from perfsuite.serve.realtime import SAMPLES_A_SECOND, SAMPLES_A_TOKEN, Tone
from perfsuite.serve.server import Server
from serving import CHAT, Client, chat, serving, truth

GIVE_UP_S = 60.0
DONE = "response.done"


class Talker:
    """The other side, by a client of other people's."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire = wire

    async def say(self, kind: str, **more: Any) -> None:
        await self.wire.send(json.dumps({"type": kind, **more}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(GIVE_UP_S):
            event: dict[str, Any] = json.loads(await self.wire.recv())
            return event

    async def up_to(self, kind: str) -> list[dict[str, Any]]:
        found = [await self.next()]
        while found[-1]["type"] != kind:
            found.append(await self.next())
        return found

    async def ask(self, text: str = "hello", **response: Any) -> list[dict[str, Any]]:
        """A message, and all events of its answer."""
        content = [{"type": "input_text", "text": text}]
        await self.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        await self.say("response.create", response=response)
        return await self.up_to(DONE)


@asynccontextmanager
async def talking(query: str = "", **options: Any) -> AsyncIterator[tuple[Talker, Server]]:
    async with serving(**options) as server:
        url = server.url.replace("http", "ws", 1) + "/v1/realtime" + query
        async with connect(url, max_size=None, compression=None) as wire:
            talker = Talker(wire)
            assert (await talker.next())["type"] == "session.created"
            yield talker, server


def test_the_events_of_an_answer() -> None:
    async def run() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with talking() as (talker, server):
            events = await talker.ask()
            async with Client(server) as client:
                return events, await truth(client)

    events, [row] = asyncio.run(run())
    kinds = [event["type"] for event in events]
    assert kinds[:4] == [
        "conversation.item.added",
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[4:24] == ["response.output_audio_transcript.delta", "response.output_audio.delta"] * 10
    assert kinds[24:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "response.output_item.done",
        DONE,
    ]
    assert len({event["event_id"] for event in events}) == len(events)
    done = events[-1]["response"]
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_audio_transcript.delta")
    assert done["output"][0]["content"][0]["transcript"] == said
    assert done["usage"]["output_tokens"] == 10
    assert done["usage"]["total_tokens"] == 10 + done["usage"]["input_tokens"]
    assert (row["id"], row["path"], row["tokens"], row["end"]) == (done["id"], "/v1/realtime", 10, "complete")
    assert len(row["sent_offsets_ns"]) == 10


def test_its_sound_is_one_tone_without_a_seam() -> None:
    async def run(seed: int) -> bytes:
        async with talking(seed=seed) as (talker, _):
            events = await talker.ask()
            sound = [event["delta"] for event in events if event["type"] == "response.output_audio.delta"]
            return b"".join(map(base64.b64decode, sound))

    sound = asyncio.run(run(3))
    assert sound == asyncio.run(run(3)), "the same for the same seed"
    assert sound != asyncio.run(run(4))
    samples = array("h", sound)
    assert len(samples) == 10 * SAMPLES_A_TOKEN
    steps = [abs(later - earlier) for earlier, later in pairwise(samples)]
    assert max(steps) < 2 * max(steps[: SAMPLES_A_TOKEN - 1]), "no seam is steeper than the tone itself"
    tone = Tone(3)
    long = base64.b64decode(tone.piece(SAMPLES_A_SECOND - 100, 3 * SAMPLES_A_SECOND + 200))
    assert len(long) == 2 * (3 * SAMPLES_A_SECOND + 200)


def test_text_alone_by_the_session_or_by_one_response() -> None:
    async def run() -> None:
        async with talking() as (talker, _):
            await talker.say("session.update", session={"output_modalities": ["text"], "instructions": "Be kind."})
            updated = await talker.next()
            assert updated["type"] == "session.updated"
            assert updated["session"]["output_modalities"] == ["text"]
            assert updated["session"]["instructions"] == "Be kind."
            kinds = [event["type"] for event in await talker.ask()]
            assert kinds.count("response.output_text.delta") == 10
            assert not [kind for kind in kinds if "audio" in kind]
            kinds = [event["type"] for event in await talker.ask(output_modalities=["audio"])]
            assert kinds.count("response.output_audio.delta") == 10

    asyncio.run(run())


def test_what_was_said_stays_in_the_conversation() -> None:
    async def run() -> list[int]:
        async with talking() as (talker, _):
            return [(await talker.ask())[-1]["response"]["usage"]["input_tokens"] for _ in range(3)]

    first, second, third = asyncio.run(run())
    assert second - first == third - second > 10, "the message and the answer"


def test_a_limit_ends_an_answer() -> None:
    async def run() -> dict[str, Any]:
        async with talking() as (talker, _):
            done: dict[str, Any] = (await talker.ask(max_output_tokens=4))[-1]["response"]
            return done

    done = asyncio.run(run())
    assert (done["status"], done["usage"]["output_tokens"]) == ("incomplete", 4)


@pytest.mark.parametrize("at_once", [True, False])
def test_an_answer_is_cancelled(at_once: bool) -> None:
    async def run() -> None:
        async with talking("?fault=never_end") as (talker, server):
            await talker.say("response.create")
            if not at_once:
                await talker.up_to("response.output_audio.delta")
            await talker.say("response.cancel")
            done = (await talker.up_to(DONE))[-1]["response"]
            assert done["status"] == "cancelled"
            await talker.say("response.cancel")
            assert (await talker.up_to("error"))[-1]["error"]["code"] == "response_cancel_not_active"
            async with Client(server) as client:
                assert [row["end"] for row in await truth(client)] == ["cancelled"]

    asyncio.run(run())


def test_who_asks_again_as_soon_as_an_answer_is_told_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = answering.Answering.run

    async def slow_to_end(self: answering.Answering) -> str:
        how = await whole(self)
        await told_again.wait()  # the client has heard all of it, and asks on
        await asyncio.sleep(0.0)
        return how

    monkeypatch.setattr(answering.Answering, "run", slow_to_end)

    async def run() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        async with talking() as (talker, _):
            first = await talker.ask()
            content = [{"type": "input_text", "text": "hello"}]
            await talker.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})
            await talker.say("response.create", response={})
            await (await talker.wire.ping())  # both have come
            told_again.set()
            return first[-1]["response"], await talker.up_to(DONE)

    told_again = asyncio.Event()
    first, events = asyncio.run(run())
    assert "error" not in {event["type"] for event in events}
    assert events[-1]["response"]["status"] == "completed"
    grown = events[-1]["response"]["usage"]["input_tokens"] - first["usage"]["input_tokens"]
    assert grown > 10, "the message and the answer before it"


def test_one_response_at_a_time() -> None:
    async def run() -> None:
        async with talking("?fault=never_end") as (talker, _):
            await talker.say("response.create")
            await talker.say("response.create", event_id="mine")
            error = (await talker.up_to("error"))[-1]["error"]
            assert error["code"] == "conversation_already_has_active_response"
            assert error["event_id"] == "mine"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("nonsense", "not JSON"),
        ("[]", "must be a JSON object"),
        ('{"type": "response.creat"}', "did you mean response.create"),
        ('{"type": "session.update"}', "needs an object session"),
        ('{"type": "conversation.item.create", "item": {"type": "function_call"}}', "type message alone"),
        ('{"type": "conversation.item.create", "item": {"content": 3}}', "content must be text"),
        ('{"type": "response.create", "response": {"max_output_tokens": "x"}}', "max_output_tokens"),
        ('{"type": "response.create", "response": {"metadata": {"x-perfsuite-fault": "x"}}}', "unknown fault"),
    ],
)
def test_what_is_wrong_is_said_and_the_session_goes_on(message: str, says: str) -> None:
    async def run() -> str:
        async with talking() as (talker, _):
            await talker.wire.send(message)
            said: str = (await talker.up_to("error"))[-1]["error"]["message"]
            assert (await talker.ask())[-1]["response"]["status"] == "completed"
            return said

    assert says in asyncio.run(run())


def test_a_status_in_mid_session_is_a_response_that_failed() -> None:
    async def run() -> dict[str, Any]:
        async with talking() as (talker, _):
            events = await talker.ask(metadata={"x-perfsuite-fault": "429"})
            assert (await talker.ask())[-1]["response"]["status"] == "completed", "the next is well"
            failed: dict[str, Any] = events[-1]["response"]
            return failed

    failed = asyncio.run(run())
    assert failed["status"] == "failed"
    assert failed["status_details"]["error"]["code"] == "rate_limit_exceeded"


def test_pings_are_answered_in_mid_answer() -> None:
    async def run() -> None:
        async with talking("?fault=never_end") as (talker, _):
            await talker.say("response.create")
            pong = await talker.wire.ping(b"there?")
            await talker.up_to("response.output_audio.delta")
            async with asyncio.timeout(GIVE_UP_S):
                hearing = asyncio.create_task(talker.up_to("never"))
                await pong
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    asyncio.run(run())


def test_a_client_that_leaves_in_mid_answer() -> None:
    async def run() -> None:
        async with serving() as server:
            url = server.url.replace("http", "ws", 1) + "/v1/realtime?fault=never_end"
            async with connect(url) as wire:
                talker = Talker(wire)
                await talker.say("response.create")
                await talker.up_to("response.output_audio.delta")
            async with asyncio.timeout(GIVE_UP_S):
                while server.connections:  # noqa: ASYNC110 - the server's, in this loop
                    await asyncio.sleep(0.001)
            async with Client(server) as client:
                assert [row["end"] for row in await truth(client)] == ["gone"]
                assert (await client.ask(CHAT, chat())).complete

    asyncio.run(run())


@pytest.mark.parametrize(
    ("query", "status"), [("?model=other", 404), ("?fault=nonsense", 400), ("?fault=503", 503), ("?fault=429=3", 429)]
)
def test_handshakes_that_are_refused(query: str, status: int) -> None:
    async def run() -> None:
        async with serving() as server:
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.url.replace("http", "ws", 1) + "/v1/realtime" + query)
            assert refused.value.response.status_code == status
            assert b"error" in bytes(refused.value.response.body or b"")
            if status == 429:
                assert refused.value.response.headers["Retry-After"] == "3"

    asyncio.run(run())


def test_over_http_alone_an_upgrade_is_asked_for() -> None:
    async def run() -> None:
        async with serving() as server:
            async with Client(server) as client:
                heard = await client.ask("/v1/realtime", method="GET")
                assert heard.status == 426
                assert heard.headers["upgrade"] == "websocket"
            async with Client(server) as client:
                assert (await client.ask("/v1/realtime", {})).status == 400

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["silence", "grow"])
def test_its_own_faults_are_of_no_other_path(fault: str) -> None:
    async def run() -> None:
        async with serving() as server, Client(server) as client:
            heard = await client.ask(CHAT, chat(), headers={"x-perfsuite-fault": fault})
            assert heard.status == 400
            assert "/v1/realtime alone" in heard.json()["error"]["message"]

    asyncio.run(run())


def test_without_the_extra_it_says_so_to_those_who_come(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "websockets":
            raise ImportError(name)
        return real(name, *arguments, **named)

    async def run() -> None:
        async with serving() as server:
            monkeypatch.setattr(builtins, "__import__", without)
            async with Client(server) as client:
                heard = await client.ask("/v1/realtime", method="GET")
                assert heard.status == 501
                assert "perfsuite[realtime]" in heard.json()["error"]["message"]
            async with Client(server) as client:
                assert (await client.ask(CHAT, chat())).complete, "the others have all they need"

    asyncio.run(run())
