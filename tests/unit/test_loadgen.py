"""The load driver: what it sends, when it ends, and what becomes of failures."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import dataclasses
import errno
import json
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from perfsuite._core import Events, Row
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.loadgen import Delivered, LoadSpec, RawWriter, drive, driver
from perfsuite.loadgen.alarm import Alarm
from perfsuite.loadgen.raw import COLUMNS
from perfsuite.loadgen.schedule import schedule
from perfsuite.loadgen.wire import drive_wire
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget
from served import Asked, serving, whole

Send = Callable[[Request, Row], Awaitable[Reply]]


def requests(number: int | None = None) -> Iterator[Request]:
    for i in islice(count(), number):
        yield Request(message=f"m{i}", messages=[], user_id="u", conversation_id=f"c{i}")


class Fake:
    """A target that does what it is told and counts what it holds."""

    name = "fake"
    simulated: tuple[str, ...] = ()
    inspection = None
    models = ("m",)

    def __init__(self, send: Send) -> None:
        self._send = send
        self.held = self.most = self.seen = 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def send(self, request: Request, row: Row) -> Reply:
        self.held += 1
        self.seen += 1
        self.most = max(self.most, self.held)
        try:
            return await self._send(request, row)
        finally:
            self.held -= 1


async def at_once(request: Request, row: Row) -> Reply:
    return Reply(text="ok", prompt_tokens=3, completion_tokens=2)


async def soon(request: Request, row: Row) -> Reply:
    await asyncio.sleep(0.005)
    return Reply(text="ok")


async def never(request: Request, row: Row) -> Reply:
    await asyncio.sleep(3600)
    raise AssertionError


def run(target: Fake, spec: LoadSpec, events: Events | None = None, source: Iterator[Request] | None = None,
        **keywords: object) -> tuple[Delivered, Events]:  # fmt: skip
    """Drives, and checks that no task was left behind."""
    events = events if events is not None else Events(warmup_ns=round(spec.warmup_s * 1e9))

    async def main() -> Delivered:
        delivered = await drive(target, source or requests(), spec, events, **keywords)  # type: ignore[arg-type]
        assert len(asyncio.all_tasks()) == 1, "a task was left behind"
        return delivered

    delivered = asyncio.run(main())
    assert events.in_flight == events.waiting == target.held == 0
    return delivered, events


# ── loops ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_closed_loop_holds_its_number() -> None:
    target = Fake(soon)
    delivered, events = run(target, LoadSpec(duration_s=0.2, concurrency=7))
    assert target.most == delivered.max_in_flight == 7
    assert delivered.completed == delivered.requests == target.seen == events.completed > 7
    assert delivered.short is None
    assert delivered.failed == delivered.late_sends == 0
    assert delivered.rate == pytest.approx(delivered.requests / 0.2, rel=0.01)
    assert events.histogram("lateness").max == 0.0, "in a closed loop due is the send"


def test_open_loop_keeps_to_its_schedule_however_slow_the_answers() -> None:
    async def slow(request: Request, row: Row) -> Reply:
        await asyncio.sleep(0.1)
        return Reply(text="")

    target = Fake(slow)
    delivered, _ = run(target, LoadSpec(duration_s=0.25, rate=80, arrivals="constant"))
    assert delivered.requests == target.seen == 20
    assert target.most > 4


def test_a_cap_makes_the_rest_wait_and_the_wait_counts() -> None:
    async def tenth(request: Request, row: Row) -> Reply:
        await asyncio.sleep(0.02)
        return Reply(text="")

    target = Fake(tenth)
    delivered, events = run(target, LoadSpec(duration_s=0.1, rate=200, arrivals="constant", concurrency=1))
    assert target.most == 1
    assert delivered.requests == delivered.completed == 20, "what was due is sent and awaited after the time"
    assert delivered.short is not None
    assert "of the 20 requests" in delivered.short
    assert events.histogram("response_time").max > 250.0
    assert events.histogram("service_time").quantile(0.5) < 100.0
    assert delivered.late_sends <= 1, "waiting for a slot is not a late client"


def test_a_client_that_is_late_at_the_end_still_sends_what_fell_due() -> None:
    async def blocks(request: Request, row: Row) -> Reply:
        if request.message == "m15":
            time.sleep(0.15)  # noqa: ASYNC251  the client's own event loop stands still beyond the end
        return Reply(text="")

    delivered, events = run(Fake(blocks), LoadSpec(duration_s=0.1, rate=200, arrivals="constant"))
    assert delivered.requests == delivered.completed == 20
    assert delivered.late_sends >= 4
    assert delivered.short is not None
    assert "of 20 requests left more than" in delivered.short or "of the 20 requests that fell due" in delivered.short
    assert "the client was short of time" in delivered.short
    assert events.histogram("response_time").max > 100.0


def test_a_client_that_is_blocked_delivers_half_and_says_so() -> None:
    """Half of the time the client's own loop stands still; the negative control is the same load without that."""

    def standing_still(seconds: float) -> Send:
        async def send(request: Request, row: Row) -> Reply:
            if request.message == "m2":
                time.sleep(seconds)  # noqa: ASYNC251
            return Reply(text="")

        return send

    spec = LoadSpec(duration_s=1.2, rate=50, arrivals="constant")
    blocked, events = run(Fake(standing_still(0.9)), spec)
    assert blocked.requests == 60, "nothing that fell due is dropped"
    assert events.histogram("lateness").quantile(0.5) > 200.0
    assert blocked.short is not None
    assert "more than 250 ms late" in blocked.short
    calm, _ = run(Fake(standing_still(0.0)), spec)
    assert calm.short is None


