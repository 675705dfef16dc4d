"""ChatLoop: what a turn does, in order, and what it leaves when something goes wrong."""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from itertools import pairwise
from typing import Any

import pytest

from perfsuite import ChatLoop, PerformanceMonitor
from perfsuite.chatloop import calls, workers
from perfsuite.chatloop.calls import Outcome
from perfsuite.chatloop.loop import TurnRunning
from perfsuite.chatloop.model import ModelFailed, ModelReply, ModelTimeout, SimulatedModel
from perfsuite.chatloop.operations import EXPECTATIONS
from perfsuite.chatloop.sanitizing import InputRejected
from perfsuite.chatloop.tools import ToolCall, result_of

Ask = Callable[[ChatLoop, str], str]


def plain(loop: ChatLoop, text: str) -> str:
    return loop.run_iteration(text)


def awaited(loop: ChatLoop, text: str) -> str:
    return asyncio.run(loop.arun_iteration(text))


both = pytest.mark.parametrize("ask", [plain, awaited])


def wants(*calls: tuple[str, Any]) -> dict[str, Any]:
    """An answer that asks for tools, in OpenAI's form."""
    return {"content": None, "tool_calls": [{"id": f"c{i}", "function": {"name": name, "arguments": arguments}}
                                            for i, (name, arguments) in enumerate(calls)]}  # fmt: skip


