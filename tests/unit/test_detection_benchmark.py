"""The benchmark of detection: its simulator does what it says, and its tables tell a good method from none."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "detection.py"
spec = importlib.util.spec_from_file_location("detection", FILE)
assert spec is not None
assert spec.loader is not None
detection: Any = importlib.util.module_from_spec(spec)
sys.modules["detection"] = detection
spec.loader.exec_module(detection)


def test_the_truth_is_the_truth() -> None:
    quiet = detection.World("quiet", run=0.0, tail=0.0, body=1e6)
    for factor in (1.0, 1.1):
        runs = [statistics.median(detection.Machine(quiet, str(n)).run(factor)) for n in range(5)]
        assert runs == pytest.approx([100.0 * factor] * 5, rel=1e-3)


def test_runs_vary_as_much_as_is_said() -> None:
    machine = detection.Machine(detection.World("w", run=0.05, tail=0.0, body=1e6), "seed")
    medians = [statistics.median(machine.run()) for _ in range(400)]
    assert statistics.stdev(medians) / 100.0 == pytest.approx(0.05, rel=0.12)


def test_the_machines_state_lasts_as_long_as_is_said() -> None:
    machine = detection.Machine(detection.World("w", run=0.0, slow=0.05, persistence=0.9, tail=0.0, body=1e6), "seed")
    medians = [statistics.median(machine.run()) for _ in range(600)]
    mean = statistics.fmean(medians)
    lag = sum((a - mean) * (b - mean) for a, b in itertools.pairwise(medians)) / sum((x - mean) ** 2 for x in medians)
    assert lag == pytest.approx(0.9, abs=0.08)


def test_the_same_seed_is_the_same_table() -> None:
    world = detection.WORLDS[-1]
    assert detection.pairs(world, 1.1, "a") == detection.pairs(world, 1.1, "a")
    assert detection.pairs(world, 1.1, "a") != detection.pairs(world, 1.1, "b")
    for decide in detection.HISTORIES.values():
        one, other = (detection.null_history(world, "a", decide, apart=True) for _ in range(2))
        assert one == other


def test_every_table_has_every_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "SAMPLES", 10)
    monkeypatch.setattr(detection, "LATER", 3)
    ab = list(detection.ab_table(2, 1))
    assert len(ab) == 1 + len(detection.WORLDS) * len(detection.AB)
    history = list(detection.history_table(5, 1))
    assert {world.name for world in detection.WORLDS} < {row[0] for row in history}
    assert all(len(row) == len(history[0]) for row in history)
    alone = list(detection.alone_table(2, 1))
    assert len(alone) == 1 + (len(detection.WORLDS) + 1) * len(detection.ALONE)


def test_the_table_tells_a_method_that_always_alarms_and_one_that_never_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would make any method look good would show here."""

    def always(base: Sequence[object], head: Sequence[object]) -> bool:
        return True

    def never(base: Sequence[object], head: Sequence[object]) -> bool:
        return False

    monkeypatch.setattr(detection, "AB", {"always": (detection.pairs, always), "never": (detection.long_runs, never)})
    monkeypatch.setattr(detection, "WORLDS", detection.WORLDS[:1])
    monkeypatch.setattr(detection, "SAMPLES", 5)
    _, one, other = detection.ab_table(30, 1)
    assert all(cell.startswith("100.0 %") for cell in one[2:])
    assert all(cell.startswith("0.0 %") for cell in other[2:])


def test_what_is_there_is_found_and_what_is_not_is_not() -> None:
    """Far from the thresholds, where a few repetitions say enough."""
    world = detection.World("calm", run=0.01)
    found = [detection.by_runs(*detection.pairs(world, 1.2, f"p{n}")) for n in range(10)]
    assert all(found)
    assert not any(detection.by_runs(*detection.pairs(world, 1.0, f"q{n}")) for n in range(10))
    for decide in detection.HISTORIES.values():
        assert all(detection.changed_history(world, f"r{n}", decide, 1.2, apart=False) for n in range(10))
        assert not any(detection.changed_history(world, f"s{n}", decide, 1.0, apart=False) for n in range(10))


def test_the_version_before_tells_a_change_from_a_day_that_is_shared() -> None:
    """A day that is 30 % slower: fresh runs confirm it, runs in turns do not."""
    world = detection.World("days", run=0.02, slow=0.0, persistence=1.0)
    machine = detection.Machine(world, "seed")
    history = [statistics.median(machine.run()) for _ in range(30)]
    assert detection.alone(history, 130.0, machine, 1.3)[0]

    class BadDay(detection.Machine):  # type: ignore[misc]
        def run(self, factor: float = 1.0, samples: int | None = None) -> Any:
            return super().run(1.3 * factor, samples)

    bad = BadDay(world, "bad")
    assert detection.alone(history, 130.0, bad, 1.0)[0]
    assert not detection.beside(history, 130.0, bad, 1.0)[0]
    assert detection.beside(history, 130.0, bad, 1.2)[0]


def test_stretches_taken_for_runs_cry_wolf_and_the_verdict_does_not() -> None:
    """Processes that differ by 5 %, and stretches that vary less."""
    world = detection.WORLDS[0]
    sides = [detection.days_apart(world, 1.0, f"t{n}") for n in range(20)]
    assert sum(detection.by_stretches(*pair) for pair in sides) >= 5
    assert not any(detection.by_alone(*pair) for pair in sides)
    assert all(detection.by_alone(*detection.days_apart(world, 1.9, f"u{n}")) for n in range(10))


def test_real_series_are_taken_from_comparisons_of_the_same(tmp_path: Path) -> None:
    """Of runs that vary by 1 %: nothing is found where nothing was added, and +10 % always."""
    draw = random.Random(3)
    figure = {"phase": "load", "metric": "response_time", "stat": "p50", "gates": True}
    runs = [{"values": {"load.response_time.p50": draw.lognormvariate(3.0, 0.01), "other": 1.0}} for _ in range(30)]
    changes = [{"figure": figure}, {"figure": {**figure, "stat": "p99", "gates": False}}]
    report = {"judgements": [{"changes": changes}], "runs": [*runs, {"values": {}, "error": "gone"}]}
    (tmp_path / "ab-1.json").write_text(json.dumps(report), encoding="utf-8")
    _, row = detection.series_table([tmp_path / "ab-1.json"])
    assert row[1:3] == ["load.response_time.p50", "30"]
    assert row[4:] == ["11", "0 %", "100 %", "100 %"]