def test_a_slow_system_in_a_closed_loop_is_not_a_load_that_was_not_delivered() -> None:
    async def slow(request: Request, row: Row) -> Reply:
        await asyncio.sleep(0.2)
        return Reply(text="")

    delivered, _ = run(Fake(slow), LoadSpec(duration_s=0.3, concurrency=3))
    assert delivered.rate < 30
    assert delivered.short is None


def test_a_target_that_never_waits_is_not_the_clients_fault() -> None:
    delivered, _ = run(Fake(at_once), LoadSpec(duration_s=0.05, concurrency=3))
    assert delivered.max_in_flight == 1
    assert delivered.short is None
    assert delivered.mean_in_flight is not None
    assert 0.0 < delivered.mean_in_flight < 1.0
    (said,) = delivered.warnings
    assert "of 3 were in flight on average" in said


def test_what_is_in_flight_is_told_on_average() -> None:
    """Of four slots the negative control holds each until the time is over; think time is nobody's fault."""

    async def slow(request: Request, row: Row) -> Reply:
        await asyncio.sleep(0.5)
        return Reply(text="")

    held, _ = run(Fake(slow), LoadSpec(duration_s=0.4, warmup_s=0.1, concurrency=4))
    assert held.mean_in_flight == pytest.approx(4.0, abs=0.2)
    assert held.warnings == []
    thinking, _ = run(Fake(soon), LoadSpec(duration_s=0.4, concurrency=4, think_s=0.1))
    assert thinking.mean_in_flight is not None
    assert thinking.mean_in_flight < 2.0
    assert thinking.warnings == []


class Owned:
    """Requests that know whose they are."""

    def __init__(self) -> None:
        self.turns: dict[int, int] = {}

    def __iter__(self) -> Owned:
        return self

    def __next__(self) -> Request:
        raise AssertionError("a paced user has requests of its own")

    def of(self, user: int) -> Request:
        self.turns[user] = self.turns.get(user, 0) + 1
        return Request(message=str(self.turns[user]), messages=[], user_id=f"u{user}", conversation_id="c")


def test_a_paced_user_sends_at_its_own_pace_whatever_the_answers_take() -> None:
    """Due times of each user are one interval apart to the nanosecond; the phases differ and come from the seed."""
    spec = LoadSpec(duration_s=0.5, users=8, pace_s=0.1, seed=3)
    starts: list[dict[int, int]] = []
    for seed in (3, 3, 4):
        due: dict[int, list[int]] = {}
        for at, user in islice(schedule(dataclasses.replace(spec, seed=seed)), 80):
            due.setdefault(user, []).append(at)
        assert {len(times) for times in due.values()} == {10}
        assert {late - early for times in due.values() for early, late in pairwise(times)} == {100_000_000}
        starts.append({user: times[0] for user, times in due.items()})
        assert max(starts[-1].values()) < 100_000_000
        assert len(set(starts[-1].values())) == 8
    assert starts[0] == starts[1] != starts[2]

    source = Owned()
    target = Fake(soon)
    delivered, _ = run(target, spec, source=source)  # type: ignore[arg-type]
    assert delivered.requests == delivered.completed == 40
    assert source.turns == dict.fromkeys(range(8), 5)
    assert delivered.short is None