class Script:
    """A model that gives prepared answers, and keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[list[dict[str, Any]]] = []

    def __call__(self, messages: list[dict[str, Any]]) -> Any:
        self.asked.append(messages)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@both
def test_a_turn_is_timed_step_by_step(ask: Ask) -> None:
    loop = ChatLoop("production")
    assert ask(loop, "My favourite colour is teal.")
    assert "teal" in ask(loop, "What is my favourite colour?")
    assert [message["role"] for message in loop.ctx.conversation_history] == ["user", "assistant"] * 2
    counts = {name: one.count for name, one in loop.monitor.statistics().items()}
    steps = ("input_validation", "content_sanitization", "context_injection", "llm_invocation", "complete_iteration")
    assert counts == dict.fromkeys(steps, 2)
    assert set(counts) <= set(EXPECTATIONS)
    data = loop.monitor.dashboard_data()
    assert (data["messages_per_minute"], data["error_rate"]) == (2, 0.0)
    assert loop.last_turn is not None
    assert loop.last_turn.own_ms <= loop.last_turn.elapsed_ms
    assert loop.last_turn.prompt_tokens


@both
def test_the_models_time_is_not_the_loops_own(ask: Ask) -> None:
    loop = ChatLoop(model=SimulatedModel(delay_s=0.05))
    ask(loop, "hello")
    assert loop.last_turn is not None
    assert loop.last_turn.elapsed_ms - loop.last_turn.own_ms >= 49.9
    assert loop.monitor.statistics()["llm_invocation"].max_ms >= 49.9


def test_an_async_model_is_awaited() -> None:
    async def model(messages: list[dict[str, Any]]) -> ModelReply:
        await asyncio.sleep(0)
        return ModelReply(f"{len(messages)} messages")

    loop = ChatLoop(model=model)
    assert asyncio.run(loop.arun_iteration("hello")) == "1 messages"
    with pytest.raises(TypeError, match="await arun_iteration"):
        loop.run_iteration("hello")
    assert len(loop.ctx.conversation_history) == 2


# ── input ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@both
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("\u202e\x00\x07", "empty"),
        ("x" * 100_001, "too_long"),
        (b"hello", "not_text"),
    ],
)
def test_a_message_that_is_not_taken_is_counted_and_leaves_nothing(ask: Ask, text: Any, reason: str) -> None:
    loop = ChatLoop("production")
    with pytest.raises(InputRejected) as rejected:
        ask(loop, text)
    assert rejected.value.reason == reason
    assert loop.ctx.conversation_history == []
    assert loop.monitor.dashboard_data()["error_rate"] == 1.0
    assert sum(one.failed for one in loop.monitor.statistics().values()) == 1
    ask(loop, "x" * 100_000)


def test_a_hundred_megabytes_are_refused_without_being_read() -> None:
    loop = ChatLoop("production")
    text = "a\u202e" * (50 << 20)
    began = time.process_time()
    with pytest.raises(InputRejected, match="104,857,600 characters"):
        loop.run_iteration(text)
    assert time.process_time() - began < 0.05, "half a second were read"


# ── the model ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@both
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (RuntimeError("out of memory"), "raised RuntimeError: out of memory"),
        (None, "object of type NoneType"),
        ({"content": 3}, "content is of type int"),
        ({"tool_calls": [{"function": {}}]}, "has no name"),
        ({"tool_calls": "x"}, "must be a list"),
    ],
)
def test_a_model_that_fails_leaves_the_history_as_it_was(ask: Ask, answer: Any, said: str) -> None:
    loop = ChatLoop(model=Script("fine", answer, "fine again"))
    ask(loop, "one")
    with pytest.raises(ModelFailed, match=said):
        ask(loop, "two")
    assert len(loop.ctx.conversation_history) == 2
    assert loop.monitor.statistics()["llm_invocation"].failed == 1
    assert ask(loop, "three") == "fine again"
    assert loop.monitor.dashboard_data()["error_rate"] == pytest.approx(1 / 3)


@both
def test_a_model_that_hangs_is_left_behind(ask: Ask) -> None:
    release = threading.Event()

    def model(messages: list[dict[str, Any]]) -> str:
        release.wait(30)
        return "late"

    before = workers.WORKERS.hanging
    loop = ChatLoop({"llm_timeout_s": 1.0}, model=model)
    with pytest.raises(ModelTimeout, match=r"after 1 s"):
        ask(loop, "hello")
    assert workers.WORKERS.hanging == before + 1
    release.set()
    for _ in range(2000):
        if workers.WORKERS.hanging == before:
            break
        time.sleep(0.005)
    assert workers.WORKERS.hanging == before
    assert loop.ctx.conversation_history == []
    loop.config.llm_timeout_s = 30.0
    assert ask(loop, "hello") == "late"


def test_an_async_model_that_hangs_is_cancelled() -> None:
    async def model(messages: list[dict[str, Any]]) -> str:
        await asyncio.sleep(60)
        return "late"

    loop = ChatLoop({"llm_timeout_s": 0.02}, model=model)
    with pytest.raises(ModelTimeout):
        asyncio.run(loop.arun_iteration("hello"))


def test_too_many_that_hang_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "MOST_HANGING", 2)
    release = threading.Event()
    loop = ChatLoop({"llm_timeout_s": 0.01}, model=lambda messages: str(release.wait(30)))
    try:
        for _ in range(2):
            with pytest.raises(ModelTimeout):
                loop.run_iteration("hello")
        said = "the model is not called: no worker free: 2 calls were given up and have not ended .*lambda> 2 times"
        with pytest.raises(ModelFailed, match=said):
            loop.run_iteration("hello")
        assert ChatLoop("production", model=lambda messages: "fine").run_iteration("hello") == "fine"
    finally:
        release.set()


@both
@pytest.mark.parametrize("in_all", [1024, 1])
def test_tools_that_hang_stop_neither_their_model_nor_another_loop(
    monkeypatch: pytest.MonkeyPatch, ask: Ask, in_all: int
) -> None:
    """However many hang in the process: who has none of them is called."""
    monkeypatch.setattr(workers, "MOST_HANGING", 3)
    monkeypatch.setattr(workers, "MOST_IN_PROCESS", in_all)
    release = threading.Event()
    tools = {"one": slow(release), "two": slow(release), "fine": lambda: "a result"}
    three = wants(("one", {}), ("one", {}), ("two", {}))
    config = {"parallel_tools": True, "tool_timeout_s": 0.05}
    loop = ChatLoop(config, model=Script(three, "so far", wants(("fine", {})), "no more"), tools=tools)
    other = ChatLoop({}, model=Script(wants(("fine", {})), "all is well"), tools=tools)
    try:
        assert ask(loop, "go") == "so far"
        assert ask(loop, "again") == "no more"
        assert loop.last_turn is not None
        (refused,) = loop.last_turn.tools
        assert refused.failed == "refused"
        assert "no worker free: 3 calls were given up and have not ended (one 2 times, two)" in refused.text
        assert ask(other, "go") == "all is well"
        assert other.last_turn is not None
        assert [result.text for result in other.last_turn.tools] == ["a result"]
    finally:
        release.set()


@both
def test_calls_under_way_count_as_soon_as_one_hangs(monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    """Those of one answer are begun together: as many as there is room for.  The control: none hangs, all are made."""
    monkeypatch.setattr(workers, "MOST_HANGING", 3)
    release = threading.Event()
    tools = {"hangs": slow(release), "fine": lambda: "a result"}
    four = [("hangs", {})] * 4
    config = {"parallel_tools": True, "tool_timeout_s": 0.05}
    answers = (wants(four[0]), "one", wants(*four), "three", wants(*four), "no more")
    loop = ChatLoop(config, model=Script(*answers), tools=tools)
    patient = {"parallel_tools": True, "tool_timeout_s": 60.0}
    sound = ChatLoop(patient, model=Script(wants(*[("fine", {})] * 5), "all"), tools=tools)
    try:
        assert ask(loop, "go") == "one"
        for answer, failed in (("three", ["timeout", "timeout", "refused", "refused"]), ("no more", ["refused"] * 4)):
            assert ask(loop, "go on") == answer
            assert loop.last_turn is not None
            assert [result.failed for result in loop.last_turn.tools] == failed
        assert ask(sound, "go") == "all"
        assert sound.last_turn is not None
        assert [result.failed for result in sound.last_turn.tools] == [None] * 5
    finally:
        release.set()


def test_a_system_without_more_threads_refuses_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    monkeypatch.setattr(calls, "WORKERS", workers.Workers())  # none is idle, and none of another test becomes so
    with pytest.raises(ModelFailed, match="no worker free: the system starts no more threads"):
        ChatLoop("production", model=lambda messages: "fine").run_iteration("hello")


def test_a_forked_child_has_threads_of_its_own() -> None:
    loop = ChatLoop("production", model=lambda messages: "fine")
    assert loop.run_iteration("hello") == "fine"  # by now a thread waits for calls
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(20)
            status = 0 if loop.run_iteration("hello") == "fine" else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@both
def test_one_turn_at_a_time(ask: Ask) -> None:
    loop = ChatLoop("production")
    heard: list[BaseException] = []

    def model(messages: list[dict[str, Any]]) -> str:
        try:
            loop.run_iteration("meanwhile")
        except BaseException as error:  # noqa: BLE001
            heard.append(error)
        return "fine"

    loop.model = model
    assert ask(loop, "hello") == "fine"
    assert [type(error) for error in heard] == [TurnRunning]
    assert len(loop.ctx.conversation_history) == 2


def test_a_turn_that_is_cancelled_leaves_nothing_and_the_loop_goes_on() -> None:
    async def model(messages: list[dict[str, Any]]) -> str:
        if len(messages) == 1:
            await asyncio.sleep(60)
        return "fine"

    async def all_of_it() -> None:
        loop = ChatLoop("production", model=model)
        task = asyncio.create_task(loop.arun_iteration("hello"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.ctx.conversation_history == []
        statistics = loop.monitor.statistics()["llm_invocation"]
        assert (statistics.failed, statistics.cancelled, statistics.running) == (0, 1, 0)
        loop.ctx.conversation_history.append({"role": "user", "content": "before"})
        assert await loop.arun_iteration("hello") == "fine"

    asyncio.run(all_of_it())


def test_a_call_that_is_cancelled_before_it_began_leaves_its_thread_to_others() -> None:
    mine, ran = workers.Workers(), threading.Event()
    before = sys.getswitchinterval()
    sys.setswitchinterval(60.0)  # so that the thread cannot take the call before it is cancelled
    try:
        cancelled = mine.start(workers.Owner(), ran.set).cancel()
    finally:
        sys.setswitchinterval(before)
    assert cancelled
    for _ in range(3):
        assert mine.start(workers.Owner(), lambda: "next").result(10) == "next"
    assert not ran.is_set()


def test_a_call_that_had_no_thread_when_its_time_was_over_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.WORKERS, "start", lambda *job: Future())
    loop = ChatLoop({"llm_timeout_s": 0.01}, model=Script("hello"))
    with pytest.raises(ModelTimeout, match=r"not back after 0\.01 s"):
        awaited(loop, "hello")
    assert loop.ctx.conversation_history == []


# ── tools ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def slow(release: threading.Event) -> Callable[[], str]:
    return lambda: str(release.wait(30))


@both
@pytest.mark.parametrize("parallel", [False, True])
def test_whatever_a_tool_does_the_model_is_told(ask: Ask, parallel: bool) -> None:
    release = threading.Event()

    def raises() -> None:
        raise KeyError("nothing there")

    def leaves() -> None:
        raise SystemExit(3)

    tools = {
        "add": lambda a, b: a + b,
        "text": lambda: "some text",
        "raises": raises,
        "leaves": leaves,
        "hangs": slow(release),
        "large": lambda: memoryview(mmap.mmap(-1, 1 << 30)),  # of which nothing is touched
        "long": lambda: "x" * 1_000_001,
        "list": lambda: ["y" * 100] * 20_000,
        "circle": lambda: (circle := [], circle.append(circle)) and circle,
        "promises": lambda: asyncio.sleep(0, "never seen"),  # what a wrapper gives that does not await
    }
    endless: dict[str, Any] = {}
    endless["a"] = endless
    calls = [
        ("add", '{"a": 2, "b": 3}'), ("text", ""), ("raises", "{}"), ("leaves", None), ("hangs", {}), ("large", {}),
        ("long", {}), ("list", {}), ("circle", {}), ("nowhere", {}), ("add", "{"), ("add", "[1]"), ("add", '{"a": 2}'),
        ("promises", {}), ("add", endless), ("add", {"a": {(1, 2): 3}}),
    ]  # fmt: skip
    model = Script(wants(*calls), "done")
    loop = ChatLoop({"parallel_tools": parallel, "tool_timeout_s": 1.0}, model=model, tools=tools)
    assert ask(loop, "go") == "done"
    release.set()
    assert loop.last_turn is not None
    assert [result.failed for result in loop.last_turn.tools] == [
        None, None, "raised", "raised", "timeout", "too_large", "too_large", "too_large", "not_text", "unknown",
        "arguments", "arguments", "raised", "not_text", "arguments", "arguments",
    ]  # fmt: skip
    told = [message["content"] for message in model.asked[1] if message["role"] == "tool"]
    assert told[:2] == ["5", "some text"]
    assert "KeyError" in told[2]
    assert "after 1 s" in told[4]
    assert "1,073,741,824 bytes" in told[5]
    assert "there is no tool 'nowhere'" in told[9]
    assert "give the async function itself" in told[13]
    assert all(len(text) < 1500 for text in told)
    statistics = loop.monitor.statistics()["tool_execution"]
    assert (statistics.count, statistics.failed, loop.tool_failures) == (16, 14, 14)
    assert ("tool_execution_parallel" in loop.monitor.statistics()) == parallel
    assert loop.ctx.conversation_history[1]["tool_calls"][0]["id"] == "c0"
    assert [m["role"] for m in loop.ctx.conversation_history] == ["user", "assistant", *["tool"] * 16, "assistant"]


class Ends(BaseException):
    pass


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), asyncio.CancelledError("mine"), ValueError("no")])
@pytest.mark.parametrize("timeout_s", [None, 60.0])
def test_what_a_tool_ends_with_ends_no_turn(error: BaseException, parallel: bool, timeout_s: float | None) -> None:
    async def raises() -> None:
        await asyncio.sleep(0)
        raise error

    def raises_plainly() -> None:
        raise error

    async def waits_for_what_is_cancelled() -> None:
        inner = asyncio.ensure_future(asyncio.sleep(60))
        inner.cancel()
        await inner

    tools = {"raises": raises, "plain": raises_plainly, "waits": waits_for_what_is_cancelled, "fine": lambda: "fine"}
    loop = ChatLoop(
        {"parallel_tools": parallel, "tool_timeout_s": timeout_s},
        model=Script(wants(*((name, {}) for name in tools)), "done"),
        tools=tools,
    )
    assert awaited(loop, "go") == "done"
    assert loop.last_turn is not None
    assert [result.failed for result in loop.last_turn.tools] == ["raised", "raised", "raised", None]
    assert type(error).__name__ in loop.last_turn.tools[0].text
    model = Script(wants(("plain", {})), "done")
    plainly = ChatLoop({"tool_timeout_s": timeout_s}, model=model, tools=[raises_plainly])
    plainly.tools["plain"] = raises_plainly
    assert plain(plainly, "go") == "done"


def test_a_parallel_tool_that_cancels_its_own_task_cancels_no_turn() -> None:
    async def cancels() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    model = Script(wants(("cancels", {}), ("fine", {})), "done")
    loop = ChatLoop({"parallel_tools": True}, model=model, tools={"cancels": cancels, "fine": lambda: "fine"})
    assert awaited(loop, "go") == "done"
    assert loop.last_turn is not None
    assert [result.failed for result in loop.last_turn.tools] == ["raised", None]


def test_a_turn_that_is_closed_ends_without_a_word() -> None:
    """The control of GeneratorExit: that of a coroutine which nobody goes on with is no tool's own."""
    closed = []

    async def model(messages: list[dict[str, Any]]) -> Any:
        return wants(("waits", {}))

    async def waits() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    async def begun() -> Coroutine[Any, Any, str]:
        turn = loop.arun_iteration("go")
        turn.send(None)
        return turn

    loop = ChatLoop(model=model, tools={"waits": waits})
    asyncio.run(begun()).close()
    assert closed == [True]
    assert loop.ctx.conversation_history == []
    assert loop.tool_failures == 0


