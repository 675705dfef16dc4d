"""The benchmarks do what they say: every file imports, every contender can be called, the table loses nobody.

No times here: clocks are counted.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
spec = importlib.util.spec_from_file_location("peers", FOLDER / "peers.py")
assert spec is not None
assert spec.loader is not None
peers = importlib.util.module_from_spec(spec)
sys.modules["peers"] = peers
spec.loader.exec_module(peers)

# What a peer warns about is not ours to fail for.
pytestmark = pytest.mark.filterwarnings("default")

PATHS = {
    "compression": {"measure 1,000 round trips of 100 bytes"},
    "events": {"record a token of a request", "record a whole request"},
    "histogram": {"record a value", "stopwatch lap", "record_many, a million values", "p99 of a million values"},
    "limits": {"limiter check", "limiter check by key"},
    "lru": {"LRU hit", "LRU miss and evict", "embedding hit"},
    "sanitizing": {"100,000 characters, every other one goes", "100,000 characters of clean text"},
    "stats": {
        "bootstrap of the mean, n 1,000, B 10,000",
        "interval of p99, n 1,000",
        "Mann–Whitney, n 10,000",
        "Theil–Sen, n 1,000",
    },
    "stream": {"SSE event, stamped", "SSE event, taken"},
    "text": {"ROUGE-L, 10 KB", "longest common subsequence of words, 10 KB"},
    "trimming": {"trim to a token budget, 10,000 messages", "trim to 120 turns, 10,000 messages"},
}


def test_every_file_imports_and_lists_its_contests() -> None:
    listed = {subject: {title for title, _ in module.PEERS} for subject, module in peers.modules()}
    assert set(listed) == {path.stem.removeprefix("test_") for path in FOLDER.glob("test_*.py")}
    for subject, titles in PATHS.items():
        assert titles <= listed[subject], subject


@pytest.mark.parametrize("subject", sorted(PATHS))
def test_every_contender_can_be_called_once(subject: str) -> None:
    module = dict(peers.modules())[subject]
    called = 0
    for title, build in module.PEERS:
        module.missing.clear()
        contenders = build()
        assert peers.OURS in contenders, title
        assert len(contenders) + len(module.missing) >= 2, f"{title} has no peer, present or missing"
        assert not set(contenders) & set(module.missing), title
        if not module.missing:  # else a goal may be about one that is missing
            assert set(getattr(module, "GOALS", {}).get(title, ())) <= set(contenders), title
        for label, (call, operations) in contenders.items():
            assert operations >= 1, (title, label)
            call()
            called += 1
        getattr(module, "close", lambda: None)()
    assert called >= len(module.PEERS)


def test_the_memory_benchmark_measures_what_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With fewer memories: the figures are there, ours lose no answer, and the files go."""
    module = dict(peers.modules())["memory"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "MEMORIES", 1_000)
    monkeypatch.setattr(module, "ASKED", 50)
    monkeypatch.setattr(module, "TURNS", 2)
    try:
        for title, build in module.PEERS:
            contenders = build()
            assert set(module.GOALS[title]) <= set(contenders)
            for call, _ in contenders.values():
                call()
        figures = {title: measure() for title, _, measure, _ in module.FIGURES}
        assert all(found[peers.OURS] >= 0 for found in figures.values())
        assert figures["resident, 1,000 memories"][peers.OURS] > 0
        (lost,) = [found for title, found in figures.items() if title.startswith("missed")]
        assert lost[peers.OURS] < 10 < lost["FTS5, any word, by bm25"]
        folder = module._folder()
        assert folder.is_dir()
    finally:
        module.close()
    assert not folder.exists()
    assert [row.ratio for row in peers.measured({peers.OURS: 0.0, "peer": 2.0})] == [1.0, math.inf]


def test_goals_are_about_contests() -> None:
    for subject, module in peers.modules():
        assert set(getattr(module, "GOALS", {})) <= {title for title, _ in module.PEERS}, subject


def counted(calls: dict[str, int], label: str) -> Callable[[], object]:
    def call() -> None:
        calls[label] = calls.get(label, 0) + 1

    return call


def test_contenders_take_turns() -> None:
    """With a clock that gains 1 ms a reading all cost the same, and all get the same number of calls."""
    calls: dict[str, int] = {}
    clock = itertools.count(0, 1_000_000).__next__
    contenders = {label: (counted(calls, label), 10) for label in (peers.OURS, "a", "b")}
    rows = peers.timed(contenders, seconds=0.1, clock=clock)
    assert {row.label for row in rows} == set(contenders)
    assert len(set(calls.values())) == 1
    assert calls["a"] >= 1 + 2 + peers.LEAST_ROUNDS
    assert [row.figure for row in rows] == [1e5] * 3  # 1 ms a call, ten operations
    assert [row.ratio for row in rows] == [1.0] * 3


