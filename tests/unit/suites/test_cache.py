"""A cache is judged warm, or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from perfsuite import runner
from perfsuite.configuration import configure
from perfsuite.evidence import Estimate, Evidence, NotMeasured, Share
from perfsuite.plan import Plan
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.result import MetricResult
from perfsuite.suites import cache
from perfsuite.suites.cache import TELLING, WARM_AFTER, CacheWatch
from perfsuite.targets.reference import ReferenceTarget


class Cache:
    """Counters that a test turns."""

    hits = misses = 0

    def cache_counts(self) -> tuple[int, int]:
        return self.hits, self.misses


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def watched(
    monkeypatch: pytest.MonkeyPatch, *, duration_s: float, hits: int, misses: int, a_second: float = 10.0
) -> Evidence:
    """A run of one slot at ten requests a second whose cache answers the first half as a cold one, and then as told of
    ten."""
    clock, inside = Clock(), Cache()
    monkeypatch.setattr(cache, "time", clock)
    target = SimpleNamespace(inspection=inside, name="fake")
    session = SimpleNamespace(target=target, access_pattern="any", duration_s=duration_s)
    watch = CacheWatch(cast("Any", session), 1)
    for number in range(int(duration_s * a_second)):
        clock.now += 1 / a_second
        warm = number + 1 >= max(WARM_AFTER, duration_s * a_second / 2)
        inside.hits += hits if warm else 0
        inside.misses += misses if warm else 10
        watch.look()
    return watch.evidence()


def test_what_was_asked_of_a_cold_cache_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    found = watched(monkeypatch, duration_s=20.0, hits=9, misses=1)
    assert isinstance(found, Share)
    assert found.hits / found.trials == pytest.approx(0.9)
    assert found.details["requests_warm"] == 100
    # Half of the time is over, and the conversations have only begun: it is not warm yet.
    found = watched(monkeypatch, duration_s=(WARM_AFTER + TELLING + 2) / 10, hits=9, misses=1)
    assert isinstance(found, Share)
    assert found.hits / found.trials == pytest.approx(0.9)


@pytest.mark.parametrize(("hits", "misses"), [(9, 1), (0, 10)])
def test_a_run_too_short_for_a_warm_cache_says_nothing_about_it(
    monkeypatch: pytest.MonkeyPatch, hits: int, misses: int
) -> None:
    found = watched(monkeypatch, duration_s=WARM_AFTER / 20, hits=hits, misses=misses)
    assert isinstance(found, Estimate)
    assert (found.low, found.high) == (0.0, 1.0)
    assert found.details["times_as_long"] == pytest.approx(4.0)
    # The warm-up ends with the last reply: what came before it is all that there is to show.
    found = watched(monkeypatch, duration_s=WARM_AFTER / 10, hits=hits, misses=misses)
    assert isinstance(found, Estimate)
    assert found.details["requests_warm"] == 0
    nothing = watched(monkeypatch, duration_s=0.05, hits=hits, misses=misses)
    assert isinstance(nothing, NotMeasured)


def measured(entries: int, duration_s: float, monkeypatch: pytest.MonkeyPatch) -> MetricResult:
    async def opened(plan: Plan, workdir: Path) -> ReferenceTarget:
        config = ReferenceConfig(path=workdir / "r.sqlite", embedding_entries=entries)
        target = ReferenceTarget(config.without_delays())
        await target.open()
        return target

    monkeypatch.setattr(runner, "open_target", opened)
    plan = configure({"phase": ["baseline"], "duration": duration_s, "metrics": "cache_hit_rate"}, keywords=True)
    result = asyncio.run(runner.execute_async(plan)).phases[0].metric("cache_hit_rate")
    assert result is not None
    return result


def test_a_short_run_of_a_good_cache_is_undecided_with_the_length_that_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WARM_AFTER", 10**6)  # however quick the machine is
    short = measured(5000, 0.3, monkeypatch)
    assert short.verdict == "undecided"
    assert short.reason.startswith("run ")
    assert short.reason.endswith(" or more")


@pytest.mark.parametrize(("entries", "verdicts"), [(5000, {"passed", "undecided"}), (4, {"failed"})])
def test_a_cache_that_misses_fails_and_a_good_one_does_not(
    entries: int, verdicts: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "WARM_AFTER", 5)  # however slow the machine is
    monkeypatch.setattr(cache, "TELLING", 5)
    found = measured(entries, 2.0, monkeypatch)
    assert found.verdict in verdicts, found
