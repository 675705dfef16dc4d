"""The five phases, for a second or two each, on the reference system and on systems that were broken on purpose.

What is asserted is what would break: that every metric of the documents is there with its interval, and that a system
which forgets, leaks, fails or stalls does not pass.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import perfsuite.runner as runner
from perfsuite._core import Row
from perfsuite.configuration import configure
from perfsuite.metric import catalogue
from perfsuite.plan import Plan, Workload
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.result import MetricResult, Result, dump, parse
from perfsuite.suites.probes import savings
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.targets.reference import ReferenceTarget

DOCUMENTED = {
    "baseline": {"memory_usage", "response_time", "context_preservation", "compression_ratio", "cache_hit_rate"},
    "cross-model": {
        "model_switch_time", "context_accuracy", "memory_growth", "window_optimization", "resource_reallocation",
        "context_window_limit", "switch_overhead",
    },
    "load": {
        "concurrent_requests", "response_time", "system_stability", "error_rate", "compression_efficiency",
        "cache_hit_rate",
    },
    "compression": {
        "compression_ratio", "decompression_time", "memory_savings", "context_preservation", "recovery_accuracy",
    },
    "token": {
        "window_optimization", "token_counting_accuracy", "truncation_time", "budget_compliance", "context_relevance",
        "token_efficiency",
    },
}  # fmt: skip


def plan_of(*names: str, duration: str = "1.5s", **settings: object) -> Plan:
    return configure({"duration": duration, "phase": list(names) or None, **settings}, folder=Path("/"), environment={})


def run(plan: Plan, monkeypatch: pytest.MonkeyPatch, target: ReferenceTarget | None = None) -> Result:
    if target is not None:

        async def opened(plan: Plan, workdir: Path) -> ReferenceTarget:
            await target.open()
            return target

        monkeypatch.setattr(runner, "open_target", opened)
    return asyncio.run(runner.execute_async(plan))


def metrics(result: Result, phase: str) -> Mapping[str, MetricResult]:
    return {one.name: one for one in result.phase(phase).metrics}


def test_every_documented_metric_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Result] = []
    result = asyncio.run(runner.execute_async(plan_of(duration="3s"), save=saved.append))
    assert result.run.error is None
    assert [phase.name for phase in result.phases] == list(DOCUMENTED)
    for phase in result.phases:
        assert phase.unhandled == []
        found = metrics(result, phase.name)
        assert DOCUMENTED[phase.name] | {"memory_growth"} <= set(found)
        for name in DOCUMENTED[phase.name]:
            one = found[name]
            assert one.value is not None, (phase.name, name, one.reason)
            assert one.interval is not None, (phase.name, name)
            low, high = one.interval
            assert low is None or low <= one.value, one
            assert high is None or one.value <= high, one
            assert one.samples > 0
    # What is driven for a second or more is shown over time, too, each slice by its mean.
    for name in ("service_time", "ttft", "itl", "tpot"):
        one = metrics(result, "load")[name]
        assert one.stats is not None
        assert len(one.series) > 3, name
        assert all(
            one.stats.min * 0.99 <= value <= one.stats.max * 1.01 for _, value in one.series if value is not None
        ), name
    assert "language model" in result.run.simulated[0]
    assert parse(dump(result)).metrics.keys() == result.metrics.keys()
    assert len(saved) >= 5
    assert parse(dump(saved[2])).phases[0].verdict in ("passed", "undecided", "failed")
    assert result.run.verdict in ("passed", "undecided")


class Broken(ReferenceTarget):
    """The reference system at once, with something wrong."""

    def __init__(self) -> None:
        super().__init__(ReferenceConfig().without_delays())


class Forgets(Broken):
    async def send(self, request: Request, row: Row) -> Reply:
        reply = await super().send(request, row)
        reply.context = [message for message in reply.context or () if message["role"] != "system"][-1:]
        return reply


class Fails(Broken):
    calls = 0

    async def send(self, request: Request, row: Row) -> Reply:
        self.calls += 1
        if self.calls % 12 == 0:
            raise Failure("http_5xx", "503 <b>overloaded</b>")
        return await super().send(request, row)


class Leaks(Broken):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[bytearray] = []

    async def send(self, request: Request, row: Row) -> Reply:
        self.kept.append(bytearray(b"x") * 400_000)
        return await super().send(request, row)


class Stalls(Broken):
    async def send(self, request: Request, row: Row) -> Reply:
        row.sent()
        await asyncio.sleep(0.4)
        return await super().send(request, row)


def failed(result: Result, phase: str) -> set[str]:
    return {one.name for one in result.phase(phase).metrics if one.verdict == "failed"}


def test_the_same_system_unbroken_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("baseline", threshold=["response_time<300ms"])
    assert failed(run(plan, monkeypatch, Broken()), "baseline") == set()


def test_a_system_that_forgets_fails_context_preservation(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(plan_of("baseline"), monkeypatch, Forgets())
    assert "context_preservation" in failed(result, "baseline")
    assert result.run.exit_code == 3


def test_a_system_that_fails_requests_fails_error_rate_and_holds_no_concurrency(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = run(plan_of("load"), monkeypatch, Fails())
    assert {"error_rate", "concurrent_requests"} <= failed(result, "load")
    (errors,) = result.phase("load").errors
    assert errors.kind == "http_5xx"
    assert errors.count > 5
    assert "overloaded" in errors.first[0]


def test_a_system_that_leaks_fails_memory_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(plan_of("baseline", duration="6s"), monkeypatch, Leaks())
    assert "memory_growth" in failed(result, "baseline")


def test_a_system_that_stalls_fails_its_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(plan_of("baseline", threshold=["response_time<300ms"]), monkeypatch, Stalls())
    assert "response_time" in failed(result, "baseline")


def test_a_target_without_an_inside_is_not_measured_where_it_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(replace(plan_of("token", "baseline"), target=f"python:{__name__}:echo"), monkeypatch)
    token = result.phase("token")
    assert token.verdict == "not measured"
    assert not any("began" in event.text for event in token.events)  # what cannot be shown takes no time
    assert {one.verdict for one in token.metrics if not catalogue()[one.name].sampled} == {"not measured"}
    baseline = metrics(result, "baseline")
    assert baseline["response_time"].value is not None
    assert baseline["cache_hit_rate"].verdict == "not measured"
    assert baseline["context_preservation"].verdict in ("not measured", "failed")


def echo(messages: list[dict[str, object]]) -> str:
    return str(messages[-1]["content"])


def test_a_round_trip_does_not_stand_in_for_remembering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Recorded conversations have no planted facts: what baseline remembers of them is not measured."""
    path = tmp_path / "chats.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "Hello there"}]}\n', encoding="utf-8")
    result = run(plan_of("baseline", "token", conversations=str(path)), monkeypatch, Broken())
    assert metrics(result, "baseline")["context_preservation"].verdict == "not measured"
    assert any("generated here" in event.text for event in result.phase("token").events)


