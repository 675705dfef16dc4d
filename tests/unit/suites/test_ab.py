"""Two versions in turns: the order, the verdict, failures, and what may not be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.result import Result
from perfsuite.suites import ab
from perfsuite.suites.fresh import RunFailed, Stopped
from runs_made import result, series

Make = Callable[[str, int], Result]


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Make], list[str]]:
    """Runs that are played: ``make(side, n)`` is the n-th of a side, from 0, the one that is thrown away."""
    for name in ("base", "head"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)

    def install(make: Make) -> list[str]:
        order: list[str] = []

        def measure(words: list[str], *, folder: Path, **more: Any) -> Result:
            order.append(folder.name)
            return make(folder.name, order.count(folder.name) - 1)

        monkeypatch.setattr(ab, "measure", measure)
        return order

    return install


def two(slower: float, **more: Any) -> Make:
    values = {"base": series(40, seed=1), "head": [slower * x for x in series(40, seed=2)]}

    def make(side: str, n: int) -> Result:
        # What is thrown away is far off: it would show.
        value = 1e4 if n == 0 else values[side][n]
        return result(n + (100 if side == "head" else 0), value, **more)

    return make


def test_runs_take_turns_and_the_first_of_each_is_thrown_away(sides: Callable[[Make], list[str]]) -> None:
    order = sides(two(1.0))
    report = ab.compare("base", "head", ["load"], pairs=10)
    assert order[:2] == ["base", "head"]
    assert order[2:] == ["base", "head", "head", "base"] * 5
    assert len(report.runs) == 20
    assert report.verdict == "ok"
    assert all(run.values["load.response_time.p50"] < 200 for run in report.runs)


def test_what_is_slower_is_found_either_way(sides: Callable[[Make], list[str]]) -> None:
    sides(two(1.12))
    report = ab.compare("base", "head", ["load"], pairs=10)
    assert report.verdict == "regressed"
    (judged,) = report.judgements
    change = next(one for one in judged.gating if one.figure.metric == "response_time")
    assert change.ratio == pytest.approx(1.12, rel=0.03)
    assert change.runs == (10, 10)
    sides(two(0.88))
    assert ab.compare("base", "head", ["load"], pairs=10).verdict == "improved"


def test_a_run_that_fails_is_told_and_the_rest_compared(sides: Callable[[Make], list[str]]) -> None:
    good = two(1.0)

    def make(side: str, n: int) -> Result:
        if side == "head" and n in (2, 5):
            raise RunFailed("out of memory")
        return good(side, n)

    sides(make)
    report = ab.compare("base", "head", ["load"], pairs=10)
    assert report.head.failed == 2
    assert report.verdict == "ok"
    assert any("2 of the runs of head failed: out of memory" in note for note in report.notes)
    assert sum(run.error is not None for run in report.runs) == 2


def test_a_side_that_keeps_failing_ends_it(sides: Callable[[Make], list[str]]) -> None:
    good = two(1.0)

    def make(side: str, n: int) -> Result:
        if side == "head" and n > 0:
            raise RunFailed("target gone")
        return good(side, n)

    order = sides(make)
    with pytest.raises(PerfsuiteError, match="3 runs of --head head failed: target gone"):
        ab.compare("base", "head", ["load"], pairs=10)
    assert len(order) < 10


@pytest.mark.parametrize("error", [UsageError("unknown phase"), RunFailed("no model")])
def test_what_is_wrong_at_once_is_said_at_once(sides: Callable[[Make], list[str]], error: PerfsuiteError) -> None:
    def make(side: str, n: int) -> Result:
        if side == "head":
            raise error
        return two(1.0)(side, n)

    order = sides(make)
    with pytest.raises(
        type(error).__mro__[1] if isinstance(error, RunFailed) else UsageError, match=f"--head head: {error}"
    ):
        ab.compare("base", "head", ["load"])
    assert order == ["base", "head"]


def test_stopped_early_it_compares_what_there_is(sides: Callable[[Make], list[str]]) -> None:
    good = two(1.12)

    def make(side: str, n: int) -> Result:
        if n == 7:
            raise Stopped
        return good(side, n)

    sides(make)
    report = ab.compare("base", "head", ["load"], pairs=10)
    assert report.interrupted
    assert len(report.runs) == 12
    assert report.verdict == "regressed"


def test_stopped_before_anything_there_is_nothing(sides: Callable[[Make], list[str]]) -> None:
    def make(side: str, n: int) -> Result:
        raise Stopped

    sides(make)
    with pytest.raises(PerfsuiteError, match="before anything was measured"):
        ab.compare("base", "head", ["load"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unit": "s"}, "different units"),
        ({"duration_s": 9.0}, r"different configurations: phase\.duration_s 2\.0 and 9\.0"),
        ({"phase": "token"}, "base runs load, head token"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    sides: Callable[[Make], list[str]], change: dict[str, Any], words: str
) -> None:
    sides(lambda side, n: result(n, 100.0, **(change if side == "head" else {})))
    with pytest.raises(UsageError, match=words):
        ab.compare("base", "head", ["load"])


def test_the_same_twice_is_said_to_be(sides: Callable[[Make], list[str]]) -> None:
    sides(two(1.0))
    report = ab.compare("base", "base", ["load"], pairs=3)
    assert "both sides are the same: what is found here is noise" in report.notes


def test_the_file_has_all_of_it(sides: Callable[[Make], list[str]]) -> None:
    sides(two(1.12))
    report = ab.compare("base", "head", ["load", "--seed=1"], pairs=5)
    told = json.loads(ab.dump(report))
    assert told["kind"] == "ab"
    assert told["schema_version"] == 1
    assert told["words"] == ["load", "--seed=1"]
    assert [run["side"] for run in told["runs"]][:4] == ["base", "head", "head", "base"]
    assert told["judgements"][0]["changes"][0]["figure"]["metric"] == "response_time"
    assert told["environment"]["host"] == "box"
    assert ab.enough(report)
