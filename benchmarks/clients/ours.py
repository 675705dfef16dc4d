"""perfsuite, as ``run`` drives a chat service: the wire engine; with ``asyncio`` as last argument, its other client."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

from report import arguments, body, ident

from perfsuite._core import Events
from perfsuite.loadgen import LoadSpec, drive, driver
from perfsuite.targets.base import Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget

LONGEST_S = 280.0


def requests(streams: int, rounds: range, of: int, tokens: int) -> Iterator[Request]:
    """Each stream's, round by round."""
    messages = body(tokens)["messages"]
    for turn in rounds:
        for stream in range(streams):
            name, _ = ident(stream, turn, of)
            yield Request(
                message="", messages=messages, user_id="u", conversation_id="c", model="paced",  # type: ignore[arg-type]
                max_tokens=tokens, headers=(("X-Request-Id", name),),
            )  # fmt: skip


async def main() -> None:
    url, streams, rounds, tokens = arguments()
    address = parse_address(url, "the server")
    target = ChatTarget("openai", address, None, {"paced": address})
    drives = driver.drive if sys.argv[5:] == ["asyncio"] else drive
    await target.open()
    received = errors = 0
    warmup = range(0 if rounds == 1 else 1)
    for turns in (warmup, range(len(warmup), rounds)):
        events = Events()
        spec = LoadSpec(
            duration_s=LONGEST_S,
            concurrency=streams,
            max_requests=max(1, streams * len(turns)),
            request_timeout_s=120.0,
        )
        await drives(target, requests(streams, turns, rounds, tokens), spec, events)
        received += events.histogram("itl").count + events.histogram("service_ttft").count
        errors += events.failed
    await target.close()
    (ttft_p50, ttft_p99), (itl_p50, itl_p99) = (
        events.histogram(name).quantiles([0.5, 0.99]) for name in ("service_ttft", "itl")
    )
    told = {"ttft_p50": ttft_p50, "ttft_p99": ttft_p99, "itl_p50": itl_p50, "itl_p99": itl_p99}
    told |= {"tokens": received, "held": events.max_in_flight, "errors": errors, "marked": True}
    print(json.dumps(told))


asyncio.run(main())
