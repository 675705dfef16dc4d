from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from perfsuite._core import Events
from perfsuite.errors import UsageError
from perfsuite.plan import ModelChoice, Plan
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.targets import check_target, open_target
from perfsuite.targets.base import Failure, Reply, Request, Target
from perfsuite.targets.function import FunctionTarget, load_function
from perfsuite.targets.reference import ReferenceTarget
from perfsuite.targets.threads import DaemonThreads


def request(text: str = "hello", **fields: Any) -> Request:
    given: dict[str, Any] = {
        "messages": [{"role": "user", "content": text}],
        "user_id": "u",
        "conversation_id": "c",
        **fields,
    }
    return Request(message=text, **given)


async def send(target: Target, one: Request | None = None) -> tuple[Reply, Events]:
    events = Events()
    row = events.begin(time.monotonic_ns())
    reply = await target.send(one or request(), row)
    row.end(0)
    return reply, events


def call(function: Any, one: Request | None = None) -> tuple[Reply, Events]:
    async def run() -> tuple[Reply, Events]:
        target = FunctionTarget(function, "m:f")
        await target.open()
        try:
            return await send(target, one)
        finally:
            await target.close()

    return asyncio.run(run())


def plain(messages: list[dict[str, Any]]) -> str:
    return str(messages[-1]["content"])[::-1]


async def awaited(messages: list[dict[str, Any]]) -> str:
    await asyncio.sleep(0)
    return plain(messages)


def pieces(messages: list[dict[str, Any]]) -> Iterator[str]:
    yield from ("ol", "", "leh")


async def async_pieces(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    for piece in pieces(messages):
        yield piece


class Called:
    async def __call__(self, messages: list[dict[str, Any]]) -> str:
        return plain(messages)


def gives_coroutine(messages: list[dict[str, Any]]) -> Any:
    return awaited(messages)


@pytest.mark.parametrize(
    ("function", "chunks"),
    [(plain, 1), (awaited, 1), (pieces, 2), (async_pieces, 2), (Called(), 1), (gives_coroutine, 1)],
)
def test_every_kind_of_function(function: Any, chunks: int) -> None:
    reply, events = call(function)
    assert reply.text == "olleh"
    assert reply.context is None
    assert events.chunks == chunks


@pytest.mark.parametrize(
    ("result", "says"),
    [(None, "None"), (7, "type int"), (b"x", "type bytes"), (["a"], "type list"), (iter([1]), "piece of an object")],
)
def test_what_is_no_answer_is_a_failure_that_names_it(result: Any, says: str) -> None:
    with pytest.raises(Failure, match=says) as caught:
        call(lambda messages: result)
    assert caught.value.kind == "target"


def test_the_functions_own_error_passes_through() -> None:
    def fail(messages: Any) -> str:
        raise KeyError("customer")

    with pytest.raises(KeyError, match="customer"):
        call(fail)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration("no more")])
def test_a_plain_function_cannot_end_the_run(error: BaseException) -> None:
    def fail(messages: Any) -> str:
        raise error

    with pytest.raises(Failure, match=type(error).__name__) as caught:
        call(fail)
    assert caught.value.kind == "target"


