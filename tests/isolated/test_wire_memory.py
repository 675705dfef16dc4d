"""A load over the wire keeps nothing of the requests that have ended: an hour needs no more memory than a minute."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsuite._core import Events
from perfsuite.loadgen import LoadSpec, drive
from perfsuite.suites.selfcheck.served import serving
from perfsuite.targets.base import Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")

FIRST, LAST = 1000, 5000
KEPT_BYTES = 64 << 10
RESIDENT_BYTES = 4 << 20
"""Of the engine too, whose allocations tracemalloc does not see.  A kept request would be 4,000 times 1 KB at least."""


def requests() -> Iterator[Request]:
    number = 0
    while True:
        number += 1
        text = f"message {number} " + "x" * 1000
        yield Request(message=text, messages=[{"role": "user", "content": text}], user_id="u", conversation_id="c")


def resident() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) << 10


def growth(keep: bool) -> tuple[int, int]:
    """Bytes of Python's, and of the process, that 4,000 requests left behind in mid-load."""
    marks: list[tuple[int, int]] = []
    kept: list[object] = []
    ended = 0

    def on_reply(*arguments: object) -> None:
        nonlocal ended
        ended += 1
        if keep:
            kept.append(arguments)
        if ended in (FIRST, LAST):
            gc.collect()
            marks.append((tracemalloc.get_traced_memory()[0], resident()))

    async def go() -> None:
        with serving(paces_ms=[0.1], tokens=1, tokens_per_chunk=1, tls=False, longest_s=120.0) as server:
            address = parse_address(server.url, "a test")
            target = ChatTarget("openai", address, None, {"check-0.1": address})
            await target.open()
            spec = LoadSpec(duration_s=100.0, concurrency=32, max_requests=LAST + 100)
            tracemalloc.start()
            try:
                delivered = await drive(target, requests(), spec, Events(precision=5, blocks=2), on_reply=on_reply)
            finally:
                tracemalloc.stop()
                await target.close()
            assert delivered.wire["ended"] == LAST + 100

    asyncio.run(go())
    (traced, held), (traced_then, held_then) = marks
    return traced_then - traced, held_then - held


def test_nothing_is_kept_of_a_request_that_has_ended() -> None:
    traced, held = growth(keep=False)
    assert traced < KEPT_BYTES
    assert held < RESIDENT_BYTES
    traced, _ = growth(keep=True)  # the negative control
    assert traced > (LAST - FIRST) * 1000
