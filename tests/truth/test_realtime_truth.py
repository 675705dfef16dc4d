"""Does the realtime target measure the truth?  Held against what the server knows of the same answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from perfsuite._core import Events
from perfsuite.loadgen import Delivered, LoadSpec, drive
from perfsuite.serve.options import ModelDelays
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.targets.realtime.target import RealtimeTarget, split_target
from serving import Client, serving, truth

MODEL = (ModelDelays("slow", 8, 2),)
TOKENS = 12


def requests(fault: str, said: dict[str, list[str]], free: deque[str]) -> Iterator[Request]:
    """Each is the next message of a conversation that is ``free``: whose last one was answered."""
    headers = (("x-perfsuite-fault", fault),) if fault else ()
    while True:
        name = free.popleft()
        said[name].append(f"message {len(said[name])}")
        messages = [{"role": "user", "content": text} for text in said[name]]
        yield Request(message=said[name][-1], messages=messages, user_id=name, conversation_id=name, headers=headers)


def drive_it(
    *, fault: str = "", conversations: int = 1, most: int = 20, timeout_s: float = 60.0, **options: Any
) -> tuple[Delivered, Events, list[dict[str, Any]], list[Reply]]:
    """``most`` requests, one at a time for each conversation, and the truth of each."""

    async def run() -> tuple[Delivered, Events, list[dict[str, Any]], list[Reply]]:
        async with serving(**{"models": MODEL, "tokens": TOKENS, **options}) as server:
            target = RealtimeTarget(split_target("realtime+" + server.url.replace("http", "ws", 1)))
            await target.open()
            replies: list[Reply] = []
            said: dict[str, list[str]] = {f"{number}": [] for number in range(conversations)}
            free = deque(said)

            def heard(request: Request, reply: Reply | None, failure: Failure | None, times: object) -> None:
                free.append(request.conversation_id)
                if reply is not None:
                    replies.append(reply)

            events = Events(raw=True)
            spec = LoadSpec(duration_s=120.0, concurrency=conversations, max_requests=most, request_timeout_s=timeout_s)
            delivered = await drive(target, requests(fault, said, free), spec, events, on_reply=heard)
            await target.close()
            async with Client(server) as client:
                return delivered, events, await truth(client), replies

    return asyncio.run(run())


def test_every_first_delta_and_every_gap_is_the_servers() -> None:
    """One conversation: its answers stand in the truth in their order."""
    delivered, events, rows, replies = drive_it()
    assert (delivered.completed, events.failed) == (20, 0)
    assert [(row["tokens"], row["end"], len(row["sent_offsets_ns"])) for row in rows] == [(12, "complete", 12)] * 20
    assert events.chunks == 20 * TOKENS, "one chunk for each piece the server sent, though each is heard and read"
    assert events.histogram("itl").count == 20 * (TOKENS - 1)
    ttft, took = events.histogram("service_ttft"), events.histogram("service_time")
    first = [row["sent_offsets_ns"][0] / 1e6 for row in rows]
    last = [row["sent_offsets_ns"][-1] / 1e6 for row in rows]
    # Nothing is seen before it was sent: of each rank, so of all.
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        rank = int(share * 19)
        assert ttft.quantile(share) >= sorted(first)[rank] * 0.99
        assert took.quantile(share) >= sorted(last)[rank] * 0.99
    assert abs(events.histogram("itl").quantile(0.5) - 2.0) < 100.0
    assert ttft.quantile(0.5) - median(first) < 250.0
    assert all(reply.times["first_audio"] >= 8.0 for reply in replies), "not before it was due"
    assert sum("session" in reply.times for reply in replies) == 1, "one connection for the conversation"


def test_a_stall_is_seen_where_it_was_made() -> None:
    _, events, rows, replies = drive_it(fault="stall=1500@6", most=3)
    made = [max(later - earlier for earlier, later in pairwise(row["sent_offsets_ns"])) / 1e6 for row in rows]
    assert median(made) >= 500.0
    assert events.histogram("max_gap").quantile(0.5) >= 500.0
    assert median(reply.times["longest_audio_gap"] for reply in replies) >= 500.0
    _, control, _, _ = drive_it(most=3)
    assert control.histogram("max_gap").quantile(0.5) < median(made), "the negative control"


def test_many_conversations_have_a_connection_each() -> None:
    delivered, events, rows, replies = drive_it(conversations=8, most=64)
    assert delivered.completed == 64
    assert delivered.max_in_flight == 8
    assert events.failed == 0
    assert sum(len(row["sent_offsets_ns"]) for row in rows) == events.chunks == 64 * TOKENS
    assert sum("session" in reply.times for reply in replies) == 8


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("cut@4", "incomplete"), ("reset@4", "reset"), ("bad_json@4", "malformed"), ("503", "http_5xx")],
)
def test_every_failure_is_a_row_of_its_kind(fault: str, kind: str) -> None:
    delivered, events, _, _ = drive_it(fault=fault, most=5)
    assert (delivered.completed, delivered.failed) == (0, 5)
    assert dict(events.errors) == {kind: 5}


def test_silence_is_a_time_out() -> None:
    delivered, events, rows, _ = drive_it(fault="silence", most=2, timeout_s=0.5)
    assert delivered.failed == 2
    assert dict(events.errors) == {"timeout": 2}
    assert [row["tokens"] for row in rows] == [0, 0]
