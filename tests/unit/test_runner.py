"""Whole runs against functions: what they are told to do has to show in the verdict."""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perfsuite import runner
from perfsuite.configuration import configure
from perfsuite.errors import PerfsuiteError
from perfsuite.evidence import Evidence
from perfsuite.loadgen import RawWriter
from perfsuite.result import MetricResult, PhaseResult, Result
from perfsuite.suites import session
from perfsuite.suites.probes import Probe
from perfsuite.suites.session import Session
from perfsuite.targets.base import Reply, Request
from perfsuite.targets.function import FunctionTarget

Answer = Callable[[list[dict[str, Any]]], object]


def repeats_all(messages: list[dict[str, Any]]) -> str:
    time.sleep(0.001)
    return " ".join(str(message["content"]) for message in messages)


def repeats_the_last(messages: list[dict[str, Any]]) -> str:
    return repeats_all(messages[-1:])


def says_ok(messages: list[dict[str, Any]]) -> str:
    return repeats_all([{"content": "ok"}])


def measured(answer: Answer, phase: str, monkeypatch: pytest.MonkeyPatch, **settings: object) -> PhaseResult:
    module = ModuleType("answering")
    module.answer = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "answering", module)
    plan = configure(
        {"target": "python:answering:answer", "phase": [phase], "duration": 0.4, **settings}, keywords=True
    )
    return asyncio.run(runner.execute_async(plan)).phases[0]