def test_a_paced_user_waits_for_its_answer_and_the_wait_counts() -> None:
    """One user of two gets slow answers: his messages wait for one another, the other's do not."""
    held: dict[str, int] = {}
    waited: dict[str, float] = {}

    async def send(request: Request, row: Row) -> Reply:
        held[request.user_id] = held.get(request.user_id, 0) + 1
        assert held[request.user_id] == 1, "a user has one message under way"
        await asyncio.sleep(0.15 if request.user_id == "u0" else 0.001)
        held[request.user_id] -= 1
        return Reply(text="")

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: Row) -> None:
        assert row.response_time_ms is not None
        waited[request.user_id] = max(waited.get(request.user_id, 0.0), row.response_time_ms)

    spec = LoadSpec(duration_s=0.5, users=2, pace_s=0.05)
    delivered, _ = run(Fake(send), spec, source=Owned(), on_reply=on_reply)  # type: ignore[arg-type]
    assert delivered.completed == 20, "what fell due is sent, after the time too"
    assert waited["u0"] > 900.0, "the tenth waits for nine answers of 150 ms less nine intervals of 50"
    assert waited["u1"] < waited["u0"] / 2
    assert delivered.short is not None
    assert "longer than their pace" in delivered.short


def test_a_load_of_users_and_a_rate_contradict() -> None:
    with pytest.raises(UsageError, match="paced users"):
        LoadSpec(duration_s=1, users=2, rate=3)
    with pytest.raises(ValueError, match="closed loop"):
        schedule(LoadSpec(duration_s=1, concurrency=2))


def test_warm_up_is_driven_and_counted_apart() -> None:
    target = Fake(soon)
    delivered, events = run(target, LoadSpec(duration_s=0.2, warmup_s=0.1, concurrency=2))
    assert events.warmup > 0
    assert events.warmup + delivered.requests == target.seen
    assert delivered.duration_s == pytest.approx(0.1, abs=1e-6)


def test_think_time_is_no_load() -> None:
    """A slot pauses that long after each answer; the negative control does not."""

    def pauses(think_s: float, most: int) -> list[float]:
        at: list[float] = []

        async def stamped(request: Request, row: Row) -> Reply:
            at.append(time.monotonic())
            return Reply(text="")

        target = Fake(stamped)
        _, events = run(target, LoadSpec(duration_s=30, concurrency=1, think_s=think_s, max_requests=most))
        assert events.completed == target.seen == most
        return [after - before for before, after in pairwise(at)]

    assert min(pauses(0.05, 4)) >= 0.049
    assert min(pauses(0.0, 100)) < 0.049


def test_a_target_that_never_waits_lets_others_run() -> None:
    shares: list[float] = []
    target = Fake(at_once)
    run(target, LoadSpec(duration_s=0.6, concurrency=2), progress=shares.append)
    assert len(shares) >= 2
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert target.seen > 100


# ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("load", [{"concurrency": 3}, {"rate": 500.0}, {"rate": 500.0, "concurrency": 2}])
def test_requests_that_run_out_end_it_early_and_say_so(load: dict[str, float]) -> None:
    target = Fake(soon)
    delivered, _ = run(target, LoadSpec(duration_s=30, **load), source=requests(9))  # type: ignore[arg-type]
    assert delivered.completed == target.seen == 9
    assert delivered.short is None, "what was not sent was not to be"
    assert delivered.ended is not None
    assert "ran out after 9" in delivered.ended
    assert delivered.duration_s < 10


@pytest.mark.parametrize("load", [{"concurrency": 3}, {"rate": 500.0}])
def test_limits_on_requests_and_tokens(load: dict[str, float]) -> None:
    target = Fake(at_once)
    delivered, _ = run(target, LoadSpec(duration_s=30, max_requests=5, **load))  # type: ignore[arg-type]
    assert target.seen == 5
    assert delivered.short is None, "what was not sent was not to be"
    assert delivered.ended is not None
    assert "5 requests" in delivered.ended
    target = Fake(at_once)
    delivered, _ = run(target, LoadSpec(duration_s=30, max_tokens=23, **load))  # type: ignore[arg-type]
    assert target.seen == 5, "5 tokens each: 25 are the first to reach 23"
    assert delivered.short is None, "what was not sent was not to be"
    assert delivered.ended is not None
    assert "23 tokens" in delivered.ended


