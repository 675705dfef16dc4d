"""A function that blocks its event loop holds up itself, not the run."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perfsuite._core import Events, Row
from perfsuite.loadgen import LoadSpec, drive
from perfsuite.targets.base import Failure, Reply, Request, Warns
from perfsuite.targets.function import FunctionTarget
from perfsuite.targets.own_loop import LOOK_S, HeldUp, OwnLoop


def endless() -> Iterator[Request]:
    while True:
        yield Request(
            message="hello", messages=[{"role": "user", "content": "hello"}], user_id="u", conversation_id="c"
        )


def driven(function: Callable[..., object], **spec: Any) -> tuple[Events, FunctionTarget, int]:
    """What came of it, the target, and the longest that the driver's own loop was late, in its own ticks."""

    async def run() -> tuple[Events, FunctionTarget, int]:
        target, events = FunctionTarget(function, "m:f"), Events()
        await target.open()
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        try:
            await drive(target, endless(), LoadSpec(**spec), events)
        finally:
            ticking.cancel()
            await target.close()
        return events, target, ticks

    return asyncio.run(run())


def test_a_time_out_is_recorded_while_the_function_blocks() -> None:
    gate = threading.Event()
    still: list[bool] = []

    async def blocks(messages: Any) -> str:
        still.append(gate.wait(60))  # nothing of this loop runs until somebody lets it go
        return "late"

    class Letting(FunctionTarget):
        async def close(self) -> None:
            gate.set()
            await super().close()

    async def run() -> Events:
        target, events = Letting(blocks, "m:f"), Events()
        await target.open()
        try:
            spec = LoadSpec(duration_s=10, concurrency=1, max_requests=1, request_timeout_s=0.2)
            await drive(target, endless(), spec, events)
        finally:
            await target.close()
        return events

    events = asyncio.run(run())
    assert still == [True], "the request had ended while it still blocked"
    assert events.errors == {"timeout": 1}
    assert 200 <= events.longest_wait_ms < 30_000


async def sleeps(messages: Any) -> str:
    time.sleep(0.3)  # noqa: ASYNC251 - what is looked for
    return "x"


async def lets_go(messages: Any) -> str:
    await asyncio.sleep(0.3)
    return "x"


def test_what_blocks_is_said_and_what_awaits_is_not() -> None:
    events, target, ticks = driven(sleeps, duration_s=10, concurrency=1, max_requests=2)
    assert events.completed == 2
    assert ticks > 10, "the driver's loop went on"
    assert isinstance(target, Warns)
    (said,) = target.warnings
    assert said.startswith("python:m:f blocked its event loop for ")
    assert "asyncio.to_thread" in said
    _, target, _ = driven(lets_go, duration_s=10, concurrency=1, max_requests=2)
    assert target.warnings == ()


def test_short_stretches_are_no_finding() -> None:
    held = HeldUp()
    held.add(LOOK_S)
    assert (held.times, held.total_s) == (0, 0.0)
    held.add(0.5)
    held.add(1.5)
    assert (held.times, held.total_s, held.longest_s) == (2, 2.0, 1.5)


def test_requests_share_one_loop_of_their_own() -> None:
    loops: set[int] = set()
    names: set[str] = set()

    async def where(messages: Any) -> str:
        loops.add(id(asyncio.get_running_loop()))
        names.add(threading.current_thread().name)
        await asyncio.sleep(0)
        return "x"

    async def run() -> None:
        target = FunctionTarget(where, "m:f")
        await target.open()
        try:
            await drive(target, endless(), LoadSpec(duration_s=10, concurrency=4, max_requests=12), Events())
            assert id(asyncio.get_running_loop()) not in loops
        finally:
            await target.close()

    asyncio.run(run())
    assert len(loops) == 1
    assert names == {"perfsuite-target-loop"}
    assert not [one for one in threading.enumerate() if one.name == "perfsuite-target-loop"]