def found(phase: PhaseResult, name: str) -> MetricResult:
    return next(one for one in phase.metrics if one.name == name)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(repeats_all, "passed"), (repeats_the_last, "failed"), (says_ok, "not measured")],
)
def test_what_a_black_box_remembers(answer: Answer, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    phase = measured(answer, "baseline", monkeypatch, duration=60.0, max_requests=400)  # as many, however quick it is
    kept = found(phase, "context_preservation")
    assert kept.verdict == verdict, kept
    if verdict == "not measured":
        assert "same message in 0 of" in kept.reason


@pytest.mark.parametrize(("every", "verdict"), [(20, "failed"), (10**9, "passed")])
def test_errors(every: int, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count(1)

    async def fails_sometimes(messages: list[dict[str, Any]]) -> str:
        await asyncio.sleep(0.0005)
        if next(numbers) % every == 0:
            raise RuntimeError("one of many")
        return "x"

    monkeypatch.setattr(session, "WARMUP_SHARE", 0.0)  # as many count, however quick the machine is
    phase = measured(fails_sometimes, "load", monkeypatch, duration=60.0, max_requests=1500)
    assert phase.delivered["requests"] == 1500
    rate = found(phase, "error_rate")
    assert rate.verdict == verdict, rate
    assert (phase.verdict == "failed") is (verdict == "failed")


def run_of(answer: Answer, phases: list[str], monkeypatch: pytest.MonkeyPatch, **settings: object) -> Result:
    module = ModuleType("answering")
    module.answer = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "answering", module)
    plan = configure({"target": "python:answering:answer", "phase": phases, "duration": 0.4, **settings}, keywords=True)
    return asyncio.run(runner.execute_async(plan))


@pytest.mark.parametrize("limit", [{"max_requests": 25}, {"max_tokens": 200}])
def test_a_limit_is_of_the_whole_run_and_leaves_each_phase_its_part(
    limit: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = itertools.count()

    async def counts(messages: list[dict[str, Any]]) -> str:
        next(seen)
        await asyncio.sleep(0.001)
        return "ok"

    baseline, load = run_of(counts, ["baseline", "load"], monkeypatch, duration=60.0, **limit).phases
    sent = next(seen)
    if "max_requests" in limit:
        assert sent == 25, "of both phases together"
        assert baseline.delivered["stretches"][0]["ended"] == "its share of the limit, 8 requests, was sent"
    else:
        assert 0 < sent < 300
    stretches = [*baseline.delivered["stretches"], *load.delivered["stretches"]]
    assert [one["stretch"] for one in stretches] == ["conversations", "held", "open"]
    assert all(one["ended"] for one in stretches)
    assert all(one["requests"] > one["warmup"] for one in stretches), "the warm-up leaves something to measure"
    assert (
        stretches[-1]["ended"] == f"the run's limit of {next(iter(limit.values()))} {next(iter(limit))[4:]} was reached"
    )
    assert baseline.undelivered == load.undelivered == [], (
        "a limit that was asked for is no load that was not delivered"
    )
    assert found(load, "response_time").value is not None
    assert "raise the limit" in found(load, "system_stability").reason + found(load, "response_time").reason


def test_what_a_limit_kept_from_being_measured_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def soon(messages: list[dict[str, Any]]) -> str:
        await asyncio.sleep(0.001)
        return "ok"

    _, load = run_of(soon, ["baseline", "load"], monkeypatch, max_requests=1).phases
    assert load.delivered == {}
    for name in ("response_time", "concurrent_requests", "error_rate"):
        assert found(load, name).verdict == "not measured"
        assert found(load, name).reason == "the run's limit of 1 requests was reached"
    assert load.verdict == "not measured"


def test_a_phase_of_which_nothing_can_be_driven_takes_no_time_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def soon(messages: list[dict[str, Any]]) -> str:
        return "ok"

    (token,) = run_of(soon, ["token"], monkeypatch).phases
    assert found(token, "memory_growth").reason == "the phase took no time, for nothing of it can be driven here"


def test_a_phase_may_have_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[phases]]\nname = "baseline"\nmax_requests = 7\n[[phases]]\nname = "load"\n')

    async def soon(messages: list[dict[str, Any]]) -> str:
        await asyncio.sleep(0.001)
        return "ok"

    result = run_of(soon, ["baseline", "load"], monkeypatch, plan=str(plan))
    assert result.phases[0].delivered["stretches"][0]["ended"] == "the phase's limit of 7 requests was reached"
    assert result.phases[1].delivered["requests"] > 7


def blocking(seconds: float) -> Answer:
    """Holds up the client's own loop once, as a client that is short of time is held up."""
    numbers = itertools.count()

    async def answers(messages: list[dict[str, Any]]) -> str:
        if next(numbers) == 3:
            time.sleep(seconds)  # noqa: ASYNC251
        return "ok"

    return answers


def on_the_clients_loop(answer: Answer) -> Callable[..., Awaitable[Reply]]:
    """A target's send that has no loop of its own."""

    async def send(self: object, request: Request, row: object) -> Reply:
        return Reply(text=str(await answer([])))  # type: ignore[misc]

    return send


@pytest.mark.parametrize(("seconds", "verdict"), [(0.75, "failed"), (0.0, "not failed")])
def test_a_load_that_was_not_delivered_does_not_pass(
    seconds: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FunctionTarget, "send", on_the_clients_loop(blocking(seconds)))
    settings = {
        "rate": 40,
        "arrivals": "constant",
        "duration": 1.25,
        "metrics": "error_rate",
        "threshold": "error_rate<50%",
    }
    result = run_of(blocking(0.0), ["load"], monkeypatch, **settings)
    phase = result.phases[0]
    assert (phase.verdict == "failed") is (verdict == "failed"), phase.reason
    assert ("load not delivered: open: " in phase.reason) is (verdict == "failed")
    assert bool(phase.undelivered) is (verdict == "failed")
    assert result.run.exit_code == (3 if verdict == "failed" else 0)


def test_a_system_that_hangs_from_the_first_request_on_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(messages: list[dict[str, Any]]) -> str:
        await asyncio.sleep(3600)
        return "never"

    monkeypatch.setattr(session, "WARMUP_SHARE", 1.0)  # so that none counts, however slow the machine is
    phase = measured(hangs, "baseline", monkeypatch, duration=1.0, request_timeout=1.05)
    assert phase.delivered["requests"] == 0, "all of them were begun in the warm-up"
    assert phase.verdict == "failed"
    assert phase.unhandled == ["conversations: none of 4 requests was answered (timeout: no end within 1.05 s)"]


def test_the_result_is_saved_by_one_thread_at_a_time_and_never_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SAVE_EVERY_S", 0.01)
    given_back: list[None] = []
    monkeypatch.setattr(runner, "give_back", lambda: given_back.append(None))
    saving, most, saved = 0, 0, []
    lock = threading.Lock()

    def save(result: Result) -> None:
        nonlocal saving, most
        with lock:
            saving += 1
            most = max(most, saving)
        time.sleep(0.05)
        with lock:
            saving -= 1
        saved.append(result.run.id)

    monkeypatch.setitem(sys.modules, "answering", module := ModuleType("answering"))
    module.answer = repeats_all  # type: ignore[attr-defined]
    plan = configure(
        {"target": "python:answering:answer", "phase": ["baseline", "load"], "duration": 0.2}, keywords=True
    )

    async def run() -> tuple[Result, int]:
        result = await runner.execute_async(plan, save=save)
        return result, saving

    result, still_saving = asyncio.run(run())
    assert most == 1
    assert still_saving == 0
    assert len(saved) > 2
    assert len(given_back) == len(saved), "what building a result leaves free is given back"
    assert set(saved) == {result.run.id}


@pytest.mark.parametrize("fails", ["write", "close"])
def test_a_disk_that_fills_behind_the_raw_rows_costs_the_rows_alone(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = PerfsuiteError("cannot write raw rows to there: No space left on device")
    written, closed = RawWriter.write, RawWriter.close

    def write(self: RawWriter, data: bytes) -> None:
        written(self, data)
        if fails == "write":
            raise full

    def close(self: RawWriter) -> None:
        closed(self)
        raise full  # what could not be written before cannot be written now

    monkeypatch.setattr(RawWriter, "write", write)
    monkeypatch.setattr(RawWriter, "close", close)
    module = ModuleType("answering")
    module.answer = says_ok  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "answering", module)
    settings = {"target": "python:answering:answer", "phase": ["baseline", "load"], "duration": 0.4}
    result = asyncio.run(runner.execute_async(configure({**settings, "raw": tmp_path / "r.csv"}, keywords=True)))
    assert result.run.error is None, "nothing ended the run"
    assert [note for note in result.run.notes if str(full) in note]
    assert result.run.exit_code == 1, "what was asked for could not be written"
    assert [phase.name for phase in result.phases] == ["baseline", "load"]
    assert all(found(phase, "response_time").value is not None for phase in result.phases)


def test_what_was_measured_before_an_internal_error_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Probe.measure

    async def then_breaks(self: Probe, session: Session) -> Mapping[str, Evidence]:
        await measure(self, session)
        raise RuntimeError("a probe's own mistake")

    monkeypatch.setattr(Probe, "measure", then_breaks)
    phase = measured(says_ok, "baseline", monkeypatch)
    assert phase.verdict == "failed"
    assert "a probe's own mistake" in phase.unhandled[0]
    assert found(phase, "response_time").value is not None
    assert found(phase, "error_rate").value == 0


def test_a_temporary_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(PerfsuiteError, match=r"cannot make the temporary folder /.*: No such file.*TMPDIR"):
        asyncio.run(runner.execute_async(configure({"phase": ["token"], "duration": 0.1}, keywords=True)))
