"""A closed loop at a port that refuses: how often it tries, and what it says of that, whoever drives."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from perfsuite._core import Events
from perfsuite.loadgen import Delivered, LoadSpec, driver
from perfsuite.loadgen.backoff import FIRST_S, LONGEST_S, pause_s, pauses_said
from perfsuite.loadgen.wire import drive_wire
from perfsuite.targets.base import Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget
from served import Asked, serving, whole

HEADER = Path(__file__).resolve().parents[2] / "csrc/wire/pfs_wire.h"
DRIVERS = [
    pytest.param(drive_wire, id="wire", marks=pytest.mark.skipif(sys.platform != "linux", reason="for Linux")),
    pytest.param(driver.drive, id="asyncio"),
]
TIME_S = 0.5
TRIES = 6
"""Of one slot within TIME_S: at 0, 10, 30, 70, 150 and 310 ms."""


def requests() -> Iterator[Request]:
    for i in count():
        yield Request(
            message="m", messages=[{"role": "user", "content": "m"}], user_id="u", conversation_id=f"c{i}", model="m"
        )


async def drive(by: Any, url: str, spec: LoadSpec) -> tuple[Delivered, Events]:
    address = parse_address(url, "a test")
    target = ChatTarget("openai", address, None, {"m": address})

    async def nobody() -> None:
        """Whom it asks which models there are."""

    target._look = nobody  # type: ignore[method-assign]
    await target.open()
    target._served[address].tried = True
    events = Events(warmup_ns=round(spec.warmup_s * 1e9))
    try:
        return await by(target, requests(), spec, events), events
    finally:
        await target.close()


def run(by: Any, url: str, spec: LoadSpec) -> tuple[Delivered, Events]:
    return asyncio.run(asyncio.wait_for(drive(by, url, spec), 60))


@contextmanager
def refusing() -> Iterator[socket.socket]:
    """A port of our own that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


def url_of(bound: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def hanging_up() -> Iterator[tuple[socket.socket, list[None]]]:
    """Accepts and closes: who wants TLS comes to no connection.  Every attempt is in the list."""
    attempts: list[None] = []
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)

        def hang_up() -> None:
            while True:
                try:
                    listening.accept()[0].close()
                except OSError:
                    return
                attempts.append(None)

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield listening, attempts
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_pause_doubles_up_to_a_second() -> None:
    pauses = [pause_s(failures) for failures in range(12)]
    assert pauses == [0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0, 1.0]
    assert pause_s(10**6) == LONGEST_S


def test_the_engine_in_c_pauses_as_long() -> None:
    told = dict(re.findall(r"#define (PFS_WIRE_(?:LONGEST_)?REST_NS)\s+INT64_C\((\d+)\)", HEADER.read_text()))
    assert {name: int(value) for name, value in told.items()} == {
        "PFS_WIRE_REST_NS": round(FIRST_S * 1e9),
        "PFS_WIRE_LONGEST_REST_NS": round(LONGEST_S * 1e9),
    }


@pytest.mark.parametrize("by", DRIVERS)
@pytest.mark.parametrize("slots", [1, 8])
def test_a_refused_port_is_not_hammered(by: Any, slots: int) -> None:
    with refusing() as bound:
        delivered, events = run(by, url_of(bound), LoadSpec(duration_s=TIME_S, concurrency=slots))
    assert slots < delivered.failed <= TRIES * slots
    assert events.errors == {"connect": delivered.failed}
    assert delivered.pauses == delivered.failed
    assert 0.5 * slots * TIME_S < delivered.paused_s <= slots * TIME_S
    assert delivered.max_in_flight <= slots
    assert delivered.mean_in_flight is not None
    assert delivered.mean_in_flight + delivered.paused_s / TIME_S <= 1.01 * slots, "a pause is not in flight"
    assert by is driver.drive or delivered.mean_in_flight < 0.01 * slots, "httpx takes its time to be refused"
    (said,) = delivered.warnings
    assert said.startswith(f"no connection came about {delivered.failed} times")


@pytest.mark.parametrize("by", DRIVERS)
def test_neither_is_one_that_hangs_up_in_the_handshake(by: Any) -> None:
    """As the one who is hammered counts it."""
    with hanging_up() as (listening, attempts):
        delivered, events = run(by, url_of(listening, "https"), LoadSpec(duration_s=TIME_S, concurrency=4))
        assert len(attempts) == delivered.failed
    assert 4 < delivered.failed <= TRIES * 4
    assert set(events.errors) <= {"tls", "connect", "reset"}
    assert delivered.pauses == delivered.failed


@pytest.mark.parametrize("by", DRIVERS)
def test_a_schedule_is_kept(by: Any) -> None:
    with refusing() as bound:
        spec = LoadSpec(duration_s=0.3, rate=500.0, arrivals="constant", concurrency=2)
        delivered, _ = run(by, url_of(bound), spec)
    assert delivered.failed == delivered.requests >= 149
    assert (delivered.pauses, delivered.paused_s) == (0, 0.0)


@pytest.mark.parametrize("by", DRIVERS)
def test_a_failure_with_a_connection_costs_no_pause(by: Any) -> None:
    async def busy(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(whole("503 Busy", {"error": {"message": "later"}}))

    async def go() -> Delivered:
        async with serving(busy) as server:
            spec = LoadSpec(duration_s=20.0, concurrency=1, max_requests=100)
            return (await drive(by, f"http://127.0.0.1:{server.port}", spec))[0]

    delivered = asyncio.run(asyncio.wait_for(go(), 60))
    assert delivered.failed == 100
    assert delivered.pauses == 0
    assert not any("no connection" in text for text in delivered.warnings)


@pytest.mark.parametrize("by", DRIVERS)
def test_a_server_that_comes_back_is_found(by: Any) -> None:
    """And the next failure in a row is the first again."""

    async def ok(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(whole("503 Busy", {"error": {"message": "later"}}))

    async def go() -> tuple[Delivered, Events]:
        with refusing() as bound:
            port = bound.getsockname()[1]
            spec = LoadSpec(duration_s=30.0, concurrency=2, max_requests=40)
            driving = asyncio.create_task(drive(by, url_of(bound), spec))
            await asyncio.sleep(0.1)
        async with serving(ok, port=port):
            return await driving

    delivered, events = asyncio.run(asyncio.wait_for(go(), 60))
    assert events.errors["connect"] == delivered.pauses < 20
    assert events.errors["http_5xx"] == 40 - delivered.pauses


def test_what_is_said_of_pauses() -> None:
    assert pauses_said(0, 0.0) == []
    (text,) = pauses_said(1234, 56.78)
    assert "1,234 times" in text
    assert "56.8 s" in text
