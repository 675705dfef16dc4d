"""What a service gets to read: the prompts as they arrive over HTTP, by the wire engine and by the client in Python."""

from __future__ import annotations

import asyncio
import json
from itertools import combinations, count, takewhile
from typing import Any, Literal

import pytest

from perfsuite._core import Events
from perfsuite.loadgen import LoadSpec, drive, driver
from perfsuite.plan import Workload
from perfsuite.targets.base import Reply, Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget
from perfsuite.workloads.requests import requests
from served import Asked, chunked, delta, serving, sse, whole

SENT = 16


def prompts(workload: Workload, by: Any) -> list[list[dict[str, str]]]:
    """The messages of each request that arrived, in order."""

    async def main() -> list[list[dict[str, str]]]:
        numbers = count()

        async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
            if asked.method == "GET":
                writer.write(whole("200 OK", {"data": [{"id": "m"}]}))
                return
            writer.write(chunked(*sse(delta(f"answer {next(numbers)}"), "[DONE]")))

        async with serving(answer) as server:
            target = ChatTarget("openai", parse_address(server.url, "a test"), None, {})
            await target.open()
            source = requests(3, slots=2, workload=workload)

            def on_reply(request: Request, reply: Reply | None, *_: object) -> None:
                source.answered(request, reply)

            spec = LoadSpec(duration_s=20.0, concurrency=2, max_requests=SENT)
            more = {"answers": True} if by is drive else {}
            delivered = await by(target, source, spec, Events(), on_reply, **more)
            await target.close()
            assert delivered.completed == SENT
            bodies = [json.loads(asked.body) for asked in server.asked if asked.method == "POST"]
            return [body["messages"] for body in bodies]

    return asyncio.run(main())


def common(one: list[dict[str, str]], other: list[dict[str, str]]) -> int:
    """Characters that two prompts share at the beginning."""
    texts = ("".join(f"<{m['role']}>{m['content']}" for m in messages) for messages in (one, other))
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))


@pytest.mark.parametrize("by", [drive, driver.drive], ids=["wire", "python"])
@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_a_cold_prefix_cache_has_nothing_to_find(cache: Literal["cold", "warm"], by: Any) -> None:
    arrived = prompts(Workload(prefix_cache=cache, turns=4), by)
    shared = max(common(one, other) for one, other in combinations(arrived, 2))
    if cache == "cold":
        assert shared < len("<user>[") + 12
    else:  # the negative control
        assert shared > 50


@pytest.mark.parametrize("by", [drive, driver.drive], ids=["wire", "python"])
def test_the_next_turn_has_the_answers_that_the_service_gave(by: Any) -> None:
    arrived = prompts(Workload(turns=4), by)
    sizes = [len(messages) for messages in arrived]
    assert set(sizes) == {1, 3, 5, 7}
    for messages in arrived:
        answers = [m["content"] for m in messages if m["role"] == "assistant"]
        assert all(text.startswith("answer ") for text in answers)
        assert len(set(answers)) == len(answers)
