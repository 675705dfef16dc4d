"""``run`` and ``arun``: what the command line does, from Python."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import perfsuite
from perfsuite import UsageError
from perfsuite.history.store import History


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_in_a_running_loop_says_what_to_write_instead() -> None:
    async def inside() -> None:
        perfsuite.run("token", duration=0.05)

    with pytest.raises(UsageError, match=r"await perfsuite\.arun"):
        asyncio.run(inside())


def test_files_are_written_only_where_they_are_asked_for(tmp_path: Path) -> None:
    result = perfsuite.run("token", duration=0.05)
    assert [phase.name for phase in result.phases] == ["token"]
    assert list(tmp_path.iterdir()) == []
    written = asyncio.run(perfsuite.arun(["token"], "reference", duration="50ms", output=str(tmp_path / "out")))
    (file,) = (tmp_path / "out").glob("results-*.json")
    assert perfsuite.load(file).run.id == written.run.id
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_run_is_remembered_where_that_is_asked_for(tmp_path: Path) -> None:
    def kept() -> list[str]:
        with History(str(tmp_path / "h.db")) as history:
            return [run.id for run in history.runs()]

    perfsuite.run("token", duration=0.05)
    assert not (tmp_path / "h.db").exists()
    first = perfsuite.run("token", duration=0.05, history=str(tmp_path / "h.db"))
    assert kept() == [first.run.id]
    perfsuite.run("token", duration=0.05, output=str(tmp_path / "out"), history="off")
    assert kept() == [first.run.id]
    with pytest.warns(RuntimeWarning, match="not in the history"):
        result = perfsuite.run("token", duration=0.05, history=str(tmp_path))
    assert result.phases, "what was measured is there all the same"


def test_what_a_file_of_conversations_leaves_out_is_in_the_result(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "x"}]}\n' + "{bad\n" * 30)
    (note,) = perfsuite.run("token", duration=0.05, conversations=str(file)).run.notes
    assert "30 left out that cannot be used: line 2: not JSON" in note
    assert note.endswith("; and 10 more")
    file.write_text('{"messages": [{"role": "user", "content": "x"}]}\n')
    assert perfsuite.run("token", duration=0.05, conversations=str(file)).run.notes == []


def test_wrong_settings_are_named_as_they_were_given() -> None:
    with pytest.raises(UsageError, match="unknown setting 'durration'; did you mean duration"):
        perfsuite.run(durration=3)
    with pytest.raises(UsageError, match="duration="):
        perfsuite.run(duration="soon")
    with pytest.raises(UsageError, match="cannot read"):
        perfsuite.load("missing.json")


def test_results_are_compared_from_python() -> None:
    from runs_made import result, series

    before = [result(n, value) for n, value in enumerate(series(10, seed=1))]
    after = [result(50 + n, 1.15 * value) for n, value in enumerate(series(10, seed=2))]
    (judged,) = perfsuite.compare(before, after)
    assert judged.verdict == "regressed"
    (same,) = perfsuite.compare(before[:5], before[5:])
    assert same.verdict == "ok"
    (one,) = perfsuite.compare(before[0], after[0])
    assert one.verdict == "inconclusive"


def test_results_that_cannot_be_compared_are_refused() -> None:
    from runs_made import result

    for other, words in (
        (result(1, 100.0, host="elsewhere"), "another host"),
        (result(1, 100.0, unit="s"), "different units"),
        (result(1, 100.0, duration_s=9.0), "another configuration"),
        (result(1, 100.0, phase="token"), "no benchmark is in both: before has load, after token"),
    ):
        with pytest.raises(UsageError, match=words):
            perfsuite.compare(result(0, 100.0), other)
    (judged,) = perfsuite.compare(result(0, 100.0), result(1, 100.0, host="elsewhere"), allow_different_host=True)
    assert "of different hosts: host box and elsewhere" in judged.notes
