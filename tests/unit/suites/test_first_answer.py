"""The message before a run: what came of it, at a service that answers, fails or never does."""

from __future__ import annotations

import asyncio

import pytest

from perfsuite import runner
from perfsuite.configuration import configure
from perfsuite.plan import Plan
from perfsuite.suites.first_answer import ITSELF, First, characters, first_answer, typical
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget
from served import Answering, Asked, chunked, delta, serving, sse, whole

USAGE = {"choices": [], "usage": {"prompt_tokens": 70, "completion_tokens": 2}}
ANSWER = chunked(*sse(delta("a"), delta("b"), USAGE, "[DONE]"))


def plan_of(**flags: object) -> Plan:
    return configure({"target": "http://127.0.0.1:1", "prompt_tokens": "50", **flags}, environment={})


def came_of(body: bytes | None, plan: Plan, stop_after_s: float | None = None) -> tuple[First, int] | None:
    """What comes of it at a service that answers so; None: that never answers."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": [{"id": "m1"}]}))
        elif body is None:
            await asyncio.sleep(60)
        else:
            writer.write(body)

    async def go() -> tuple[First, int] | None:
        async with serving(answer) as server:
            address = parse_address(server.url, "a test")
            target = ChatTarget("openai", address, None, {"m1": address})
            await target.open()
            stop = asyncio.Event()
            if stop_after_s is not None:
                asyncio.get_running_loop().call_later(stop_after_s, stop.set)
            try:
                return await first_answer(target, plan, stop)
            finally:
                await target.close()

    return asyncio.run(asyncio.wait_for(go(), 30))


def test_an_answer_tells_its_tokens_and_its_time() -> None:
    plan = plan_of()
    one = typical(plan)
    assert one is not None
    found = came_of(ANSWER, plan)
    assert found is not None
    first, spent = found
    assert first.failure is None
    assert first.seconds > 0.0
    assert first.prompt_tokens == round(70 * one.share)
    assert (first.completion_tokens, spent) == (2, 72)


def test_a_typical_message_is_about_as_long_as_the_mean_and_nobody_s() -> None:
    one = typical(plan_of(prompt_tokens="50±20"))
    assert one is not None
    assert 0.8 < one.share < 1.25
    assert characters(one.request) > 100
    assert (one.request.user_id, one.request.conversation_id) == (ITSELF, ITSELF)


def test_what_fails_is_told_and_a_stop_is_heard() -> None:
    found = came_of(whole("404 Not Found", {"detail": "no such path"}), plan_of())
    assert found is not None
    assert found[0].failure is not None
    assert "404" in found[0].failure
    found = came_of(None, plan_of(request_timeout="100ms"))
    assert found is not None
    assert found[0].failure == "no answer within 0.1 s"
    assert came_of(None, plan_of(), stop_after_s=0.05) is None


@pytest.mark.parametrize("announced", [True, False])
def test_it_is_within_the_run_s_limits_and_only_for_who_wants_to_say_it(announced: bool) -> None:
    came: list[str] = []
    said: list[First] = []

    async def service(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "GET":
            writer.write(whole("200 OK", {"data": [{"id": "m1"}]}))
            return
        came.append(asked.path)
        writer.write(ANSWER)

    async def go(answer: Answering) -> None:
        async with serving(answer) as server:
            plan = plan_of(target=server.url, phase=["baseline"], duration="20s", max_requests="9", concurrency="1")
            await runner.execute_async(plan, announce=said.append if announced else None)

    asyncio.run(asyncio.wait_for(go(service), 60))
    assert len(said) == announced
    assert 9 <= len(came) <= 10  # and the engine's own message, which finds out what the service takes