def test_stamps_are_taken_where_the_pieces_come() -> None:
    over = threading.Event()

    async def streams(messages: Any) -> AsyncIterator[str]:
        yield "a"
        over.set()
        yield "b"

    async def run() -> None:
        target, events = FunctionTarget(streams, "m:f"), Events()
        await target.open()
        began = time.monotonic_ns()
        row = events.begin(began)
        sending = asyncio.create_task(target.send(next(endless()), row))
        await asyncio.sleep(0)
        over.wait(60)  # the driver's loop is late: it hears of nothing before this
        heard = time.monotonic_ns()
        reply = await sending
        assert row.ttft_ms is not None
        assert row.ttft_ms <= (heard - began) / 1e6
        assert reply.ended_ns is not None
        await target.close()

    asyncio.run(run())


def test_the_drivers_end_is_the_answers_where_it_is_told() -> None:
    class Told(FunctionTarget):
        async def send(self, request: Request, row: Row) -> Reply:
            row.sent()
            ended = time.monotonic_ns()
            await asyncio.sleep(0.2)
            return Reply(text="x", ended_ns=ended)

    async def run() -> Events:
        events = Events()
        await drive(Told(sleeps, "m:f"), endless(), LoadSpec(duration_s=10, concurrency=1, max_requests=1), events)
        return events

    took = asyncio.run(run()).histogram("service_time")
    assert took.count == 1
    assert took.max < 200


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_async_function_cannot_end_its_loop(error: BaseException) -> None:
    async def fails(messages: Any) -> str:
        raise error

    async def run() -> None:
        target = FunctionTarget(fails, "m:f")
        await target.open()
        for _ in range(2):
            with pytest.raises(Failure, match=type(error).__name__):
                await target.send(next(endless()), Events().begin(0))
        await target.close()

    asyncio.run(run())


def test_a_request_that_is_given_up_is_cancelled_there() -> None:
    ended = threading.Event()

    async def waits(messages: Any) -> str:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return "never"

    events, _, _ = driven(waits, duration_s=10, concurrency=1, max_requests=1, request_timeout_s=0.05)
    assert events.errors == {"timeout": 1}
    assert ended.is_set()


def test_what_ignores_its_cancellation_is_left_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    async def stubborn(messages: Any) -> str:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    async def run() -> None:
        loop = OwnLoop("test-loop")
        task = asyncio.create_task(loop.call(stubborn, None))
        await asyncio.sleep(0.05)
        task.cancel()
        await loop.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(run())
        gc.collect()
    assert not caught
    assert capfd.readouterr().err == ""


def test_a_call_that_never_began_leaves_nothing_behind() -> None:
    gate = threading.Event()
    began = threading.Event()

    async def blocks() -> None:
        began.set()
        gate.wait(60)

    async def never() -> None:
        raise AssertionError("given up before it began")

    async def run() -> None:
        loop = OwnLoop("test-loop")
        first = asyncio.create_task(loop.call(blocks))
        await asyncio.to_thread(began.wait, 60)
        second = asyncio.create_task(loop.call(never))
        await asyncio.sleep(0.01)
        for one in (first, second):
            one.cancel()
        await asyncio.wait([first, second])
        gate.set()
        await loop.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(run())
        gc.collect()


TARGET = """
import asyncio, time
began = None
async def answer(messages):
    global began
    began = began or time.monotonic()
    if time.monotonic() - began > 1.5:  # past the warm-up
        print("blocked", flush=True)
        time.sleep(3600)
    await asyncio.sleep(0.01)
    return "x"
"""


@pytest.mark.parametrize("signals", [1, 2])
def test_a_ctrl_c_while_the_function_blocks_ends_the_run_and_keeps_what_was_measured(
    tmp_path: Path, signals: int
) -> None:
    (tmp_path / "blocking.py").write_text(TARGET)
    command = ["run", "--target", "python:blocking:answer", "--duration", "10", "--request-timeout", "0.5", "baseline"]
    process = subprocess.Popen(
        [sys.executable, "-m", "perfsuite", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "blocked\n"
    process.send_signal(signal.SIGINT)
    if signals == 2:
        assert "finishing the sample" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in err
    if signals == 1:
        assert "INTERRUPTED" in out
        assert "blocked its event loop for" in err
        (file,) = (tmp_path / "test-results").glob("results-*.json")
        result = json.loads(file.read_text())
        assert any("blocked its event loop" in note for note in result["run"]["notes"])
        (phase,) = result["phases"]
        assert phase["verdict"] == "interrupted"
        assert phase["delivered"]["completed"] > 0
        assert {one["kind"] for one in phase["errors"]} == {"timeout"}