def test_a_function_that_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("import threading\ndef answer(messages): threading.Event().wait()\n")
    command = ["run", "--target", "python:hangs:answer", "--duration", "0.05", "--request-timeout", "0.1", "baseline"]
    ended = subprocess.run(
        [sys.executable, "-m", "perfsuite", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 3, "a system that never answers has failed"
    assert re.search(r"none of \d requests was answered \(timeout: no end within 0\.1 s\)", ended.stdout)
    assert ended.stderr == ""
    assert len(list((tmp_path / "test-results").iterdir())) == 3


def test_threads_start_as_they_are_needed_and_end() -> None:
    threads = DaemonThreads(2, "test-threads")
    gate = threading.Event()
    held = [threads.submit(gate.wait, 10) for _ in range(2)]
    waits = threads.submit(str, 5)
    assert not waits.done()
    gate.set()
    assert [one.result(10) for one in held] == [True, True]
    assert waits.result(10) == "5"
    started = [one for one in threading.enumerate() if one.name.startswith("test-threads")]
    assert len(started) == 2
    assert all(one.daemon for one in started)
    threads.shutdown()
    for one in started:
        one.join(10)
    assert not any(one.is_alive() for one in started)
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(str, 5)


def test_threads_give_up_what_waits() -> None:
    threads = DaemonThreads(1, "test-threads")
    gate = threading.Event()
    held, waits = threads.submit(gate.wait, 10), threads.submit(str, 5)
    threads.shutdown()
    assert waits.cancelled()
    gate.set()
    assert held.result(10) is True


def test_the_function_cannot_change_the_workload() -> None:
    one = request()
    call(lambda messages: messages.clear() or "x", one)
    call(lambda messages: messages[0].update(content="changed") or "x", one)
    assert one.messages == [{"role": "user", "content": "hello"}]


def test_plain_functions_run_side_by_side() -> None:
    barrier = threading.Barrier(8)

    def wait(messages: Any) -> str:
        barrier.wait(10)
        return "x"

    async def run() -> None:
        target = FunctionTarget(wait, "m:f")
        await target.open()
        await asyncio.gather(*(send(target) for _ in range(8)))
        await target.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "write python:package.module:function"),
        ("shop", "write python:package.module:function"),
        ("shop:", "write python:package.module:function"),
        ("no_such_module_here:f", "there is no module 'no_such_module_here'"),
        ("os.nothing:f", "there is no module 'os.nothing'"),
        ("os.path:joyn", "did you mean .*join"),
        ("os:sep", "not a function"),
        ("exits_here:f", "SystemExit: 3"),
        ("needs_other:f", "no_such_other"),
        ("raises_here:f", "ZeroDivisionError"),
    ],
)
def test_paths_that_lead_nowhere(path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exits_here.py").write_text("import sys; sys.exit(3)")
    (tmp_path / "needs_other.py").write_text("import no_such_other")
    (tmp_path / "raises_here.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(UsageError, match=says):
        load_function(path)


def test_a_module_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_target.py").write_text("class Shop:\n    @staticmethod\n    def chat(messages): return 'hi'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    async def run() -> None:
        target = await open_target(Plan(target="python:shop_target:Shop.chat"), tmp_path)
        reply, _ = await send(target)
        assert reply.text == "hi"
        assert target.inspection is None
        assert list(target.process_ids) == [os.getpid()]
        await target.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("realtime+http://localhost:8000", "write ws://HOST:PORT or wss://HOST"),
        ("realtime:", "write the service's URL after it: realtime\\+ws://HOST:PORT"),
        ("memory:fts4", "unknown memory system 'fts4'; did you mean fts5"),
        ("memory:", "needs the name of a system"),
        ("referense", "did you mean reference"),
        ("", "unknown target"),
    ],
)
def test_targets_that_no_scheme_drives(target: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_target(target)


def test_reference_by_name(tmp_path: Path) -> None:
    async def run() -> None:
        target = await open_target(
            Plan(models=(ModelChoice(name="sim-large"), ModelChoice(name="sim-small"))), tmp_path
        )
        assert list(target.models) == ["sim-large", "sim-small"]
        assert isinstance(target, Target)
        assert "language model" in target.simulated[0]
        assert "30 ms to the first token" in target.simulated[0]
        await target.close()

    asyncio.run(run())
    for models, says in (
        ((ModelChoice(name="sim-larg"),), "did you mean sim-large"),
        ((ModelChoice(name="sim-large", url="http://x"),), "no URL"),
    ):
        with pytest.raises(UsageError, match=says):
            asyncio.run(open_target(Plan(models=models), tmp_path))
    with pytest.raises(UsageError, match="without"):
        asyncio.run(open_target(Plan(target="reference:x"), tmp_path))


def test_reference_sends_and_shows_its_inside() -> None:
    async def run() -> None:
        target = ReferenceTarget(
            ReferenceConfig(path=":memory:", message_budget=2000, rate_burst=9, rate_per_s=0.01).without_delays()
        )
        await target.open()
        inside = target.inspection
        assert inside is not None
        fact = "The access code for the Marlow depot is kite-77."
        reply, events = await send(target, request(fact))
        assert reply.completion_tokens == events.chunks == events.tokens
        assert reply.prompt_tokens == inside.true_tokens(list(reply.context or ()), "sim-small")
        assert reply.prompt_tokens == inside.count_tokens(list(reply.context or ()), "sim-small")
        assert set(reply.extra["agents"]) == {"planner", "responder"}  # type: ignore[call-overload]
        with pytest.raises(Failure, match="budget") as caught:
            await send(target, request("word " * 3000))
        assert caught.value.kind == "target"
        small = inside.resident_bytes()
        await send(target, request(model="sim-large"))
        assert inside.resident_bytes() > small
        memory = inside.remember("The parking permit of Zelda is p-12.", user_id="w")
        got = inside.assemble(
            "What is the parking permit of Zelda?", user_id="w", conversation_id="x", budget_tokens=100
        )
        assert list(got.memories) == [memory]
        assert got.tokens == inside.true_tokens(got.messages, "sim-small") <= 100
        tight = inside.assemble("What is it?", user_id="w", conversation_id="x", budget_tokens=3)
        assert list(tight.messages) == []
        inside.store_conversation([{"role": "user", "content": "b" * 20_000}], user_id="w", conversation_id="y")
        ((original, stored),) = inside.stored_conversations(10_000)
        assert inside.codec().decompress(stored) == original
        assert len(inside.strongest_codec().compress(original)) <= len(stored)
        hits, misses = inside.cache_counts()
        assert hits + misses > 0
        history = [{"role": "user", "content": "a b c"}] * 50
        assert inside.count_tokens(inside.truncate(history, 60), "sim-small") <= 60
        with pytest.raises(UsageError):
            inside.count_tokens([], "sim-none")
        for _ in range(9):
            await send(target, request("x", user_id="eager"))
        with pytest.raises(Failure) as limited:
            await send(target, request("x", user_id="eager"))
        assert limited.value.kind == "http_429"
        await target.close()

    asyncio.run(run())