def test_the_minimum_of_the_rounds_counts() -> None:
    """A contender that is disturbed in all rounds but one is as quick as in that one."""
    now = [0]
    lengths = itertools.chain([9_000_000] * 4, itertools.cycle([8_000_000, 2_000_000]))

    def disturbed() -> None:
        now[0] += next(lengths)

    def steady() -> None:
        now[0] += 1_000_000

    rows = peers.timed({peers.OURS: (steady, 1), "peer": (disturbed, 1)}, seconds=1.0, clock=lambda: now[0])
    figures = {row.label: (row.figure, row.ratio) for row in rows}
    assert figures == {peers.OURS: (1e6, 1.0), "peer": (2e6, 2.0)}


def module_of(**names: object) -> SimpleNamespace:
    return SimpleNamespace(missing={}, **names)


def test_missing_peers_and_missed_goals_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(
        FIGURES=[
            ("bytes", "bytes", lambda: {peers.OURS: 50.0, "dict": 100.0}, 45.0),
            ("other", "bytes", lambda: {peers.OURS: 40.0}, 45.0),
        ]
    )

    def build() -> dict[str, Any]:
        module.missing["gone"] = "not installed"
        return {peers.OURS: (lambda: None, 1), "slow": (lambda: sum(range(2_000)), 1)}

    module.PEERS = [("path", build)]
    module.GOALS = {"path": {"slow": 1.0001, "gone": 3.0}}
    monkeypatch.setattr(peers, "modules", lambda: iter([("subject", module)]))
    path, size, other = peers.contests(seconds=0.01)
    assert [row.label for row in path.rows] == [peers.OURS, "slow"]
    assert dict(path.judged()) == {"slow ≥ 1": "reached", "gone ≥ 3": "not measured"}
    assert any("gone" in line and "missing" in line for line in peers.table(path))
    assert "gone missing" in peers.markdown(path)
    assert list(size.judged()) == [("≤ 45 bytes", "missed")]
    assert "≤ 45 bytes: **missed**" in peers.markdown(size)
    assert list(other.judged()) == [("≤ 45 bytes", "reached")]
    assert "missed" not in peers.markdown(other)
    assert "dict 2" in peers.markdown(size)


def test_contests_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def build() -> dict[str, Any]:
        return {peers.OURS: (lambda: None, 1)}

    module = module_of(PEERS=[("one", build), ("two", build)])
    monkeypatch.setattr(peers, "modules", lambda: iter([("subject", module)]))
    assert [contest.title for contest in peers.contests(["TWO"], 0.001)] == ["two"]
    assert [contest.title for contest in peers.contests(["subject"], 0.001)] == ["one", "two"]
    monkeypatch.setattr(sys, "argv", ["peers.py", "three"])
    with pytest.raises(SystemExit) as stopped:
        peers.main()
    assert stopped.value.code == 2
    assert "no contest is named three" in capsys.readouterr().err


@pytest.mark.parametrize(("ratio", "text"), [(0.5751, "0.575"), (12.34, "12.3"), (1234.5, "1,230"), (96_249, "96,200")])
def test_ratio(ratio: float, text: str) -> None:
    assert peers.times(ratio) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0.6421, "0.642 ns"), (999.4, "999 ns"), (999.6, "1 µs"), (12_345.0, "12.3 µs"), (5e8, "500 ms"), (2e9, "2 s")],
)
def test_readable(nanoseconds: float, text: str) -> None:
    assert peers.readable(nanoseconds) == text


def test_the_readme_begins_with_rows_of_its_whole_table() -> None:
    readme = (FOLDER.parent / "README.md").read_text(encoding="utf-8")

    def rows(name: str) -> list[str]:
        table = readme.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
        return [line for line in table.splitlines() if line.startswith("| ")][2:]

    whole = rows("ratios")
    titles = [row.split(" | ")[0].removeprefix("| ") for row in whole]
    assert set(titles) >= set().union(*PATHS.values())
    chosen = [row for row, title in zip(whole, titles, strict=True) if any(one in title for one in peers.HEADLINES)]
    assert rows("headlines") == chosen, "take both tables from one run of peers.py"
    assert len(chosen) >= len(peers.HEADLINES)
