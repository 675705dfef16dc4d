"""The search for the highest rate, against systems whose highest rate is known."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from types import ModuleType
from typing import Any

import pytest

from perfsuite import runner
from perfsuite._core import Events
from perfsuite.analysis.levels import growth
from perfsuite.configuration import configure
from perfsuite.loadgen import Delivered, LoadSpec, driver
from perfsuite.loadgen.wire import drive_wire
from perfsuite.result import MetricResult, PhaseResult, Result
from perfsuite.serve.options import ModelDelays
from perfsuite.suites.searching import Ends
from perfsuite.suites.session import Stretch
from perfsuite.targets.base import Request
from perfsuite.targets.http.address import parse_address
from perfsuite.targets.http.target import ChatTarget
from serving import serving
from slotted import slots

Answer = Callable[[list[dict[str, Any]]], Awaitable[str] | AsyncIterator[str]]
TRIED = {"rate", "delivered", "p95_ms", "error_rate", "backlog_per_s", "borne", "verdict", "why"}


def searched(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, stop_after_s: float | None = None, **more: object
) -> Result:
    module = ModuleType("answering")
    module.answer = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "answering", module)
    plan = configure(
        {"target": "python:answering:answer", "phase": ["load"], "find_max": True, "duration": 12.0, **more},
        keywords=True,
        environment={},
    )

    async def main() -> Result:
        stop = asyncio.Event()
        if stop_after_s is not None:
            asyncio.get_running_loop().call_later(stop_after_s, stop.set)
        return await runner.execute_async(plan, stop=stop)

    return asyncio.run(main())


def highest(result: Result) -> tuple[PhaseResult, MetricResult]:
    (phase,) = result.phases
    found = phase.metric("max_rate")
    assert found is not None
    return phase, found


def test_the_highest_rate_of_a_system_with_known_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two slots of 50 ms bear 40 a second less what their clock takes; a criterion of 500 ms leaves a queue of 20."""
    phase, found = highest(searched(slots(2, 0.05), monkeypatch, threshold="response_time.p95<500ms"))
    assert found.value is not None
    assert 15.0 < found.value < 60.0
    rows = found.details["levels"]
    assert len(rows) >= 3
    assert all(row.keys() >= TRIED for row in rows)
    assert {row["verdict"] for row in rows} <= {"passed", "failed", "undecided"}
    low, high = found.interval or (None, None)
    failed = [row["rate"] for row in rows if row["verdict"] == "failed"]
    borne = [row["borne"] for row in rows if row["borne"] and (not failed or row["rate"] < min(failed))]
    assert low == max(borne, default=0.0)
    assert high == (min(failed) if failed else pytest.approx(float("inf")))
    assert all(row["rate"] > 20.0 for row in rows if row["verdict"] == "failed")
    # The levels are more than the system bears, and no figures of the phase.
    errors = phase.metric("error_rate")
    assert errors is not None
    assert errors.samples < phase.delivered["requests"]
    assert phase.undelivered == []
    assert phase.duration_s < 16.0, "bounded by the phase's time"


def test_a_system_that_refuses_fails_its_level_by_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = highest(searched(slots(2, 0.05, fails_beyond=4), monkeypatch, rate=200.0))
    first = found.details["levels"][0]
    assert first["verdict"] != "passed"
    if first["verdict"] == "failed":  # a client that was short of time on a busy machine decides nothing
        assert "error_rate" in first["why"]
    assert found.value is not None
    assert found.value < 150.0


def test_a_stop_keeps_the_levels_that_were_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    phase, found = highest(searched(slots(2, 0.05), monkeypatch, stop_after_s=8.5))
    assert phase.verdict == "interrupted"
    assert found.details["levels"]
    assert found.details["levels"][-1]["why"] == "stopped"


def test_a_limit_ends_the_search_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    phase, found = highest(searched(slots(2, 0.02), monkeypatch, max_requests=400, rate=40.0, duration=120.0))
    assert phase.delivered["requests"] <= 400
    assert "limit of 400 requests was reached" in str(found.details.get("ended") or found.reason)


def test_a_system_that_answers_nothing_has_no_highest_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(messages: list[dict[str, Any]]) -> str:
        await asyncio.sleep(0.01)
        raise RuntimeError("never")

    _, found = highest(searched(fails, monkeypatch, duration=2.0))
    assert found.verdict == "not measured"
    assert "no request was completed" in found.reason


def test_without_the_flag_nothing_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    (phase,) = searched(slots(4, 0.005), monkeypatch, find_max=False, duration=1.0).phases
    assert phase.metric("max_rate") is None
    (phase,) = searched(slots(4, 0.005), monkeypatch, find_max=False, duration=1.0, metrics="max_rate").phases
    assert [one.reason for one in phase.metrics] == ["--find-max searches it"]


@pytest.mark.parametrize(
    "by",
    [
        pytest.param(drive_wire, id="wire", marks=pytest.mark.skipif(sys.platform != "linux", reason="for Linux")),
        pytest.param(driver.drive, id="asyncio"),
    ],
)
def test_what_waits_for_a_connection_is_backlog(by: Any) -> None:
    """Two in flight of 50 ms each are 40 a second, of which 80 are due: the engine holds what it has no connection for,
    and the recorder does not know of it before it is sent."""
    spec, events, ends = LoadSpec(duration_s=1.5, rate=80.0, concurrency=2, seed=3), Events(), Ends(None)

    async def go() -> Delivered:
        async with serving(models=(ModelDelays("slow", 50, 0),), tokens=1) as server:
            address = parse_address(server.url, "a test")
            target = ChatTarget("openai", address, None, {"slow": address})
            await target.open()
            try:
                return await by(target, asked(), spec, events, on_reply=ends.heard)  # type: ignore[no-any-return]
            finally:
                await target.close()

    delivered = asyncio.run(asyncio.wait_for(go(), 60))
    flow = ends.flow(Stretch("level", spec, events, {}, delivered=delivered))
    assert len(flow.due) == len(flow.ended) == delivered.sent
    assert all(end - due >= 0.049 for due, end in zip(flow.due, flow.ended, strict=True)), "each end is its request's"
    assert growth(flow).grew
    assert max(flow.ended) > 0.9 * len(flow.due) / 40.0, "no more than two at a time were answered"


def asked() -> Iterator[Request]:
    for number in count():
        yield Request(
            message="m", messages=[{"role": "user", "content": "m"}], user_id="u", conversation_id=f"c{number}",
            model="slow",
        )  # fmt: skip
