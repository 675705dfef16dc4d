"""Does the load driver measure the truth?  Targets whose delays are known, and the mistakes that others make.

Each claim has its negative control: the same run, measured the wrong way, must show the wrong figure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

from perfsuite._core import Events, Row
from perfsuite.loadgen import Delivered, LoadSpec, drive
from perfsuite.targets.base import Reply, Request


def requests() -> Iterator[Request]:
    for i in count():
        yield Request(message=f"m{i}", messages=[], user_id="u", conversation_id="c")


def run(send: object, spec: LoadSpec) -> tuple[Delivered, Events]:
    target = SimpleNamespace(name="truth", simulated=(), inspection=None, models=("m",), send=send)
    events = Events(warmup_ns=round(spec.warmup_s * 1e9))
    return asyncio.run(drive(target, requests(), spec, events)), events  # type: ignore[arg-type]


def test_one_slow_slot_shows_the_queue_that_users_stand_in() -> None:
    """200 requests/s against one slot of 25 ms, which serves 40: the queue grows, and the nth request waits for n
    services less n intervals.  Median of 40 requests: about 20 × (25 − 5) + 25 = 425 ms, not 25."""
    service_s = 0.025

    async def one_slot(request: Request, row: Row) -> Reply:
        until = time.monotonic() + service_s
        await asyncio.sleep(service_s - 0.002)
        while time.monotonic() < until:  # the last stretch busy, so that the service is exactly known
            pass
        return Reply(text="")

    delivered, events = run(one_slot, LoadSpec(duration_s=0.2, rate=200, arrivals="constant", concurrency=1))
    assert delivered.requests == delivered.completed == 40
    truth_ms = 20 * (25 - 5) + 25
    assert events.histogram("response_time").quantile(0.5) >= truth_ms * 0.95
    assert events.histogram("ttft").count == 0
    # Negative control: measured from the send, the same run says that all is well.
    assert events.histogram("service_time").quantile(0.5) < truth_ms / 4
    # And the wait is where it was spent: in the client's queue.
    assert events.histogram("lateness").quantile(0.5) >= truth_ms - 1.5 * 25 - 10


def test_a_stall_of_the_system_is_felt_by_everyone_who_was_due() -> None:
    """The system freezes once for 200 ms.  Every request due in the meantime waits for the rest of it; a client that
    waits for an answer before it sends the next sees one slow answer only (the negative control)."""
    stall_s = 0.2

    def freezing() -> object:
        state = {"seen": 0, "free_at": 0.0}

        async def send(request: Request, row: Row) -> Reply:
            state["seen"] += 1
            now = time.monotonic()
            if state["seen"] == 10:
                state["free_at"] = now + stall_s
            if now < state["free_at"]:
                await asyncio.sleep(state["free_at"] - now)
            return Reply(text="")

        return send

    _, open_loop = run(freezing(), LoadSpec(duration_s=0.4, rate=200, arrivals="constant"))
    times = open_loop.histogram("response_time")
    assert times.count == 80
    assert times.quantile(0.75) > 50.0, "40 of 80 were due during the stall and waited 100 ms on average"
    _, closed = run(freezing(), LoadSpec(duration_s=0.4, concurrency=1, think_s=0.005))
    assert closed.histogram("response_time").quantile(0.75) < times.quantile(0.75) / 2


def test_a_closed_loop_holds_exactly_its_number_all_the_time() -> None:
    """Sampled by the target at each arrival after the first n: n in flight, itself included."""
    held = 0
    seen: list[int] = []

    async def send(request: Request, row: Row) -> Reply:
        nonlocal held
        held += 1
        seen.append(held)
        await asyncio.sleep(0.004)
        held -= 1
        return Reply(text="")

    delivered, events = run(send, LoadSpec(duration_s=0.3, concurrency=16))
    assert max(seen) == delivered.max_in_flight == 16
    # Whoever arrives finds the others there, but for those whose reply came in the same turn of the event loop.
    assert sum(seen) / len(seen) > 8
    assert max(events.windows()["in_flight_max"]) == 16
    assert delivered.short is None


def test_a_stall_in_mid_stream_is_not_averaged_away() -> None:
    """20 gaps of 2 ms and one of 60: itl p99 and max_gap show it; the mean gap of a response, which other clients
    report, does not (the negative control)."""

    async def send(request: Request, row: Row) -> Reply:
        for i in range(22):
            await asyncio.sleep(0.06 if i == 11 else 0.002)
            row.token()
        return Reply(text="")

    _, events = run(send, LoadSpec(duration_s=5, concurrency=4, max_requests=8))
    assert events.histogram("itl").count == 8 * 21
    assert events.histogram("itl").quantile(0.99) >= 60.0
    assert events.histogram("max_gap").min >= 60.0
    assert events.histogram("tpot").quantile(0.5) < 30.0


def test_a_client_that_is_late_says_so() -> None:
    """The client's own event loop is blocked for 60 ms: what was due meanwhile leaves late, and that is in the response
    time, in ``lateness`` and in ``late_sends``.  The negative control is the same run without the block, which a busy
    machine may hold up by itself: once in five must do."""

    def blocking(block: bool) -> object:
        seen = 0

        async def send(request: Request, row: Row) -> Reply:
            nonlocal seen
            seen += 1
            if block and seen == 5:
                time.sleep(0.06)  # noqa: ASYNC251
            return Reply(text="")

        return send

    late, events = run(blocking(True), LoadSpec(duration_s=0.2, rate=200, arrivals="constant"))
    calm = [run(blocking(False), LoadSpec(duration_s=0.2, rate=200, arrivals="constant"))[0] for _ in range(5)]
    assert {late.requests, *(one.requests for one in calm)} == {40}
    assert late.late_sends >= 10
    assert events.histogram("lateness").max >= 50.0
    assert min(one.late_sends for one in calm) < late.late_sends