@pytest.mark.parametrize("history", [("a", "b"), {"role": "user"}, None], ids=str)
def test_a_history_that_is_no_list_is_named(history: Any) -> None:
    loop = ChatLoop(model=Script("fine"))
    loop.ctx.conversation_history = history
    said = f"conversation_history is of type {type(history).__name__}; it must be a list of messages"
    with pytest.raises(TypeError, match=said):
        loop.run_iteration("hello")


@pytest.mark.parametrize("parallel", [False, True])
def test_ctrl_c_and_the_turns_own_cancellation_end_it(parallel: bool) -> None:
    """The negative control; and what is no error of Python's own is no tool's failure either."""
    loop: ChatLoop

    def asks(*tools: Callable[..., Any]) -> ChatLoop:
        calls = [(tool.__name__, {}) for tool in tools]
        return ChatLoop({"parallel_tools": parallel}, model=Script(wants(*calls), "done"), tools=tools)

    async def hangs() -> None:
        began.set()
        await asyncio.sleep(60)

    async def interrupts() -> None:
        raise KeyboardInterrupt

    async def ends() -> None:
        raise Ends

    async def cancelled() -> None:
        turn = asyncio.ensure_future(loop.arun_iteration("go"))
        await began.wait()
        turn.cancel()
        await turn

    began = asyncio.Event()
    loop = asks(hangs, hangs)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    with pytest.raises(KeyboardInterrupt):
        awaited(asks(interrupts, interrupts), "go")
    with pytest.raises(Ends):
        awaited(asks(ends, ends), "go")
    assert loop.ctx.conversation_history == []


