"""The memory suite on systems whose behaviour is known: what it measures, and that it believes none of them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import psutil
import pytest

from perfsuite.api import arun
from perfsuite.result import MetricResult, PhaseResult, Result
from perfsuite.suites.memory import footprint
from perfsuite.suites.memory.footprint import Reading, scales
from perfsuite.suites.memory.throughput import operations

TIERS = ("hot", "warm", "cold")


def measured(name: str, system: str, **settings: Any) -> PhaseResult:
    """One benchmark on a system of memory_systems; latency ends by its samples, long before its time."""
    duration = "60s" if name == "latency" else "1s"
    target = system if system.startswith("memory:") else f"memory:memory_systems:{system}"
    result: Result = asyncio.run(
        arun(name, target, **{"duration": duration, "samples": 40 if name == "latency" else 10**6, **settings})
    )
    assert result.run.error is None
    return result.phases[0]


def metric(phase: PhaseResult, name: str) -> MetricResult:
    found = phase.metric(name)
    assert found is not None
    return found


def test_latency_is_told_by_the_tier_that_the_system_says() -> None:
    phase = measured("latency", "Tiered")
    found = metric(phase, "recall_latency")
    assert found.details["recall_at_5"] == 1.0
    assert (found.verdict, found.reason) == ("undecided", "take more samples: --samples 500")
    for call in ("recall", "synthesize"):
        assert [metric(phase, f"{call}_latency_{tier}").samples > 0 for tier in TIERS] == [True] * 3
    assert metric(phase, "store_latency").samples == 120
    assert metric(phase, "synthesize_latency").samples > 0


def test_tiers_that_a_system_claims_for_what_does_not_exist_are_not_believed() -> None:
    phase = measured("latency", "Liar")
    assert metric(phase, "recall_latency").samples > 0
    for tier in TIERS:
        found = metric(phase, f"recall_latency_{tier}")
        assert found.verdict == "not measured"
        assert "hot of a memory that does not exist: its tiers are not believed" in found.reason


def test_a_tier_that_no_memory_is_in_is_not_measured() -> None:
    phase = measured("latency", "AllHot")
    assert metric(phase, "recall_latency_hot").samples > 0
    assert (
        "none was asked for in the cold tier, by the system's own word" in metric(phase, "recall_latency_cold").reason
    )


def test_a_system_without_tiers_says_so() -> None:
    phase = measured("latency", "memory:fts5")
    assert metric(phase, "recall_latency").samples > 0
    assert "it has no tier_of" in metric(phase, "store_latency_hot").reason
    assert "does not synthesize" in metric(phase, "synthesize_latency").reason


def test_a_system_that_answers_fast_and_wrong_has_no_latency() -> None:
    phase = measured("latency", "Forgetful")
    found = metric(phase, "recall_latency")
    assert found.verdict == "failed"
    assert found.value is None
    assert re.search(r"void: .* found 0 of \d+ memories", found.reason)
    assert metric(phase, "recall_latency_hot").verdict == "not measured", "what has no criterion cannot miss it"
    assert metric(phase, "store_latency").samples > 0
    assert (phase.verdict, phase.reason) == ("failed", "recall_latency p99 failed")


@pytest.mark.parametrize(
    ("system", "text"),
    [
        ("HangsLater", "hung in store"),
        ("DiesLater", "died in store .SIGABRT.*segment 7 is damaged"),
        ("NeverStarts", "could not be started: RuntimeError: no licence found"),
    ],
)
def test_a_system_that_is_gone_fails_the_phase_and_keeps_what_was_measured(system: str, text: str) -> None:
    phase = measured("latency", system, request_timeout="1s")
    assert phase.verdict == "failed"
    assert re.search(text, phase.unhandled[0])
    found = metric(phase, "store_latency")
    if system == "NeverStarts":
        assert "could not be started" in found.reason
    else:
        assert found.samples == 50  # of the batch before


def test_each_benchmark_of_the_suite_is_tried_though_one_fails() -> None:
    result = asyncio.run(arun("suite", "memory:memory_systems:DiesLater", duration="20s", samples=10, max_scale=32))
    latency, throughput, grown = result.phases
    assert throughput.verdict == "failed"
    assert "DiesLater died in store (SIGABRT)" in throughput.unhandled[0]
    assert (latency.unhandled, grown.unhandled) == ([], [])  # so few memories do not break it
    assert metric(grown, "memory_per_1000").value is not None
    assert result.run.exit_code == 3


def test_calls_that_raise_are_failures_and_no_operations() -> None:
    phase = measured("throughput", "Refuser", workers=3)
    found = metric(phase, "throughput")
    assert found.details["failed"] > 0
    errors = metric(phase, "operation_errors")
    assert found.details["operations"] + found.details["failed"] == errors.samples
    assert errors.value == pytest.approx(0.5, abs=0.01)  # every store, and no recall
    (error,) = phase.errors
    assert error.kind == "target"
    assert "refused" in error.first[0]
    assert error.count == found.details["failed"]
    assert errors.verdict == "failed"
    assert phase.verdict == "failed"


def test_a_system_that_fails_no_operation_passes() -> None:
    """The negative control."""
    phase = measured("throughput", "Plain")
    errors = metric(phase, "operation_errors")
    assert errors.value == 0.0
    assert errors.verdict in ("passed", "undecided")  # by how many there are on this machine


def test_a_system_that_finds_nothing_has_no_throughput() -> None:
    phase = measured("throughput", "Forgetful")
    for name, verdict in (("throughput", "failed"), ("operation_latency", "not measured")):
        found = metric(phase, name)
        assert (found.verdict, found.value) == (verdict, None)
        assert re.search(r"void: none of \d+ recalls found anything", found.reason)
    assert metric(phase, "operation_errors").value == 0.0
    assert phase.verdict == "failed"


def test_a_system_all_of_whose_calls_raise_has_no_throughput() -> None:
    phase = measured("throughput", "AlwaysRefuses")
    assert metric(phase, "throughput").value == 0.0
    assert phase.verdict == "failed"


def test_workers_are_those_that_the_system_allows() -> None:
    found = metric(measured("throughput", "Threaded", workers=4), "throughput")
    assert (found.details["workers"], found.details["workers_at_a_time"]) == (4, 4)
    assert found.details["times_within_objective"] == pytest.approx(found.value / 100)
    alone = metric(measured("throughput", "Plain", workers=4), "throughput")
    assert (alone.details["workers"], alone.details["workers_at_a_time"]) == (4, 1)
    assert "may not overlap" in alone.details["why"]


def test_what_the_harness_costs_is_told_and_subtracted_where_it_shows() -> None:
    details = metric(measured("throughput", "Answers"), "throughput").details
    assert details["harness_share"] > 0.01
    assert details["harness_subtracted_ms"] > 0
    slow = metric(measured("throughput", "AnswersSlowly"), "throughput").details
    assert 0 < slow["harness_share"] < 0.01
    assert "harness_subtracted_ms" not in slow


def test_the_mix_is_the_same_for_a_seed_and_goes_on_without_end() -> None:
    first, again, other = (operations(seed) for seed in (5, 5, 6))
    drawn = [next(first) for _ in range(50)]
    assert drawn == [next(again) for _ in range(50)]
    assert drawn != [next(other) for _ in range(50)]
    assert [one.method for one in drawn[:4]] == ["store", "recall", "store", "recall"]


def test_footprint_is_the_slope_over_scales() -> None:
    """A system that holds 64 KiB for each memory is found to hold 64 MiB for each 1,000."""
    phase = measured("footprint", "Holder", max_scale=512)
    found = metric(phase, "memory_per_1000")
    assert found.value == pytest.approx(1000 * 65536, rel=0.1)
    assert found.verdict == "failed"  # the objective is 50 MB
    assert found.details["times_within_objective"] == pytest.approx(50e6 / 65.536e6, rel=0.1)
    assert [row["memories"] for row in found.details["scales"]] == [16, 32, 64, 128, 256, 512]


def test_a_small_system_meets_the_objective() -> None:
    """The negative control."""
    phase = measured("footprint", "Plain", max_scale=512)
    assert metric(phase, "memory_per_1000").verdict == "passed"


def test_a_system_that_keeps_nothing_has_no_footprint() -> None:
    phase = measured("footprint", "Forgetful", max_scale=128)
    for name, verdict in (("memory_per_1000", "failed"), ("disk_per_1000", "not measured")):
        found = metric(phase, name)
        assert (found.verdict, found.value) == (verdict, None)
        assert "void: none of 600 questions found anything" in found.reason
    assert phase.verdict == "failed"


def test_scales_are_halves() -> None:
    assert scales(50_000) == [1562, 3125, 6250, 12500, 25000, 50000]
    assert scales(3) == [1, 3]
    assert scales(1) == [1]


def test_a_scale_beyond_memory_is_left_out_and_the_others_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=24 << 20)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    phase = measured("footprint", "Holder", max_scale=512)
    found = metric(phase, "memory_per_1000")
    assert [row["memories"] for row in found.details["scales"]] == [16, 32, 64, 128, 256]
    (left_out,) = found.details["left_out"]
    assert re.search("512 memories: would take about 3.* MiB, and 24 MiB are free: lower --max-scale", left_out)


def test_a_first_scale_that_turns_out_too_large_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has none before it that tells what it would take."""
    free = psutil.virtual_memory()._replace(available=24 << 20)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    found = metric(measured("footprint", "Holder", max_scale=64_000), "memory_per_1000")
    assert found.verdict == "not measured"
    assert re.search(
        r"0 scales were measured.*: 2,000 memories: would take about 1\d\d MiB, and [45]\d MiB are free: lower --max",
        found.reason,
    )
    first, *others = found.details["left_out"]
    assert first.startswith("2,000 memories: would take")
    assert others == [f"{scale:,} memories: 2,000 do not fit either" for scale in (4000, 8000, 16000, 32000, 64000)]


