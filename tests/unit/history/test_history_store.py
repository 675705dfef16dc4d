"""The history: nothing is lost, nothing is mixed, and what is wrong with it is said in words."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import msgspec
import pytest

import perfsuite
from perfsuite.analysis.comparable import conditions, figures, host_of, key_of
from perfsuite.errors import MissingExtra, UsageError
from perfsuite.history import database
from perfsuite.history.baselines import moment
from perfsuite.history.database import HistoryError, default_place
from perfsuite.history.store import History, host_key
from perfsuite.result import dump
from privileges import UNBOUND, WHY
from runs_made import result, runs, series, write_at_once

PACKAGES = str(Path(perfsuite.__file__).resolve().parents[1])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "history.db"


def filled(file: Path, count: int, *, first: int = 0, **more: object) -> None:
    with History(str(file)) as history:
        for number, value in enumerate(series(count, seed=1), first):
            assert history.record(result(number, value, **more), command=["load", "--seed=1"], folder=Path("/there"))


def group(history: History, number: int = 0) -> tuple[str, str, str]:
    one = history.groups()[number]
    return one.benchmark, one.host_key, one.configuration_key


def test_what_goes_in_comes_out(file: Path) -> None:
    filled(file, 5)
    with History(str(file)) as history:
        assert [one.id for one in history.runs()] == ["run-4", "run-3", "run-2", "run-1", "run-0"]
        newest = history.runs(1)[0]
        assert newest.commit == f"{4:040x}"
        assert newest.command == ("load", "--seed=1")
        assert newest.folder == "/there"
        assert newest.benchmarks == {"load": "passed"}
        assert newest.host.cpu == "Test CPU"
        assert history.run_of("run-2") is not None
        assert history.run_of("nothing") is None
        found = history.series(*group(history))
        values = [run.figures["load.response_time.p50"].value for run in found]
        assert values == pytest.approx(series(5, seed=1))
        assert found[0].figures == {
            key: one._replace(inside=()) for key, one in figures(result(0, series(5, seed=1)[0]).phases[0]).items()
        }
        assert [run.id for run in found] == [run.id for run in runs(series(5, seed=1))]


def test_a_run_is_recorded_once(file: Path) -> None:
    filled(file, 1)
    with History(str(file)) as history:
        assert not history.record(result(0, 100.0))
        assert len(history.runs()) == 1


def test_hosts_and_configurations_are_groups_of_their_own(file: Path) -> None:
    filled(file, 3)
    filled(file, 2, first=10, host="other")
    filled(file, 1, first=20, duration_s=60.0)
    filled(file, 1, first=30, os="Linux 7.0")
    with History(str(file)) as history:
        sizes = sorted(one.runs for one in history.groups())
        assert sizes == [1, 2, 4]
        one = result(0, 1.0)
        mine = history.series("load", host_key(host_of(one.environment)), key_of(conditions(one, "load")))
        assert [run.id for run in mine] == ["run-0", "run-1", "run-2", "run-30"]


def test_a_series_ends_before_the_run_in_question(file: Path) -> None:
    filled(file, 5)
    with History(str(file)) as history:
        before = moment(result(3, 1.0).run.started)
        assert [run.id for run in history.series(*group(history), before=before)] == ["run-0", "run-1", "run-2"]
        assert [run.id for run in history.series(*group(history), limit=2)] == ["run-3", "run-4"]


def test_an_interrupted_phase_is_kept_and_not_compared(file: Path) -> None:
    filled(file, 2)
    one = result(7, 5.0)
    phase = msgspec.structs.replace(one.phases[0], verdict="interrupted")
    with History(str(file)) as history:
        history.record(msgspec.structs.replace(one, phases=[phase]))
        assert len(history.runs()) == 3
        assert [run.id for run in history.series(*group(history))] == ["run-0", "run-1"]


def test_the_export_has_every_figure(file: Path) -> None:
    filled(file, 2)
    with History(str(file)) as history:
        rows = list(history.export())
    assert len(rows) == 2 * len(figures(result(0, 1.0).phases[0]))
    assert {row["run_id"] for row in rows} == {"run-0", "run-1"}
    assert {"host", "commit_id", "configuration_key", "unit", "value"} <= set(rows[0])


def test_processes_that_write_at_once_lose_nothing(file: Path) -> None:
    """Eight of them make the file and its tables at the same moment, and write ten runs each."""
    code = (
        "import sys; from pathlib import Path; from perfsuite.history.store import History\n"
        "from runs_made import result\n"
        "sys.stdin.readline()\n"
        "for number in range(10):\n"
        "    with History(sys.argv[1]) as history:\n"
        "        assert history.record(result(100 * int(sys.argv[2]) + number, 100.0))\n"
    )
    write_at_once(code, str(file), 8)
    with History(str(file)) as history:
        assert len(history.runs()) == 80
        (one,) = history.groups()
        assert one.runs == 80
        assert len(list(history.export())) == 80 * len(figures(result(0, 1.0).phases[0]))


def test_a_lock_that_stays_is_an_error_in_words(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(file, 1)
    monkeypatch.setattr(database, "PATIENCE_S", 0.1)
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with History(str(file)) as history, pytest.raises(HistoryError, match=r"locked by another program for 0\.1 s"):
            history.record(result(5, 1.0))
        other.execute("COMMIT")
    other.close()
    with History(str(file)) as history:
        assert history.record(result(5, 1.0))


def test_readers_do_not_wait_for_a_writer(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(file, 2)
    monkeypatch.setattr(database, "PATIENCE_S", 0.1)
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with History(str(file)) as history:
            assert len(history.runs()) == 2
        other.execute("ROLLBACK")
    other.close()


@pytest.mark.parametrize("damage", ["garbage", "cut", "scribbled"])
def test_a_damaged_history_is_an_error_in_words(file: Path, damage: str) -> None:
    filled(file, 30)
    with sqlite3.connect(file) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.execute("PRAGMA journal_mode=DELETE")
    raw.close()
    data = bytearray(file.read_bytes())
    if damage == "garbage":
        data[:] = b"no database" * 1000
    elif damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[8192:] = bytes(0x55 for _ in data[8192:])
    file.write_bytes(data)
    with History(str(file)) as history, pytest.raises(HistoryError, match=r"damaged.*perfsuite history add"):
        [*history.runs(), *history.export()]


def test_a_database_of_somebody_else_is_left_alone(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE runs (x)")
    other.close()
    with History(str(file)) as history, pytest.raises(HistoryError, match="no history of perfsuite's"):
        history.runs()


def test_nothing_is_put_into_a_database_of_somebody_else(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE cats (x)")
    other.close()
    with History(str(file)) as history, pytest.raises(HistoryError, match=r"no history of perfsuite's.*--history"):
        history.record(result(0, 100.0))
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("cats",)]
    other.close()


def test_another_schema_version_is_refused(file: Path) -> None:
    filled(file, 1)
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE perfsuite_meta SET value = '2'")
    raw.close()
    with History(str(file)) as history:
        with pytest.raises(HistoryError, match="schema version 2, this perfsuite reads 1"):
            history.runs()
        with pytest.raises(HistoryError, match="schema version 2"):
            history.record(result(9, 1.0))


def test_there_is_none_until_something_is_recorded(file: Path) -> None:
    with History(str(file)) as history:
        assert not history.exists
        with pytest.raises(HistoryError, match=r"no history at .* yet"):
            history.runs()
    assert not file.parent.exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with History(str(tmp_path / "file" / "history.db")) as history, pytest.raises(HistoryError, match="cannot make"):
        history.record(result(0, 1.0))


@pytest.mark.skipif(UNBOUND, reason=WHY)
@pytest.mark.parametrize("left", ["nothing", "log", "open"])
def test_a_folder_that_may_not_be_written_to_is_read(tmp_path: Path, left: str) -> None:
    """In write-ahead mode SQLite makes files beside the one that it reads; ``left``: which of them are there."""
    writer = tmp_path / "writer" / "history.db"
    filled(writer, 3)
    file = tmp_path / "unwritable" / "history.db"
    file.parent.mkdir()
    other = sqlite3.connect(writer)
    other.execute("UPDATE perfsuite_runs SET profile = 'late'")  # into the log, and no further
    other.commit()
    if left == "open":
        file = writer
    else:
        if left == "nothing":
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for one in writer.parent.iterdir():
            if not one.name.endswith("-shm") and one.stat().st_size:
                (file.parent / one.name).write_bytes(one.read_bytes())
    names = sorted(one.name for one in file.parent.iterdir())
    assert len(names) == {"nothing": 1, "log": 2, "open": 3}[left]
    for one in (*file.parent.iterdir(), file.parent):
        one.chmod(0o500)
    try:
        with History(str(file)) as history:
            assert [one.profile for one in history.runs()] == ["late"] * 3
            assert len(list(history.export())) > 3
            with pytest.raises(HistoryError, match=r"cannot be written or opened.*name another with --history"):
                history.record(result(9, 1.0))
        assert sorted(one.name for one in file.parent.iterdir()) == names
    finally:
        file.parent.chmod(0o700)
        other.close()


def test_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_place() == tmp_path / "perfsuite" / "history.db"
    with History(f"sqlite:///{tmp_path}/other.db") as history:
        assert history.record(result(0, 1.0))
    assert (tmp_path / "other.db").exists()
    with pytest.raises(UsageError, match="no database"):
        History("nonsense://")
    with pytest.raises(UsageError, match="no URL"):
        History("://x")
    with pytest.raises(UsageError, match=r"\*\*\*") as caught:
        History("mysql://me:secret@host/base")
    assert "secret" not in str(caught.value)


def test_what_is_missing_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r'pip install "perfsuite\[postgres\]"'):
        History("postgresql+psycopg://me:secret@host/base")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(MissingExtra, match=r"perfsuite\[history\]"):
        History()


def test_a_result_with_text_that_is_none_of_utf_8(file: Path) -> None:
    one = result(0, 1.0)
    odd = msgspec.structs.replace(one, run=msgspec.structs.replace(one.run, target="caf\udce9", profile="q"))
    readable = perfsuite.result.parse(dump(odd))
    with History(str(file)) as history:
        assert history.record(readable)
        assert history.runs()[0].target == "caf?"