def test_tokens_that_nobody_told_are_counted_as_they_come() -> None:
    async def counted(request: Request, row: Row) -> Reply:
        row.token(4)
        return Reply(text="")

    target = Fake(counted)
    run(target, LoadSpec(duration_s=30, max_tokens=9, concurrency=1))
    assert target.seen == 3


@pytest.mark.parametrize("load", [{"concurrency": 3}, {"rate": 200.0}, {"rate": 500.0, "concurrency": 1}])
def test_stop_finishes_what_is_in_flight_and_sends_nothing_more(load: dict[str, float]) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        target = Fake(soon)
        events = Events()
        asyncio.get_running_loop().call_later(0.05, stop.set)
        delivered = await drive(target, requests(), LoadSpec(duration_s=60, **load), events, stop=stop)  # type: ignore[arg-type]
        assert delivered.short is None, "what was not sent was not to be"
        assert delivered.ended is not None
        assert "stopped" in delivered.ended
        assert delivered.completed == target.seen > 0
        assert delivered.failed == 0
        assert events.in_flight == events.waiting == target.held == 0
        assert delivered.duration_s < 5
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_a_second_interrupt_gives_up_at_once() -> None:
    async def main() -> None:
        all_sent = asyncio.Event()

        async def held(request: Request, row: Row) -> Reply:
            if target.held == 4:
                all_sent.set()
            return await never(request, row)

        target, events = Fake(held), Events()
        driving = asyncio.create_task(drive(target, requests(), LoadSpec(duration_s=60, concurrency=4), events))
        await all_sent.wait()
        driving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await driving
        assert events.errors == {"cancelled": 4}
        assert events.failed == events.in_flight == target.held == 0
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


# ── failures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_failure_has_its_kind_and_its_first_texts() -> None:
    async def fails(request: Request, row: Row) -> Reply:
        n = int(request.message[1:])
        match n % 7:
            case 0:
                raise Failure("http_429", f"slow  down\n{n}")
            case 1:
                raise ValueError("x" * 1000)
            case 2:
                raise TimeoutError("its own")
            case 3:
                raise asyncio.CancelledError
            case 4:
                raise Failure("no such kind", "odd")
            case 5:
                await asyncio.sleep(3600)
        return Reply(text="")

    told: list[tuple[bool, str | None, bool]] = []

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: Row) -> None:
        told.append((reply is not None, failure.kind if failure else None, row.ended))

    spec = LoadSpec(duration_s=30, concurrency=1, max_requests=35, request_timeout_s=0.02)
    delivered, events = run(Fake(fails), spec, on_reply=on_reply)
    assert events.errors == {"timeout": 10, "http_429": 5, "target": 15}
    assert delivered.failed == events.failed == 30
    assert delivered.completed == 5
    assert delivered.examples["http_429"] == ["slow down 0", "slow down 7", "slow down 14"]
    assert delivered.examples["timeout"] == ["TimeoutError: its own", "no end within 0.02 s"], "those that differ"
    assert [len(texts) for texts in delivered.examples.values()] == [3, 3, 2]
    assert all(len(text) <= 300 for texts in delivered.examples.values() for text in texts)
    assert delivered.examples["target"][0].startswith("ValueError: xxx")
    assert "0.02 s" in delivered.examples["timeout"][1]
    assert len(told) == 35
    assert all(ended for _, _, ended in told)
    assert sum(replied for replied, _, _ in told) == 5
    assert events.histogram("response_time").count == 5, "failures are in no histogram of answers"


@pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")
@pytest.mark.parametrize("fails", [True, False])
def test_a_limit_ends_the_warm_up_whoever_drives_and_whatever_comes_back(fails: bool) -> None:
    """The time of the warm-up is longer than all 80 requests take: a tenth of them ends it, failed or not."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    answered = {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}], "usage": usage}

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.002)
        writer.write(whole("500 Internal Server Error", {"error": "no"}) if fails else whole("200 OK", answered))

    async def driven(by: Any) -> tuple[Delivered, Events]:
        spec = LoadSpec(duration_s=60, warmup_s=30, max_requests=80, concurrency=4)
        events = Events(warmup_ns=round(spec.warmup_s * 1e9))
        async with serving(answer) as served:
            address = parse_address(served.url, "a test")
            target = ChatTarget("openai", address, None, {"m": address})
            await target.open()
            try:
                asked = (dataclasses.replace(one, model="m") for one in requests())
                return await by(target, asked, spec, events), events
            finally:
                await target.close()

    found = []
    for by in (drive_wire, driver.drive):
        delivered, events = asyncio.run(asyncio.wait_for(driven(by), 120))
        assert delivered.sent == delivered.requests + delivered.warmup == 80
        assert delivered.failed == events.failed == (delivered.requests if fails else 0)
        assert delivered.completed == (0 if fails else delivered.requests)
        assert events.errors == ({"http_5xx": delivered.failed} if fails else {})
        assert 8 <= delivered.warmup <= 40, "a tenth, and what was in flight"
        assert delivered.duration_s > 0.0
        assert delivered.rate > 0.0
        assert delivered.mean_in_flight is not None
        assert 0.0 < delivered.mean_in_flight <= 4.0
        found.append((delivered.tokens, delivered.ended, delivered.examples, delivered.short))
    assert found[0] == found[1]


def test_a_target_that_ignores_the_time_out_has_still_timed_out() -> None:
    async def stubborn(request: Request, row: Row) -> Reply:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return Reply(text="late")

    spec = LoadSpec(duration_s=9, concurrency=1, max_requests=1, request_timeout_s=0.01)
    delivered, events = run(Fake(stubborn), spec)
    assert events.errors == {"timeout": 1}
    assert delivered.completed == 0


@pytest.mark.parametrize("load", [{"concurrency": 2}, {"rate": 40.0, "arrivals": "constant"}])
def test_a_target_that_never_gives_in_does_not_hold_up_the_run(load: dict[str, Any]) -> None:
    async def immortal(request: Request, row: Row) -> Reply:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    spec = LoadSpec(duration_s=0.05, request_timeout_s=0.02, **load)
    delivered, events = run(Fake(immortal), spec)
    assert delivered.requests == 2
    assert events.errors == {"timeout": 2}


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit(), StopAsyncIteration(), Unspeakable()])
def test_whatever_a_target_raises_is_a_failed_request(error: BaseException) -> None:
    async def raises(request: Request, row: Row) -> Reply:
        raise error

    delivered, events = run(Fake(raises), LoadSpec(duration_s=9, concurrency=1, max_requests=3))
    assert events.errors == {"target": 3}
    assert delivered.examples["target"][0].startswith(type(error).__name__)


def test_what_is_still_due_when_the_wait_is_over_has_timed_out() -> None:
    spec = LoadSpec(duration_s=0.1, rate=100, arrivals="constant", concurrency=2, request_timeout_s=0.08)
    target = Fake(never)
    delivered, events = run(target, spec)
    assert delivered.requests == 10
    assert events.errors == {"timeout": 10}
    assert target.seen < 10
    assert events.longest_wait_ms >= 80


def test_mad_token_counts_do_not_end_the_run() -> None:
    async def mad(request: Request, row: Row) -> Reply:
        return Reply(text="\ud800", prompt_tokens=-5, completion_tokens=10**15)

    delivered, events = run(Fake(mad), LoadSpec(duration_s=9, concurrency=1, max_requests=3))
    assert delivered.completed == 3
    assert events.histogram("prompt_tokens").count == events.histogram("completion_tokens").count == 0


@pytest.mark.parametrize("load", [{"concurrency": 3}, {"rate": 200.0}, {"rate": 500.0, "concurrency": 1}])
@pytest.mark.parametrize("culprit", ["requests", "on_reply", "progress"])
def test_an_error_of_the_run_ends_it_and_keeps_what_was_measured(load: dict[str, float], culprit: str) -> None:
    def broken_requests() -> Iterator[Request]:
        for request in requests():
            if events.completed:  # however late the loop is that sends
                raise ZeroDivisionError(culprit)
            yield request

    def broken(*arguments: object) -> None:
        if culprit != "on_reply" or target.seen >= 4:
            raise ZeroDivisionError(culprit)

    keywords = {} if culprit == "requests" else {culprit: broken}
    source = broken_requests() if culprit == "requests" else requests()
    target, events = Fake(soon), Events()
    with pytest.raises(ZeroDivisionError, match=culprit):
        run(target, LoadSpec(duration_s=60, **load), events, source, **keywords)  # type: ignore[arg-type]
    assert events.completed >= 1
    assert events.in_flight == events.waiting == target.held == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"duration_s": 0, "concurrency": 1}, "duration_s"),
        ({"duration_s": math.nan, "concurrency": 1}, "duration_s"),
        ({"duration_s": 1}, "concurrency"),
        ({"duration_s": 1, "concurrency": 0}, "concurrency"),
        ({"duration_s": 1, "rate": 0.0}, "rate"),
        ({"duration_s": 1, "rate": 1.0, "warmup_s": 2}, "warmup_s"),
        ({"duration_s": 1, "rate": 1.0, "request_timeout_s": 0}, "request_timeout_s"),
        ({"duration_s": 1, "rate": 1.0, "max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_load_that_cannot_be_is_refused(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        LoadSpec(**wrong)  # type: ignore[arg-type]


# ── time and raw rows ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("precise", [True, False])
def test_the_alarm_is_never_early_and_can_be_rung(precise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_timer() -> None:
        raise OSError("none here")

    if not precise:
        monkeypatch.setattr("perfsuite.loadgen.alarm.make_timer", no_timer)

    async def main() -> None:
        with Alarm() as alarm:
            assert alarm.precise is precise
            for wait_ns in (3_000_000, -5, 0, 1_500_000):
                at = time.monotonic_ns() + wait_ns
                await alarm.until(at)
                assert time.monotonic_ns() >= at - (0 if precise else 1_000_000)
            asyncio.get_running_loop().call_later(0.01, alarm.ring)
            await asyncio.wait_for(alarm.until(time.monotonic_ns() + 10**12), 30)
            alarm.ring()  # with nobody asleep: nothing
        alarm.close()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["rows.csv", "rows.ndjson"])
def test_raw_rows_are_all_there(name: str, tmp_path: Path) -> None:
    async def streams(request: Request, row: Row) -> Reply:
        if request.message == "m3":
            raise Failure("reset", "gone")
        row.token(2)
        row.token(1, visible=False)
        return Reply(text="hello", prompt_tokens=7)

    path = tmp_path / name
    with RawWriter(path) as raw:
        raw.label = 'phase, "one"'
        events = Events(raw=True)
        run(Fake(streams), LoadSpec(duration_s=9, concurrency=2, max_requests=200), events, raw=raw)
        assert path.read_text().endswith("\n"), "flushed at the end of the drive"
        assert raw.written == 200
    with path.open(newline="") as file:
        found = list(csv.DictReader(file)) if name.endswith(".csv") else [json.loads(line) for line in file]
    assert len(found) == 200
    assert list(found[0]) == list(COLUMNS)
    by_tag = {int(row["tag"]): row for row in found}
    assert sorted(by_tag) == list(range(200))
    good, bad = by_tag[0], by_tag[3]
    assert good["label"] == 'phase, "one"'
    assert good["status"] == "ok"
    assert bad["status"] == "reset"
    stamps = [int(good[key]) for key in ("due_ns", "sent_ns", "first_ns", "answer_ns", "last_ns", "end_ns")]
    assert stamps == sorted(stamps)
    assert bad["first_ns"] in ("", None)
    assert bad["prompt_tokens"] in ("", None)
    numbers = ("prompt_tokens", "completion_tokens", "bytes", "chunks", "tokens")
    assert [int(good[key]) for key in numbers] == [7, 3, 5, 2, 3]
    assert int(good["estimated"]) == 1
    assert int(good["warmup"]) == 0


def test_a_raw_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(PerfsuiteError, match=r"missing/rows.csv.*--raw"):
        RawWriter(tmp_path / "missing/rows.csv")
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    raw = RawWriter(full)
    with pytest.raises(PerfsuiteError, match="No space left"):
        raw.write(bytes(RawWriter.row_bytes * 1000))
    raw.give_up("full")


def test_a_disk_that_fills_behind_raw_rows_costs_the_rows_and_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.csv"
    raw = RawWriter(path)
    flushed, room = RawWriter._flush, 3

    def flush(self: RawWriter) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            self._file.write("half a li")
            self._file.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flushed(self)

    monkeypatch.setattr(RawWriter, "_flush", flush)
    for number in range(5):
        events = Events(raw=True)
        raw.label = str(number)
        run(Fake(at_once), LoadSpec(duration_s=9, concurrency=1, max_requests=50), events, raw=raw)
        assert events.completed == 50
        assert events.drain_rows() == b"", "rows that cannot be written are not kept"
    assert raw.trouble is not None
    assert "No space left" in raw.trouble
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {"0", "1", "2"}
    assert len(rows) == 150
    assert path.read_text().endswith("\n"), "the file ends with a whole line"