def test_scales_that_would_take_too_long_are_left_out_unless_they_were_named() -> None:
    last = Reading(memories=100, memory_bytes=1, resident_bytes=1, disk_bytes=1, peak_bytes=1, seconds=60.0, answered=1)
    assert footprint._too_long(200, [last], 0.0, None) is None
    assert "name --max-scale" in str(footprint._too_long(200, [last], 0.0, 1.0))


def test_where_scales_are_left_out_others_lie_between(monkeypatch: pytest.MonkeyPatch) -> None:
    def reading(memories: int) -> Reading:
        return Reading(
            memories=memories, memory_bytes=1, resident_bytes=1, disk_bytes=1, peak_bytes=1, seconds=1.0, answered=1
        )

    assert footprint.between([reading(n) for n in (62, 125, 250, 500)]) == [375]
    assert footprint.between([reading(n) for n in (62, 125, 250)]) == [187, 93]
    assert footprint.between([reading(62)]) == []
    assert footprint.between([reading(n) for n in (1, 2, 3, 4, 5)]) == []
    monkeypatch.setattr(footprint, "SHORTEST_S", 0.0)
    phase = measured("footprint", "Lingering", duration="1s")  # whose larger scales take longer than that
    found = metric(phase, "memory_per_1000")
    assert len(found.details["left_out"]) > 0
    assert all("name --max-scale" in text for text in found.details["left_out"])


