"""Comparisons of memory systems, with those that cheat, lie, hang or die as negative controls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from perfsuite.errors import UsageError
from perfsuite.memory import registry
from perfsuite.suites.memory.comparison import ComparisonSettings, Entrant, compare, entrants
from perfsuite.suites.memory.comparison_result import PLUMBING, Comparison, Group, SystemResult
from perfsuite.workloads.memories import Seeded
from perfsuite.workloads.published import PublishedFile
from published_made import locomo, longmemeval, written

SMALL = Seeded(2, (100,), 50)


def compared(*names: str, settings: ComparisonSettings | None = None) -> Comparison:
    """Of systems_made, without the baselines where they are not named."""
    wanted = [f"systems_made:{name}" if name[0].isupper() else name for name in names]
    chosen = [one for one in entrants(wanted) if one.asked_for]
    return asyncio.run(compare(settings or ComparisonSettings(workload=SMALL, rounds=1, lasting=False), chosen))


@cache
def cheats() -> Comparison:
    settings = ComparisonSettings(workload=Seeded(2, (240,), 60), rounds=1, lasting=False)
    return compared("Honest", "Newest", "Giant", "Nothing", "fts5", settings=settings)


def group(comparison: Comparison, name: str) -> Group:
    (found,) = comparison.system(name).groups
    return found


def quality(comparison: Comparison, name: str, measure: str, kind: str = "all") -> float:
    value = group(comparison, name).quality[kind][measure].value
    assert value is not None
    return value


def test_an_honest_system_has_latencies_and_quality() -> None:
    for name in ("Honest", "fts5"):
        found = group(cheats(), name)
        assert found.recall.void == found.store.void == ""
        assert found.store.samples == found.memories == 240
        assert found.recall.samples == found.questions == 60
        assert found.cost_ms is not None
        assert quality(cheats(), name, "recall_500", "verbatim") == 1.0
        assert found.disk_bytes > 0
        assert found.resident_bytes > 1_000_000


@pytest.mark.parametrize("name", ["Newest", "Giant", "Nothing"])
def test_latencies_of_a_cheat_are_void_and_say_why(name: str) -> None:
    found = group(cheats(), name)
    assert "below the floor of 0.8" in found.recall.void
    assert found.store.void == found.recall.void
    assert found.cost_ms is None
    assert quality(cheats(), name, "recall_500") < 0.4


def test_one_giant_hit_wins_nothing() -> None:
    for measure in ("recall_500", "recall_1", "recall_k", "precision_k", "mrr", "ndcg_k"):
        assert quality(cheats(), "Giant", measure) < quality(cheats(), "Honest", measure) / 2, measure
    assert quality(cheats(), "Giant", "stale", "updated") >= quality(cheats(), "Honest", "stale", "updated")


def test_one_giant_hit_that_a_model_could_read_whole_has_no_latency_either() -> None:
    found = compared("Honest", "Giant", settings=ComparisonSettings(workload=SMALL, rounds=1, lasting=False))
    assert quality(found, "Giant", "recall_2000") > 0.8  # on all questions; the floor was of this once
    assert "below the floor of 0.8" in group(found, "Giant").recall.void
    assert group(found, "Honest").recall.void == ""


def test_all_saw_the_same_bytes() -> None:
    assert len({one.groups[0].digest for one in cheats().systems}) == 1


def test_without_a_model_quality_is_compared_in_pairs() -> None:
    found = cheats()
    assert found.heading == ""
    assert found.model == "none was asked"
    assert len(found.pairs) == 10
    pair = next(one for one in found.pairs if {one.a, one.b} == {"Honest", "Nothing"})
    assert pair.verdict in ("Honest finds more", "no difference shown")
    assert pair.low > 0.3


def troubled() -> Comparison:
    settings = ComparisonSettings(workload=SMALL, rounds=1, lasting=False, timeout_s=4.0)
    return compared("Honest", "Hangs", "Dies", "Garbage", "NeverStarts", settings=settings)


def test_the_others_are_kept_when_some_fail() -> None:
    found = troubled()
    status = {one.name: (one.status, one.reason) for one in found.systems}
    assert status["Honest"][0] == "measured"
    assert quality(found, "Honest", "recall_k", "verbatim") == 1.0
    for name, says in (("Hangs", "hung in recall"), ("Dies", "died in store"), ("NeverStarts", "no licence found")):
        assert status[name][0] == "failed"
        assert says in status[name][1]
        assert "round 1" in status[name][1]
    assert "out of ideas" in status["Dies"][1]
    garbage = found.system("Garbage")
    assert (garbage.status, garbage.groups) == ("failed", [])
    assert garbage.reason.startswith("100 memories: every one of 50 calls of recall failed: ")
    assert "not a list of hits" in garbage.reason
    assert not any("Garbage" in (pair.a, pair.b) for pair in found.pairs)


def test_a_hosted_service_without_its_key_is_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZEP_API_KEY", raising=False)
    monkeypatch.setattr(registry, "missing", lambda name: None)
    found = compared("Honest", "zep-cloud")
    cloud = found.system("zep-cloud")
    assert (cloud.status, cloud.reason, cloud.groups) == ("unverified", "no ZEP_API_KEY", [])
    assert found.system("Honest").status == "measured"


def test_a_system_that_fails_in_a_later_round_keeps_the_first() -> None:
    settings = ComparisonSettings(workload=SMALL, rounds=2, lasting=False)
    found = compared("Honest", "DiesLater", settings=settings)
    broken = found.system("DiesLater")
    assert (broken.status, len(broken.groups)) == ("failed", 1)
    assert "round 2" in broken.reason
    assert group(found, "Honest").rounds == 2


def test_a_system_that_hangs_when_it_is_closed_keeps_its_figures() -> None:
    settings = ComparisonSettings(workload=SMALL, rounds=2, timeout_s=1.5)
    found = compared("Honest", "NeverCloses", settings=settings)
    honest, hung = found.system("Honest"), found.system("NeverCloses")
    assert (hung.status, hung.reason) == ("measured", "")
    (trouble,) = hung.trouble
    assert "hung in close" in trouble
    assert "what was measured before is kept" in trouble
    assert group(found, "NeverCloses").rounds == 2
    assert quality(found, "NeverCloses", "recall_k") == quality(found, "Honest", "recall_k")
    assert hung.stored is not None
    assert hung.stored.found.value == 1.0
    assert hung.durability is not None
    assert hung.durability.durable.value == 1.0
    assert honest.trouble == []


def test_a_start_has_a_time_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        name: replace(registry.find(f"systems_made:{name}"), start_s=seconds, waits_for="its gong")
        for name, seconds in (("TakesItsTime", 600.0), ("NeverOpens", 1.0))
    }
    every = {**registry.known(), **known}
    monkeypatch.setattr(registry, "known", lambda: every)
    said: list[str] = []
    settings = ComparisonSettings(workload=SMALL, rounds=1, lasting=False, timeout_s=2.0)
    chosen = [one for one in entrants(list(known)) if one.asked_for]
    found = asyncio.run(compare(settings, chosen, said.append))
    assert found.system("TakesItsTime").status == "measured"
    assert "NeverOpens hung in start (waiting for its gong): nothing came" in found.system("NeverOpens").reason
    assert any(text.endswith("NeverOpens (up to 1 s for its gong)") for text in said)


def test_failed_calls_and_moods_are_counted() -> None:
    settings = ComparisonSettings(workload=SMALL, rounds=2, lasting=False)
    found = group(compared("Moody", settings=settings), "Moody")
    assert found.recall.failed == 2 * (50 // 7)
    assert found.recall.first_errors == ["ValueError: not today"]
    assert found.recall.p99 is None
    assert found.recall.p50 is not None
    assert found.same_answers is False


def test_what_rests_on_the_stand_in_ranks_nothing() -> None:
    found = compared("Honest", "AsksModel")
    assert found.heading == PLUMBING
    assert found.pairs == []
    assert [one.rests_on_stand_in for one in found.systems] == [False, True]
    asks = found.system("AsksModel")
    assert (asks.kind, asks.disabled, asks.patches) == ("extracting", ["telemetry"], ["none of note"])
    use = asks.groups[0].store_model
    assert (use.chat_calls, use.embedding_calls) == (1.0, 1.0)
    assert use.prompt_characters == use.embedded_characters > 20
    mean = asks.groups[0].store.mean
    assert mean is not None
    assert 0.0 < use.wait_ms < mean
    assert asks.groups[0].recall_model.chat_calls == 0.0
    assert "stand-in" in found.model


def test_rounds_take_turns() -> None:
    said: list[str] = []
    chosen = [one for one in entrants(["systems_made:Honest", "fts5"]) if one.asked_for]
    settings = ComparisonSettings(workload=Seeded(0, (20, 40), 10), rounds=2, lasting=False)
    asyncio.run(compare(settings, chosen, said.append))
    assert [text.rpartition(": ")[2] for text in said] == ["Honest", "fts5", "fts5", "Honest"] * 2
    assert said[0] == "20 memories, round 1 of 2: Honest"


def lasting(name: str) -> SystemResult:
    settings = ComparisonSettings(workload=Seeded(0, (20,), 10), rounds=1, wait_s=0.1)
    return compared(name, settings=settings).system(name)


@pytest.mark.parametrize(
    ("name", "durable", "flushed"), [("Honest", 1.0, 1.0), ("Liar", 0.0, 1.0), ("Forgetful", 0.0, 0.0)]
)
def test_acknowledged_visible_and_durable_are_told_apart(name: str, durable: float, flushed: float) -> None:
    found = lasting(name)
    assert found.trouble == []
    kept = found.durability
    assert kept is not None
    assert kept.acknowledged == 24
    assert kept.visible.value == 1.0
    assert (kept.durable.value, kept.flushed.value) == (durable, flushed)
    assert found.stored is not None
    assert found.stored.at_once.value == 1.0


def test_what_is_found_after_a_flush_only_is_not_visible() -> None:
    found = lasting("Slow")
    assert found.stored is not None
    assert found.stored.at_once.value == found.stored.found.value == 0.0
    assert found.stored.delay_ms is None
    assert found.durability is not None
    assert found.durability.visible.value == 1.0


def test_a_system_that_finds_nothing_says_nothing_of_durability() -> None:
    kept = lasting("Nothing").durability
    assert kept is not None
    assert kept.durable.value is None
    assert "before a kill either" in kept.durable.reason


@pytest.mark.parametrize(("make", "name"), [(longmemeval, "LongMemEval"), (locomo, "LoCoMo")])
def test_published_sets_are_scored_by_their_labels(
    make: Callable[[], list[dict[str, object]]], name: str, tmp_path: Path
) -> None:
    values = make()
    broken: dict[str, object] = {"nothing": 1}
    file = PublishedFile(written(tmp_path / "set.json", [*values, broken]))
    found = compared("fts5", "Nothing", settings=ComparisonSettings(workload=file, rounds=1, lasting=False))
    good = group(found, "fts5")
    assert (good.name, good.cases) == (name, len(values))
    assert good.recall.void == ""
    assert good.quality["asked"]["recall_k"].value == 1.0
    assert "noise" not in good.quality["all"]
    assert group(found, "Nothing").quality["asked"]["recall_k"].value == 0.0
    assert any("neither haystack_sessions" in text for text in found.damaged)


def test_the_baselines_always_take_part() -> None:
    chosen = entrants(["reference"])
    assert [one.name for one in chosen] == ["reference", "fts5", "sqlite-vec"]
    assert [one.asked_for for one in chosen] == [True, False, False]
    assert [one.name for one in entrants(["sqlite-vec"])] == ["sqlite-vec", "fts5"]


def test_every_unknown_name_is_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"(?s)referense.*did you mean reference.*memo"):
        entrants(["referense", "memo!"])


def test_what_is_not_installed_is_in_the_result() -> None:
    (honest,) = [one for one in entrants(["systems_made:Honest"]) if one.asked_for]
    absent = Entrant(name="absent", start=honest.start, missing="absent needs absence: pip install absence")
    settings = ComparisonSettings(workload=Seeded(0, (20,), 10), rounds=1, lasting=False)
    found = asyncio.run(compare(settings, [absent, honest]))
    assert found.system("absent").status == "not installed"
    assert "pip install absence" in found.system("absent").reason
    assert found.system("Honest").groups


def test_an_interrupted_comparison_has_what_was_measured() -> None:
    async def interrupt() -> Comparison:
        chosen = [one for one in entrants(["systems_made:Honest", "fts5"]) if one.asked_for]
        settings = ComparisonSettings(workload=Seeded(0, (20, 20_000), 10), rounds=1)

        def say(text: str) -> None:
            if text.startswith("20,000"):
                asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.create_task(compare(settings, chosen, say))
        return await task

    found = asyncio.run(interrupt())
    assert found.interrupted
    assert found.group_names == ["20 memories"]
    assert [one.status for one in found.systems] == ["measured", "measured"]


def test_what_was_not_reached_when_it_was_interrupted_is_not_called_measured() -> None:
    async def interrupt() -> Comparison:
        chosen = [one for one in entrants(["systems_made:Honest", "fts5"]) if one.asked_for]

        def say(text: str) -> None:
            if text.endswith("fts5"):
                asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.create_task(compare(ComparisonSettings(workload=SMALL, rounds=1), chosen, say))
        return await task

    found = asyncio.run(interrupt())
    assert found.system("Honest").status == "measured"
    assert (found.system("fts5").status, found.system("fts5").groups) == ("not measured", [])
    assert "interrupted before its turn was over" in found.system("fts5").reason


@pytest.mark.parametrize(("rounds", "k"), [(0, 5), (1, 0)])
def test_settings_that_measure_nothing(rounds: int, k: int) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        asyncio.run(compare(ComparisonSettings(workload=SMALL, rounds=rounds, k=k), []))


def test_a_system_cannot_take_part_twice() -> None:
    chosen = entrants(["fts5"])
    with pytest.raises(UsageError, match="fts5 takes part twice"):
        asyncio.run(compare(ComparisonSettings(workload=SMALL), [*chosen, *chosen]))
