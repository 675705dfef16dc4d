"""What the client itself cost is told where its process is not the system's too."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import count

import pytest

from perfsuite._core import Events
from perfsuite.loadgen import Delivered, LoadSpec, drive
from perfsuite.suites.outcome import delivered as told
from perfsuite.suites.session import Stretch
from perfsuite.targets.base import Reply, Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget
from served import Asked, chunked, delta, serving, sse


def requests() -> Iterator[Request]:
    for i in count():
        yield Request(message="m", messages=[{"role": "user", "content": "m"}], user_id="u", conversation_id=f"c{i}")


def driven(usage: bool) -> tuple[Delivered, float]:
    """A load of 20 answers of three chunks, or of 7 tokens where the server tells; and the CPU of this process."""
    counted = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}
    answer = chunked(*sse(delta("a"), delta("b"), delta("c"), *([counted] if usage else []), "[DONE]"))

    async def answers(asked: Asked, writer: object) -> None:
        writer.write(answer)  # type: ignore[attr-defined]

    async def go() -> tuple[Delivered, float]:
        async with serving(answers) as server:
            address = parse_address(server.url, "a test")
            target = ChatTarget("openai", address, None, {"m": address})

            async def nobody() -> None:
                """Whom it asks which models there are."""

            target._look = nobody  # type: ignore[method-assign]
            await target.open()
            target._served[address].tried = True
            before = time.process_time()
            try:
                spec = LoadSpec(duration_s=30.0, warmup_s=1e-3, concurrency=2, max_requests=20)
                return await drive(target, requests(), spec, Events(warmup_ns=1_000_000)), time.process_time() - before
            finally:
                await target.close()

    return asyncio.run(asyncio.wait_for(go(), 60))


@pytest.mark.parametrize(("usage", "each"), [(False, 3), (True, 7)])
def test_the_cpu_and_the_tokens_are_of_the_whole_load(usage: bool, each: int) -> None:
    """The warm-up's too: it was paid for."""
    delivered, used = driven(usage)
    assert delivered.completed + delivered.warmup == 20
    assert delivered.answered == 20 * each
    assert 0.0 < delivered.cpu_s <= used


def test_a_python_target_is_counted_too() -> None:
    class Answering:
        name, simulated, inspection, models = "fake", (), None, ("m",)

        async def send(self, request: Request, row: object) -> Reply:
            end = time.process_time() + 0.002
            while time.process_time() < end:
                pass
            return Reply(text="ok", prompt_tokens=3, completion_tokens=2)

    async def go() -> Delivered:
        spec = LoadSpec(duration_s=30.0, concurrency=1, max_requests=10)
        return await drive(Answering(), requests(), spec, Events())  # type: ignore[arg-type]

    delivered = asyncio.run(go())
    assert (delivered.answered, delivered.tokens) == (20, 50)
    assert delivered.cpu_s >= 0.02


def stretch(*, cpu_s: float, answered: int, process_cpu_s: float | None) -> Stretch:
    one = Stretch("held", LoadSpec(duration_s=1.0, concurrency=1), Events(), {}, process_cpu_s=process_cpu_s)
    one.delivered = Delivered(
        max_in_flight=1, rate=1.0, requests=1, completed=1, failed=0, duration_s=1.0, sent=1, tokens=9,
        cpu_s=cpu_s, answered=answered,
    )  # fmt: skip
    return one


def test_the_result_adds_the_stretches_up() -> None:
    found = told([stretch(cpu_s=0.5, answered=60_000, process_cpu_s=1.0),
                  stretch(cpu_s=0.25, answered=40_000, process_cpu_s=1.5)])  # fmt: skip
    assert found["client_cpu"] == {"driving_s": 0.75, "tokens": 100_000, "ms_per_1000_tokens": 7.5, "process_s": 1.5}
    found = told([stretch(cpu_s=0.5, answered=0, process_cpu_s=1.0)])
    assert found["client_cpu"] == {"driving_s": 0.5, "tokens": 0, "ms_per_1000_tokens": None, "process_s": 1.0}


def test_a_system_in_this_process_has_no_client_cpu() -> None:
    assert "client_cpu" not in told([stretch(cpu_s=0.5, answered=10, process_cpu_s=None)])