def test_chat_phases_are_not_measurable_on_a_memory_system() -> None:
    result = asyncio.run(arun("load", "memory:fts5", duration="1s"))
    assert result.verdict == "not measured"
    assert "it does not chat: run latency" in result.phases[0].metrics[0].reason


def test_the_files_have_the_names_of_the_document(tmp_path: Path) -> None:
    asyncio.run(arun("suite", "memory:fts5", duration="1s", samples=20, max_scale=64, output=str(tmp_path)))
    names = sorted(re.sub(r"\d{8}_\d{6}", "TS", path.name) for path in tmp_path.iterdir())
    assert names == [
        "footprint_memory_footprint_TS.json",
        "latency_tier_latency_TS.json",
        "metrics-TS.html",
        "report-TS.md",
        "suite_full_suite_TS.json",
        "throughput_concurrent_throughput_TS.json",
    ]
    from perfsuite import load

    (single,) = tmp_path.glob("throughput_*.json")
    (whole,) = tmp_path.glob("suite_*.json")
    assert [phase.name for phase in load(single).phases] == ["throughput"]
    assert load(single).phases[0] == load(whole).phase("throughput")


def test_one_benchmark_alone_has_its_own_file(tmp_path: Path) -> None:
    asyncio.run(arun("throughput", "memory:memory_systems:Plain", duration="1s", output=str(tmp_path)))
    assert len(list(tmp_path.glob("throughput_concurrent_throughput_*.json"))) == 1
    assert not list(tmp_path.glob("results-*")) + list(tmp_path.glob("suite_*"))