def test_what_is_stored_are_the_conversations_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The generated ones save 71 %: what says the same a thousand times saves nearly all, hexadecimal noise half."""
    same, noise = ["\x1b[1mWell.\x07 " * 1000] * 20, [random.Random(n).randbytes(12_000).hex() for n in range(20)]
    for texts, lowest, highest in ((same, 0.95, 1.0), (noise, 0.3, 0.6)):
        path = tmp_path / "chats.jsonl"
        lines = [{"messages": [{"role": "user", "content": text}]} for text in [*texts, "too short to be stored"]]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        found = metrics(run(plan_of("compression", conversations=str(path)), monkeypatch, Broken()), "compression")
        ratio = found["compression_ratio"]
        assert ratio.value is not None
        assert lowest < ratio.value < highest
        assert ratio.details["conversations"] == f"20 of {path}"
        assert (found["recovery_accuracy"].value, found["recovery_accuracy"].samples) == (1.0, 20)
        assert found["context_preservation"].verdict == "not measured"
        savings = found["memory_savings"]
        assert savings.value is not None
        assert savings.value < highest


def test_conversations_too_short_to_be_stored_are_not_replaced_by_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "chats.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "Hello there"}]}\n' * 50, encoding="utf-8")
    found = metrics(run(plan_of("compression", conversations=str(path)), monkeypatch, Broken()), "compression")
    for name in ("compression_ratio", "decompression_time", "recovery_accuracy", "memory_savings"):
        assert found[name].verdict == "not measured"
        assert found[name].reason == f"no conversation of 10,000 bytes and more was found in {path}"


def test_a_file_with_few_long_conversations_is_read_once_for_the_savings(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    long = json.dumps({"messages": [{"role": "user", "content": "x" * 20_000}]})
    path.write_text(long + '\n{"messages": [{"role": "user", "content": "Hello there"}]}\n' * 3, encoding="utf-8")
    source = savings.Source()
    session = SimpleNamespace(workload=Workload(conversations=path), seed=0, stop=asyncio.Event())
    (first, second) = (asyncio.run(source.lines(session, pair)) for pair in range(2))  # type: ignore[arg-type]
    assert first.count(b"\n") == savings.CONVERSATIONS
    assert first is second
    path.unlink()
    assert asyncio.run(source.lines(session, 2)) is first  # type: ignore[arg-type]


class Stops(Broken):
    """Has the run stopped in the middle of its first phase, however long it took to begin."""

    def __init__(self, stop: asyncio.Event) -> None:
        super().__init__()
        self._stop, self._asked = stop, False

    async def send(self, request: Request, row: Row) -> Reply:
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_later(3.0, self._stop.set)
        return await super().send(request, row)


def test_a_stop_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stopped() -> Result:
        stop = asyncio.Event()
        target = Stops(stop)

        async def opened(plan: Plan, workdir: Path) -> ReferenceTarget:
            await target.open()
            return target

        monkeypatch.setattr(runner, "open_target", opened)
        return await runner.execute_async(plan_of("baseline", "token", duration="6s"), stop=stop)

    result = asyncio.run(stopped())
    assert result.run.verdict == "interrupted"
    assert result.run.exit_code == 130
    assert [phase.name for phase in result.phases] == ["baseline"]
    assert metrics(result, "baseline")["response_time"].samples > 0


def test_an_internal_error_ends_the_run_and_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import perfsuite.suites.probes.window as window

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(window, "evidence", broken)
    result = run(plan_of("baseline", "token", "compression"), monkeypatch, Broken())
    assert [phase.name for phase in result.phases] == ["baseline", "token"]
    assert result.run.exit_code == 1
    assert result.run.error is not None
    assert "planted" in result.run.error
    assert metrics(result, "baseline")["response_time"].value is not None
    assert result.phase("token").verdict == "failed"


def test_a_time_out_ends_a_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(plan_of("baseline", "token", duration="20s", timeout="1s"), monkeypatch, Broken())
    for phase in result.phases:
        assert "time-out" in phase.unhandled[0]
        texts = [event.text for event in phase.events]
        assert sum("began" in text for text in texts) == 1  # the probe that ran into it was the last