def test_a_result_that_is_too_large_inside_is_not_written_out_first() -> None:
    call = ToolCall("tool", {}, "c0")
    value = {"rows": [{"text": "x" * 20_000_000}], "more": 1}
    tracemalloc.start()
    try:
        result = result_of(call, Outcome(value, None, 1.0), 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.failed == "too_large"
    assert peak < 1_000_000
    fine = result_of(call, Outcome({"rows": [1, None, "x" * 500]}, None, 1.0), 1000)
    assert (fine.failed, fine.text[:19]) == (None, '{"rows": [1, null, ')


@both
def test_tools_in_parallel_run_at_the_same_time(ask: Ask) -> None:
    together = threading.Barrier(5)  # opens only when all five are there at once

    def tool() -> str:
        together.wait(30)
        return "met"

    model = Script(wants(*[("tool", {})] * 5), "done")
    loop = ChatLoop({"parallel_tools": True}, model=model, tools=[tool])
    ask(loop, "go")
    assert loop.last_turn is not None
    assert [result.text for result in loop.last_turn.tools] == ["met"] * 5


def test_async_tools_run_in_the_loop() -> None:
    together = asyncio.Barrier(3)

    async def tool(n: int) -> int:
        await together.wait()
        return n

    model = Script(wants(*[("tool", {"n": n}) for n in range(3)]), "done")
    loop = ChatLoop({"parallel_tools": True}, model=model, tools={"tool": tool})
    assert awaited(loop, "go") == "done"
    assert loop.last_turn is not None
    assert [result.text for result in loop.last_turn.tools] == ["0", "1", "2"]


@both
def test_a_tool_in_turn_sees_the_one_before(ask: Ask) -> None:
    order: list[int] = []
    tools = {"tool": lambda n: (order.append(n), time.sleep(0.01 / (n + 1)))}
    loop = ChatLoop(model=Script(wants(*[("tool", {"n": n}) for n in range(4)]), "done"), tools=tools)
    ask(loop, "go")
    assert order == [0, 1, 2, 3]


@both
def test_limits_on_tools(ask: Ask) -> None:
    loop = ChatLoop({"max_tools": 2}, model=Script(wants(*[("tool", {})] * 4), "done"), tools={"tool": lambda: 1})
    ask(loop, "go")
    assert loop.last_turn is not None
    assert [result.failed for result in loop.last_turn.tools] == [None, None, "refused", "refused"]
    loop = ChatLoop({"max_tool_rounds": 2}, model=Script(*[wants(("tool", {}))] * 9), tools={"tool": lambda: 1})
    with pytest.raises(ModelFailed, match="in 3 answers in a row"):
        ask(loop, "go")
    assert loop.ctx.conversation_history == []
    with pytest.raises(TypeError, match="must be a function"):
        ChatLoop(tools={"tool": 3})  # type: ignore[dict-item]


# ── context ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@both
@pytest.mark.parametrize(("mode", "injected"), [("on", True), ("auto", True), ("off", False)])
def test_context_goes_to_the_model_and_not_into_the_history(ask: Ask, mode: str, injected: bool) -> None:
    model = Script("one", "two")
    loop = ChatLoop({"context_mode": mode}, model=model, context=lambda text: f"Known of {text!r}: nothing.")
    ask(loop, "hello")
    assert (model.asked[0][-1]["content"] != "hello") == injected
    assert loop.ctx.conversation_history[0]["content"] == "hello"
    ask(loop, "hello")
    assert (loop.context.hits, loop.context.misses) == ((1, 1) if injected else (0, 0))


def test_the_context_cache_is_bounded() -> None:
    loop = ChatLoop({"context_cache_size": 10}, model=lambda messages: "x", context=lambda text: text * 2)
    for i in range(50):
        loop.run_iteration(f"hello {i}")
    assert len(loop.context) == 10
    loop.run_iteration("y" * 70_000)
    assert len(loop.context) == 10
    loop._cleanup_memory()
    assert len(loop.context) == 0
    without = ChatLoop({"context_cache_size": 0}, model=lambda messages: "x", context=lambda text: text)
    without.run_iteration("a")
    without.run_iteration("a")
    assert (without.context.hits, without.context.misses) == (0, 2)


def test_auto_leaves_slow_context_out_for_a_while() -> None:
    asked: list[str] = []

    def lookup(text: str) -> str:
        asked.append(text)
        time.sleep(0.002)
        return "context"

    for mode, expected in (("auto", 2), ("on", 12)):
        asked.clear()
        config = {"context_mode": mode, "context_budget_ms": 1.0}
        loop = ChatLoop(config, model=lambda messages: "x", context=lookup)
        for i in range(12):
            loop.run_iteration(f"hello {i}")
        assert len(asked) == expected
        assert loop.context.skipped == 12 - expected


@both
def test_context_that_cannot_be_looked_up_fails_the_turn(ask: Ask) -> None:
    def lookup(text: str) -> str:
        raise ConnectionError("no index")

    loop = ChatLoop(model=lambda messages: "x", context=lookup)
    with pytest.raises(ConnectionError):
        ask(loop, "hello")
    assert loop.monitor.statistics()["context_injection"].failed == 1
    assert loop.ctx.conversation_history == []


# ── the history ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("preset", ["development", "production", "high-throughput"])
def test_the_history_is_trimmed_by_the_guides_thresholds(preset: str) -> None:
    loop = ChatLoop(preset, model=lambda messages: "x")
    config = loop.config
    lengths = []
    for i in range(4 * config.max_history_pairs):
        loop.run_iteration(f"message {i}")
        lengths.append(len(loop.ctx.conversation_history))
    trigger = config.max_safe_size * config.trim_threshold
    assert max(lengths) <= trigger
    after = [b for a, b in pairwise(lengths) if b < a]
    assert set(after) == {2 * int(config.max_history_pairs * config.safe_trim_level)}
    assert len(after) == loop.trims == loop.monitor.statistics()["memory_trimming"].count
    assert loop.ctx.conversation_history[-2]["content"] == f"message {i}"


def test_turns_with_many_messages_are_trimmed_to_the_same_level() -> None:
    """Else a history of tool calls would be above the threshold after every trim, and trimmed in every turn."""
    calls = wants(*[("tool", {})] * 5)
    loop = ChatLoop(
        {"max_history_pairs": 10},
        model=lambda messages: calls if messages[-1]["role"] == "user" else "done",
        tools={"tool": lambda: "result"},
    )
    for i in range(50):
        loop.run_iteration(f"message {i}")
        assert len(loop.ctx.conversation_history) <= 1.5 * loop.config.max_safe_size
    assert loop.trims < 50 / 2
    assert loop.ctx.conversation_history[0]["role"] == "user"


def test_above_the_emergency_threshold_it_is_trimmed_before_the_turn() -> None:
    model = Script("x")
    loop = ChatLoop({"max_history_pairs": 10, "system_prompt": "Be brief."}, model=model)
    loop.ctx.conversation_history += [{"role": ("user", "assistant")[i % 2], "content": str(i)} for i in range(500)]
    loop.run_iteration("hello")
    assert len(model.asked[0]) == 1 + 24 + 1
    assert model.asked[0][0]["content"] == "Be brief."


def test_the_log_says_what_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "perfsuite.chatloop")
    reply = {"content": "fine", "usage": {"prompt_tokens": 7, "completion_tokens": 2}, "reasoning": "because"}
    for shown in (True, False):
        caplog.clear()
        config = {"show_token_usage": shown, "show_llm_reasoning": shown, "show_tool_details": shown}
        loop = ChatLoop(config, model=Script(wants(("tool", {"n": 1})), reply), tools={"tool": lambda n: "x" * n})
        loop.run_iteration("hello")
        expected = ['tool tool({"n": 1})', "tokens: 7 prompt, 2 completion", "reasoning: because"] if shown else []
        assert len(caplog.messages) == len(expected)
        assert all(message.startswith(text) for message, text in zip(caplog.messages, expected, strict=True))


def test_without_monitoring_nothing_is_timed() -> None:
    monitor = PerformanceMonitor()
    loop = ChatLoop({"performance_monitoring": False}, monitor=monitor)
    loop.run_iteration("hello")
    assert monitor.statistics() == {}
    assert loop.last_turn is not None
