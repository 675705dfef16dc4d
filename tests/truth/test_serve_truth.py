"""Does the server know the truth about itself?  Held against what its clients see, and against its own mistakes."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from itertools import pairwise
from typing import Any

import pytest

from perfsuite.serve.options import ModelDelays
from perfsuite.serve.stamps import Stamps
from perfsuite.serve.truth import Truth
from serving import CHAT, Client, chat, serving, truth

ON_LINUX = sys.platform == "linux"
SLOW = (ModelDelays("slow", 5, 2),)


def test_a_token_is_never_early_and_never_seen_before_it_was_sent() -> None:
    async def run() -> tuple[list[dict[str, Any]], list[list[int]]]:
        async with serving(models=SLOW, tokens=20) as server:

            async def one() -> list[int]:
                async with Client(server) as client:
                    data = json.dumps(chat()).encode()
                    seen = [time.monotonic_ns()]
                    client.writer.write(
                        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data)
                        + data
                    )
                    heard = b""
                    while not heard.endswith(b"0\r\n\r\n"):
                        before = heard.count(b'"delta":{"content"')
                        heard += await asyncio.wait_for(client.reader.read(65536), 30)
                        now = time.monotonic_ns()
                        seen += [now] * (heard.count(b'"delta":{"content"') - before)
                    return seen

            seen = await asyncio.gather(*(one() for _ in range(8)))
            async with Client(server) as client:
                return await truth(client), list(seen)

    rows, seen = asyncio.run(run())
    assert len(rows) == 8
    for row in rows:
        offsets = row["sent_offsets_ns"]
        assert len(offsets) == 20
        for index, offset in enumerate(offsets):
            assert offset >= 5e6 + index * 2e6, "sent before it was due"
        assert all(later > earlier for earlier, later in pairwise(offsets))
    # Whichever client a row belongs to: sorted, tokens were seen after they were sent, requests sent before they came.
    received = sorted(row["received_ns"] for row in rows)
    assert all(at >= before for at, before in zip(received, sorted(one[0] for one in seen), strict=True))
    sent = sorted(row["received_ns"] + offset for row in rows for offset in row["sent_offsets_ns"])
    arrived = sorted(at for one in seen for at in one[1:])
    assert all(saw >= left for saw, left in zip(arrived, sent, strict=True))


@pytest.mark.skipif(not ON_LINUX, reason="the kernel's stamps are Linux's")
def test_a_server_that_wakes_late_still_knows_when_the_request_came() -> None:
    """The event loop is blocked for 60 ms while the request arrives: the kernel's stamp is from before the block's end,
    one taken after the read is not (the negative control)."""

    async def run(kernel: bool) -> tuple[int, int, dict[str, Any]]:
        async with serving(kernel_stamps=kernel) as server:
            port = int(server.url.rpartition(":")[2])
            async with Client(server) as warm:
                await warm.ask("/health", method="GET")  # stamping has begun, the listener is accepting
                data = json.dumps(chat(stream=False)).encode()
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    await warm.ask("/health", method="GET")
                    sock.sendall(
                        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(data))
                    )
                    sock.sendall(data)
                    sent = time.monotonic_ns()
                    time.sleep(0.06)  # noqa: ASYNC251
                    woke = time.monotonic_ns()
                    await warm.ask("/health", method="GET")
                    while not (rows := await truth(warm)) or rows[0]["end"] == "open":  # noqa: ASYNC110
                        await asyncio.sleep(0.002)
                return sent, woke, rows[0]

    sent, woke, row = asyncio.run(run(kernel=True))
    if row["received_by"] != "kernel":
        pytest.skip("this kernel gives no receive stamps")
    assert row["received_ns"] < sent + 5_000_000
    sent, woke, row = asyncio.run(run(kernel=False))
    assert row["received_by"] == "process"
    assert row["received_ns"] >= woke > sent + 50_000_000


@pytest.mark.skipif(not ON_LINUX, reason="the kernel's stamps are Linux's")
def test_every_send_has_a_stamp_of_the_kernels() -> None:
    async def run(kernel: bool) -> list[dict[str, Any]]:
        async with serving(kernel_stamps=kernel, models=(ModelDelays("m", 0, 0.2),), tokens=300) as server:

            async def one() -> None:
                async with Client(server) as client:
                    for _ in range(2):
                        assert (await client.ask(CHAT, chat())).complete

            await asyncio.gather(*(one() for _ in range(4)))
            async with Client(server) as client:
                return await truth(client)

    rows = asyncio.run(run(kernel=True))
    if any(row["sent_by"] == "process" for row in rows):
        pytest.skip("this kernel gives no send stamps")
    assert all(row["sent_by_kernel"] == 300 for row in rows)
    assert all(row["sent_merged"] < row["sent_by_kernel"] for row in rows)
    assert all(later >= earlier for row in rows for earlier, later in pairwise(row["sent_offsets_ns"]))
    assert {row["sent_by"] for row in asyncio.run(run(kernel=False))} == {"process"}


def test_a_late_token_does_not_make_the_next_ones_late() -> None:
    """The loop is blocked for 40 ms in mid-stream: what was due goes out late, and then the schedule holds again."""

    async def run() -> dict[str, Any]:
        async with serving(models=SLOW, tokens=60) as server, Client(server) as client:
            asking = asyncio.create_task(client.ask(CHAT, chat()))
            while not server.counts.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.02)
            time.sleep(0.04)  # noqa: ASYNC251
            await asking
            return (await truth(client))[0]

    row = asyncio.run(run())
    lateness = [offset - (5e6 + index * 2e6) for index, offset in enumerate(row["sent_offsets_ns"])]
    assert max(lateness) >= 30e6
    assert min(lateness[40:]) < 30e6, "the end of the stream is on schedule again"


def test_the_summary_is_that_of_the_rows() -> None:
    async def run() -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
        async with serving(models=SLOW, tokens=12) as server, Client(server) as client:
            for _ in range(5):
                await client.ask(CHAT, chat())
            await client.ask(CHAT, chat(), headers={"x-perfsuite-fault": "503"})
            rows = await truth(client)
            summary = (await client.ask("/truth/summary", method="GET")).json()
            assert (await client.ask("/truth/reset", method="GET")).status == 405
            assert (await client.ask("/truth/reset")).json() == {"reset": True}
            after = (await client.ask("/truth/summary", method="GET")).json()
            return rows, summary, after, await truth(client)

    rows, summary, after, none = asyncio.run(run())
    assert summary["requests"] == len(rows) == 6
    assert summary["ended"] == {"complete": 5, "refused": 1}
    gaps = sorted((b - a) / 1e6 for row in rows for a, b in pairwise(row["sent_offsets_ns"]))
    assert summary["itl_ms"]["count"] == len(gaps) == 55
    assert summary["itl_ms"]["max"] == pytest.approx(gaps[-1])
    assert summary["itl_ms"]["p50"] == pytest.approx(gaps[27], rel=1e-3)
    firsts = sorted(row["sent_offsets_ns"][0] / 1e6 for row in rows if row["sent_offsets_ns"])
    assert summary["ttft_ms"]["min"] == pytest.approx(firsts[0])
    assert summary["ttft_ms"]["p50"] == pytest.approx(firsts[2], rel=1e-3)
    assert after["requests"] == 0
    assert after["itl_ms"] == {"count": 0}
    assert none == []


def test_requests_are_found_by_their_id_and_number() -> None:
    async def run() -> list[list[dict[str, Any]]]:
        async with serving(tokens=1) as server, Client(server) as client:
            for index in range(4):
                heard = await client.ask(CHAT, chat(), headers={"x-request-id": f"mine-{index}"})
                assert heard.headers["x-request-id"] == f"mine-{index}"
            found = []
            for query in ("", "?since=2", "?id=mine-1", "?id=none"):
                lines = (await client.ask(f"/truth{query}", method="GET")).body.splitlines()
                found.append([json.loads(line) for line in lines[1:]])
                assert json.loads(lines[0])["requests"] == len(lines) - 1
            assert (await client.ask("/truth?since=x", method="GET")).status == 400
            return found

    every, later, one, none = asyncio.run(run())
    assert [row["id"] for row in every] == [f"mine-{index}" for index in range(4)]
    assert [row["seq"] for row in later] == [2, 3]
    assert [row["id"] for row in one] == ["mine-1"]
    assert none == []


def test_the_ring_is_bounded_by_requests_and_by_stamps() -> None:
    kept = Truth(most_requests=10, most_stamps=35)
    for index in range(30):
        record = kept.begin(str(index), "/", 1000, True)
        record.stream = True
        for at in range(2000, 7000, 1000):
            record.sent(at)
        kept.end(record, "complete")
        kept.end(record, "gone")
    rows = [json.loads(line) for line in kept.rows()][1:]
    assert [row["id"] for row in rows] == [str(index) for index in range(23, 30)], "7 of 5 stamps each"
    summary = kept.summary()
    assert (summary["requests"], summary["dropped"], summary["ended"]) == (30, 23, {"complete": 30})
    for index in range(15):
        kept.begin(str(index), "/", 1000, True)
    assert len(list(kept.rows())) == 11


def test_a_stamp_across_a_step_of_the_clock_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    real = [time.time_ns()]
    mono = [5_000_000_000]
    monkeypatch.setattr("time.time_ns", lambda: real[0])
    monkeypatch.setattr("time.monotonic_ns", lambda: mono[0])
    stamps = Stamps()

    def stamp(ago_ns: int) -> int | None:
        seconds, rest = divmod(real[0] - ago_ns, 1_000_000_000)
        return stamps.convert(seconds.to_bytes(8, sys.byteorder) + rest.to_bytes(8, sys.byteorder), mono[0])

    assert stamp(1_000) == mono[0] - 1_000
    assert stamps.steps == 0
    real[0] += 3_600_000_000_000  # somebody sets the clock
    assert stamp(1_000) is None
    assert stamps.steps == 1
    mono[0] += 1_000_000_000
    real[0] += 1_000_000_000
    stamp(1_000)
    assert stamp(1_000) == mono[0] - 1_000, "the new offset is known"


def test_sends_that_left_in_one_packet_share_its_stamp() -> None:
    record = Truth().begin("x", "/", 0, True)
    for index in range(6):
        record.sent(1_000 * index, key=100 * index)
    record.settle([(0, 7), (300, 9_000), (50, 1), (400, 9_500)])
    assert list(record.sent_ns) == [7, 9_000, 9_000, 9_000, 9_500, 5_000]
    assert (record.by_kernel, record.merged) == (5, 2)
    assert record.row()["sent_by"] == "mixed"
    record.settle([(700, 11_000)])  # the stream's last event left in the same packet
    assert (record.sent_ns[5], record.merged, record.awaits) == (11_000, 3, False)


def test_the_kernels_numbers_wrap() -> None:
    record = Truth().begin("x", "/", 0, True)
    for index, key in enumerate((0xFFFFFF00, 0xFFFFFFF0, 0x10, 0x20)):
        record.sent(index, key)
    record.settle([(0x10, 70), (0xFFFFFF00, 99)])
    assert list(record.sent_ns) == [70, 70, 70, 3]
