"""The capacity phase against systems whose slots, limits and troubles are known."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType

import pytest

from perfsuite import runner
from perfsuite.analysis.capacity_prediction import levels_of, predict
from perfsuite.configuration import configure
from perfsuite.errors import UsageError
from perfsuite.result import PhaseResult, dump, parse
from slotted import Answer, slots


def measured(answer: Answer, monkeypatch: pytest.MonkeyPatch, **more: object) -> PhaseResult:
    module = ModuleType("bearing")
    module.answer = answer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bearing", module)
    settings = {"target": "python:bearing:answer", "phase": ["capacity"], "duration": 8.0, "concurrency": 32, **more}
    plan = configure(settings, keywords=True, environment={})
    (phase,) = parse(dump(asyncio.run(runner.execute_async(plan)))).phases
    return phase


def test_slots_that_are_there_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four slots of 100 ms: 40 a second less what their clock takes, however many ask."""
    phase = measured(slots(4, 0.1), monkeypatch, threshold="response_time.p95<450ms")
    levels = {level.concurrency: level for level in levels_of(phase)}
    assert [*levels] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    peak, knee, within, error = (
        phase.metric(name) for name in ("peak_throughput", "knee_concurrency", "capacity_concurrency", "capacity_error")
    )
    assert peak is not None
    assert peak.value is not None
    assert levels[1.0].throughput < 10.5
    assert peak.value <= 42.0
    assert peak.value > 2.0 * levels[1.0].throughput
    assert isinstance(peak.details["slots"], float)
    assert 3.0 <= peak.details["slots"] <= 8.0
    assert knee is not None
    assert knee.value is not None
    assert knee.value <= peak.details["slots"]
    # Twice as many again wait twice as long; 450 ms are four rounds of four at most.
    assert within is not None
    assert within.value is not None
    assert within.value <= 18.5
    assert error is not None
    assert error.value is not None
    assert len(error.details["held_out"]) == 5
    # The phase's own latencies are of a level within the criteria, not of all that was tried.
    answered = phase.metric("response_time")
    assert answered is not None
    assert answered.samples < phase.delivered["requests"]


def test_a_level_that_fails_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = measured(slots(100, 0.05, fails_beyond=9, refuses_after_s=0.05), monkeypatch)
    found = phase.metric("capacity_concurrency")
    assert found is not None
    assert found.value == 8.0
    assert found.interval is not None
    assert found.interval[1] == 16.0
    # With nothing refused the same system bears all that was tried.
    free = measured(slots(100, 0.05), monkeypatch).metric("capacity_concurrency")
    assert free is not None
    assert free.value == 32.0
    assert free.interval == (32.0, None)


def test_too_little_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = measured(slots(4, 0.01), monkeypatch, duration=1.0)
    assert phase.verdict == "not measured"
    found = phase.metric("peak_throughput")
    assert found is not None
    assert found.value is None
    assert "levels" in (found.reason or "")


def test_a_load_by_rate_has_no_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("rate", 5.0), ("users", 3), ("think", 1.0), ("find_max", True)):
        with pytest.raises(UsageError, match=r"has no meaning for capacity|none of the phases capacity"):
            configure({"phase": ["capacity"], name: value}, keywords=True, environment={})


def test_a_prediction_says_how_far_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = measured(slots(4, 0.1), monkeypatch, threshold="response_time.p95<450ms")
    near, far = predict(phase, 12), predict(phase, 128)
    assert near is not None
    assert far is not None
    assert near.times_beyond < 1.0 < far.times_beyond
    assert far.times_beyond == 4.0
    assert far.within is False
    assert far.most_users is not None
    assert far.most_users < 20.0
    assert far.throughput.low <= far.throughput.value <= far.throughput.high
    (p95,) = far.latencies
    assert p95.limit == 450.0
    assert p95.value.value > 2000.0  # 32 rounds of four
    thinking = predict(phase, 12, 10.0)
    assert thinking is not None
    assert thinking.concurrency < 2.0
    assert thinking.within is True
    few = PhaseResult(name="capacity", verdict="passed")
    assert predict(few, 5) is None
