"""Systems of one's own in a comparison, from Python."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import perfsuite
from perfsuite.errors import UsageError
from perfsuite.history.store import History
from perfsuite.suites.memory.comparison_result import Comparison
from systems_made import Honest, Nothing


def run(*adapters: object, config: Any = None, **settings: Any) -> Comparison:
    comparison = perfsuite.ComparisonBenchmark(config or SimpleNamespace(n_samples=40, dimension=16))
    for adapter in adapters:
        comparison.add_competitor(adapter)
    return asyncio.run(comparison.run(rounds=1, lasting=False, **settings))


class Awaited(Honest):
    """As an adapter of a service would be: coroutines, on one loop."""

    name = "awaited"

    def __init__(self) -> None:
        super().__init__()
        self.loops: set[int] = set()

    async def store(self, text: str, **about: Any) -> Any:  # type: ignore[override]
        self.loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return super().store(text, **about)

    async def recall(self, query: str, k: int = 5) -> Any:
        self.loops.add(id(asyncio.get_running_loop()))
        return super().recall(query, k)


class Stuck(Honest):
    """Waits until the test is over."""

    name = "stuck"
    over = threading.Event()

    def recall(self, query: str, k: int = 5) -> Any:
        self.over.wait(120)
        return []


class Raises(Honest):
    """Cannot be opened here."""

    name = "raises"

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        raise OSError("no room")


def test_an_object_is_compared_with_the_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = tmp_path.with_name(f"{tmp_path.name}.db")
    monkeypatch.setenv("PERFSUITE_HISTORY", str(history))
    one = Awaited()
    found = run(one, config=SimpleNamespace(n_samples=40, dimension=16, output_dir=tmp_path))
    with History(str(history)) as past:
        assert [run_.id for run_ in past.runs()] == [found.id]
    assert [system.name for system in found.systems] == ["awaited", "fts5", "sqlite-vec"]
    (group,) = found.system("awaited").groups
    assert (group.memories, group.recall.samples) == (40, 20)
    assert group.recall.void == ""
    assert group.quality["verbatim"]["recall_k"].value == 1.0
    assert group.resident_bytes == 0
    assert any("in the process of the comparison" in note for note in found.system("awaited").notes)
    assert len(one.loops) == 1
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md", ".html"}
    assert found.settings["dim"] == 16


def test_each_round_finds_a_fresh_state() -> None:
    one = Honest()
    comparison = perfsuite.ComparisonBenchmark(SimpleNamespace(n_samples=20))
    comparison.add_competitor(one)
    found = asyncio.run(comparison.run(rounds=3, lasting=False))
    assert len(one.stored) == 20
    assert found.system("honest").groups[0].same_answers is True


def test_visibility_without_durability() -> None:
    comparison = perfsuite.ComparisonBenchmark(SimpleNamespace(n_samples=20))
    comparison.add_competitor(Honest())
    found = asyncio.run(comparison.run(rounds=1)).system("honest")
    assert found.stored is not None
    assert found.stored.at_once.value == 1.0
    assert found.durability is None
    assert found.trouble == []


def test_a_class_has_a_process_of_its_own() -> None:
    found = run(Nothing).system("Nothing")
    assert found.groups[0].resident_bytes > 0
    assert found.groups[0].recall.void


def test_one_that_hangs_or_fails_here_leaves_the_others() -> None:
    try:
        found = run(Stuck(), Raises(), Honest(), timeout_s=0.5)
    finally:
        Stuck.over.set()
    assert "stuck hung in recall" in found.system("stuck").reason
    assert "no room" in found.system("raises").reason
    assert found.system("honest").status == "measured"
    while any(thread.name == "memory system stuck" for thread in threading.enumerate()):
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("adapter", "says"),
    [
        (object(), "object is no memory system: it has no initialize, store"),
        (17, "int is no memory system"),
        ("fts6", "did you mean fts5"),
    ],
)
def test_what_is_no_system(adapter: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        perfsuite.ComparisonBenchmark().add_competitor(adapter)


def test_a_class_that_cannot_be_imported_is_refused() -> None:
    class Local(Honest):
        """Nobody else can import it."""

    with pytest.raises(UsageError, match=r"give an object, Local\(…\)"):
        perfsuite.ComparisonBenchmark().add_competitor(Local)


def test_a_name_is_taken_once() -> None:
    comparison = perfsuite.ComparisonBenchmark()
    comparison.add_competitor(Honest())
    with pytest.raises(UsageError, match="honest takes part already"):
        comparison.add_competitor(Honest())
    comparison.add_competitor("fts5")
