"""When resources have moved: the plateau, and a system that never lets go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from perfsuite.evidence import NotMeasured, Samples
from perfsuite.suites.reallocation import MemoryWatch, Switch

MIB = 1 << 20


def watch(plateaus: dict[str, int], accounted: dict[str, int] | None, rounds: int = 8) -> MemoryWatch:
    """A watch that saw the models in turn, memory stepping to each one's plateau after 40 ms."""
    inside = SimpleNamespace(resident_bytes=lambda: 0) if accounted is not None else None
    session: Any = SimpleNamespace(
        plan=SimpleNamespace(pid=None),
        target=SimpleNamespace(process_ids=(1,), name="t", inspection=inside),
        own_processes=set(),
        phase_started=0.0,
    )
    found = MemoryWatch(cast("Any", session))
    names = list(plateaus)
    last = plateaus[names[0]]
    for number in range(rounds):
        model = names[number % len(names)]
        switch = Switch(model, float(number))
        switch.memory = [(0.01 * i, last if i < 4 else plateaus[model]) for i in range(20)]
        last = plateaus[model]
        found._done.append(switch.settled())
    found._accounted = accounted or {}
    return found


def test_time_to_the_plateau() -> None:
    found = watch({"a": 100 * MIB, "b": 140 * MIB}, {"a": 30 * MIB, "b": 70 * MIB}).evidence()
    assert isinstance(found, Samples)
    assert found.failed == 0
    assert found.histogram.count == 7
    assert found.histogram.quantile(0.5) == pytest.approx(40.0, rel=0.01)
    assert list(found.series) == [(float(number), pytest.approx(40.0)) for number in range(1, 8)]


def test_a_system_that_never_releases_fails() -> None:
    found = watch({"a": 170 * MIB, "b": 170 * MIB}, {"a": 30 * MIB, "b": 70 * MIB}).evidence()
    assert isinstance(found, Samples)
    assert found.failed == 7
    assert found.histogram.count == 0


def test_models_of_one_size_cannot_tell() -> None:
    found = watch({"a": 170 * MIB, "b": 170 * MIB}, {"a": 30 * MIB, "b": 31 * MIB}).evidence()
    assert isinstance(found, Samples)
    assert found.failed == 0


def test_a_return_out_of_the_band_counts_to_the_last_moment_outside() -> None:
    switch = Switch("a", 0.0)
    values = [100, 100, 150, 151, 100, 150, 150, 150, 150, 150, 150]
    switch.memory = [(0.01 * i, value * MIB) for i, value in enumerate(values)]
    assert switch.settled_ms() == pytest.approx(50.0)


def test_no_process_is_not_measured() -> None:
    session: Any = SimpleNamespace(
        plan=SimpleNamespace(pid=None),
        target=SimpleNamespace(process_ids=(), name="far", inspection=None),
        own_processes=set(),
        phase_started=0.0,
    )
    found = MemoryWatch(session).evidence()
    assert isinstance(found, NotMeasured)
    assert "--pid" in found.reason
