"""The database benchmark on SQLite: what it measures, what it leaves alone, what it says of a database in trouble."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from perfsuite.api import arun
from perfsuite.cli import main
from perfsuite.database import INDEXES
from perfsuite.database import indexes as making
from perfsuite.database.opening import Opened
from perfsuite.database.queries import NamedQuery, Span
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.result import MetricResult, PhaseResult, Result
from perfsuite.suites.database import ground, measuring
from perfsuite.suites.database.crew import Crew, CrewLost
from perfsuite.suites.database.effect import effect_of
from perfsuite.suites.database.operations import lookups
from perfsuite.suites.database.rows import Sizes
from perfsuite.suites.database.tally import Tally
from privileges import UNBOUND, WHY

QUICK = {"duration": "0.3s", "rows": 2000, "workers": 2}


def run(**settings: Any) -> Result:
    result: Result = asyncio.run(arun("database", **{**QUICK, **settings}))
    return result


def measured(**settings: Any) -> PhaseResult:
    result = run(**settings)
    assert result.run.error is None
    return result.phases[0]


def metric(phase: PhaseResult, name: str) -> MetricResult:
    found = phase.metric(name)
    assert found is not None
    return found


def kinds(phase: PhaseResult) -> dict[str, int]:
    return {error.kind: error.count for error in phase.errors}


def tables(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def test_all_seven_indexes_are_used_and_each_is_measured_with_and_without() -> None:
    phase = measured()
    used = metric(phase, "indexes_used")
    assert (used.value, used.verdict, phase.verdict) == (1.0, "passed", "passed")
    rows = {row["index"]: row for row in used.details["indexes"]}
    assert set(rows) == {index.name for index in INDEXES}
    for name, row in rows.items():
        assert f"USING INDEX {ground.PREFIX}{name}" in row["plan_with"]
        assert name not in row["plan_without"]
        assert row["p50_with_ms"] > 0
        assert row["p50_without_ms"] > 0
    for name in ("session_create_time", "message_create_time", "sessions_query_time", "logs_query_time"):
        found = metric(phase, name)
        assert found.samples >= 2
        assert found.stats is not None
    assert metric(phase, "session_create_time").details["rows"] == 2000
    assert phase.metric("memory_growth") is None


def test_the_sides_change_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """With, without, without, with: what comes or goes meanwhile falls on both."""
    seen: list[tuple[str, bool]] = []
    real = Crew.run

    def watched(self: Crew, query: NamedQuery, seconds: float, seed: str) -> Any:
        with self._database.connected() as connection:
            names = {one["name"] for one in sa.inspect(connection).get_indexes(f"{ground.PREFIX}sessions")}
        seen.append((seed, f"{ground.PREFIX}idx_sessions_user_id" in names))
        return real(self, query, seconds, seed)

    monkeypatch.setattr(Crew, "run", watched)
    monkeypatch.setattr(measuring, "SIDES", 4)
    monkeypatch.setattr(
        measuring.Study, "_slices", lambda self, begin, end, kinds, rounds=1: iter([0.0] * kinds * rounds)
    )
    phase = measured(seed=0)
    sides = [there for seed, there in seen if seed.startswith("0 sessions of a user")]
    assert sides == [True, True, False, False, True, True, False, False, True]
    assert metric(phase, "indexes_used").value == 1.0


@pytest.mark.parametrize(("waiting", "by_medians"), [(0.0, 100.0), (0.8, 3.0)])
def test_waiting_for_a_turn_hides_no_index(waiting: float, by_medians: float) -> None:
    """Other work of the machine adds 5 ms to most look-ups, whatever they take; the control is a machine without."""
    session: Any = None
    sides = []
    for ms in (0.1, 10.0):
        tally = Tally(session)
        for number in range(1000):
            tally.times.record(ms + (5.0 if number % 10 < 10 * waiting else 0.0))
        sides.append(tally)
    lookup = lookups(ground.PREFIX, Sizes(1000))[0]
    row = effect_of(lookup, *sides, None, None).row()
    assert row["times_quicker"] == pytest.approx(100.0, rel=0.01)
    assert row["times_quicker_by_medians"] == pytest.approx(by_medians, rel=0.05)


def test_a_missing_index_is_seen_in_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: a service whose create_indexes leaves one out."""
    monkeypatch.setattr(making, "INDEXES", INDEXES)
    real = ground.create_indexes

    def forgetful(connection: sa.Connection, **options: Any) -> None:
        options["only"] = [one for one in options.get("only", INDEXES) if one.name != "idx_messages_session_id"]
        real(connection, **options)

    monkeypatch.setattr(ground, "create_indexes", forgetful)
    monkeypatch.setattr(measuring, "create_indexes", forgetful)
    phase = measured()
    used = metric(phase, "indexes_used")
    assert used.value == pytest.approx(6 / 7)
    assert used.verdict == phase.verdict == "failed"
    assert used.details["not_used"] == ["idx_messages_session_id"]


def test_a_users_file_keeps_its_tables_and_has_no_more_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE sessions (id INTEGER PRIMARY KEY, mine TEXT)")
        connection.execute("CREATE INDEX idx_sessions_user_id ON sessions (mine)")
        connection.execute("INSERT INTO sessions (mine) VALUES ('kept')")
        connection.commit()
    before = tables(path)
    assert measured(url=f"sqlite:///{path}").verdict == "passed"
    assert tables(path) == before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT mine FROM sessions").fetchall() == [("kept",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_file_that_was_not_there_is_taken_away_again(tmp_path: Path) -> None:
    measured(url=str(tmp_path / "new.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_its_names_that_it_did_not_make_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {ground.PREFIX}memories (id INTEGER PRIMARY KEY)")
    result = run(url=str(path))
    assert result.run.exit_code == 1
    assert "which no benchmark made: rename it" in str(result.run.error)
    assert tables(path) == {f"{ground.PREFIX}memories"}


def leave_behind(path: Path, process: int, started: float) -> None:
    """What a killed run leaves."""
    database = Opened(str(path))
    with database.connected() as connection:
        connection.execute(sa.schema.CreateTable(ground.marker()))
        row = {**ground._self(), "process": process, "started": started}
        connection.execute(sa.insert(ground.marker()).values(row))
    ground.init_db(database.engine, prefix=ground.PREFIX)
    database.close()


def test_what_a_killed_run_left_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    leave_behind(path, 2**22 + 7, 1.0)
    phase = measured(url=str(path))
    assert phase.verdict == "passed"
    assert any("a killed run had left" in event.text for event in phase.events)
    assert tables(path) == set()


def test_a_run_that_is_under_way_is_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    here = psutil.Process()
    leave_behind(path, here.pid, here.create_time())
    before = tables(path)
    assert "another run, process" in str(run(url=str(path)).run.error)
    assert tables(path) == before


def test_a_locked_database_is_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE t (x)")
        holder.execute("BEGIN EXCLUSIVE")
        phase = measured(url=str(path))
    assert phase.verdict == "failed"
    assert kinds(phase) == {"locked": 1}
    assert "database is locked: another connection held its lock for longer" in phase.unhandled[0]
    assert metric(phase, "database_errors").verdict == "not measured"


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, total REAL)")
        connection.executemany("INSERT INTO orders (customer, total) VALUES (?, 1.5)", [(n % 50,) for n in range(2000)])
        connection.execute("CREATE INDEX by_customer ON orders (customer)")
        connection.commit()
    return path


def queries(folder: Path, sql: str, more: str = "") -> Path:
    file = folder / "queries.toml"
    file.write_text(f'[[queries]]\nname = "orders of a customer"\nsql = "{sql}"\n{more}\n')
    return file


def test_ones_own_queries_are_measured_on_ones_own_tables(tmp_path: Path, filled: Path) -> None:
    file = queries(tmp_path, "SELECT * FROM orders WHERE customer = :c", "parameters.c = { from = 0, to = 49 }")
    phase = measured(url=str(filled), queries=file, rows=None)
    found = metric(phase, "named_query_time")
    (row,) = found.details["queries"]
    assert row["plan"] == "SEARCH orders USING INDEX by_customer (customer=?)"
    assert (row["rows_each"], row["failed"]) == (40.0, 0)
    assert row["times"] == found.samples > 0
    assert phase.verdict == "passed"
    assert metric(phase, "indexes_used").verdict == "not measured"
    assert tables(filled) == {"orders", "by_customer"}


def test_a_query_writes_only_where_it_says_so(tmp_path: Path, filled: Path) -> None:
    sql = "DELETE FROM orders WHERE id = :id"
    limits = "parameters.id = { from = 1, to = 5 }"
    result = run(url=str(filled), queries=queries(tmp_path, sql, limits), rows=None)
    assert "'orders of a customer' writes and does not say so: write writes = true" in str(result.run.error)
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (2000,)
    phase = measured(url=str(filled), queries=queries(tmp_path, sql, f"writes = true\n{limits}"), rows=None)
    assert phase.verdict == "passed"
    with contextlib.closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1995,)


def test_a_query_on_a_table_of_another_schema_ends_the_run_in_words(tmp_path: Path, filled: Path) -> None:
    result = run(url=str(filled), queries=queries(tmp_path, "SELECT colour FROM orders"), rows=None)
    assert result.run.exit_code == 1
    assert "'orders of a customer': no such column: colour: a table or a column is not there" in str(result.run.error)


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    result = run(url=str(tmp_path / "none.db"), queries=queries(tmp_path, "SELECT 1"), rows=None)
    assert "there is no database" in str(result.run.error)
    assert not (tmp_path / "none.db").exists()


def query(sql: str, *, writes: bool = False) -> NamedQuery:
    parameters = {"id": Span(1, 2000)} if ":id" in sql else {}
    return NamedQuery(name="q", sql=sql, parameters=parameters, writes=writes)


def test_workers_count_what_fails_by_kind_and_go_on(filled: Path) -> None:
    with Crew(Opened(str(filled)), 2) as crew:
        crew.up()
        done = crew.run(query("DELETE FROM orders WHERE id = :id"), 0.02, "a")
        assert done.errors == {"read_only": done.failed}
        done = crew.run(query("SELECT colour FROM orders"), 0.02, "a")
        assert done.errors == {"older_schema": done.failed}
        assert (done.times.count, done.failed > 1) == (0, True)
        done = crew.run(query("SELECT * FROM orders WHERE id = :id"), 0.02, "a")
        assert done.failed == 0
        assert done.rows == done.times.count > 1


def test_a_lock_is_waited_for_and_then_counted(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(sqlite3.connect(filled, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with Crew(Opened(f"sqlite:///{filled}"), 1) as crew:
            crew.up()
            done = crew.run(query("DELETE FROM orders WHERE id = :id", writes=True), 0.0, "a")
        assert done.errors == {"locked": 1}
        assert done.longest_ms > 0
        holder.execute("ROLLBACK")


@pytest.mark.skipif(UNBOUND, reason=WHY)
def test_a_file_that_may_not_be_written_is_said_to_be(filled: Path) -> None:
    filled.chmod(0o400)
    phase = measured(url=str(filled))
    assert (phase.verdict, kinds(phase)) == ("failed", {"read_only": 1})
    assert "cannot be written" in phase.unhandled[0]


def test_a_full_disk_is_said_to_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says the same of a file that may not grow as of a disk that is full."""
    real = Opened._make_engine

    def small(self: Opened) -> sa.Engine:
        engine = real(self)
        sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count = 40"))
        return engine

    monkeypatch.setattr(Opened, "_make_engine", small)
    phase = measured(url=str(tmp_path / "small.db"))
    assert phase.verdict == "failed"
    assert kinds(phase) == {"full": 1}
    assert "the disk, or the database's quota, is full; free some" in phase.unhandled[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("theirs", [False, True])
def test_tables_that_cannot_be_dropped_go_with_the_file_that_the_run_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: bool
) -> None:
    """What a full disk does; a file that somebody else uses meanwhile stays."""
    path = tmp_path / "new.db"

    def full(connection: sa.Connection) -> None:
        if theirs:
            connection.execute(sa.text("CREATE TABLE orders (id INTEGER)"))
            connection.commit()
        raise PerfsuiteError("database or disk is full")

    monkeypatch.setattr(ground, "_drop", full)
    phase = measured(url=str(path), rows=200)
    assert path.exists() == theirs
    assert len(list(tmp_path.iterdir())) == theirs
    assert not any("could not be taken away" in event.text for event in phase.events)


def test_a_file_that_goes_in_mid_run_ends_it_with_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chat.db"
    real = measuring.Study._look_up

    def and_gone(self: measuring.Study, *arguments: Any) -> None:
        real(self, *arguments)
        path.unlink()
        path.write_bytes(b"no database at all, but somebody's text\n" * 200)

    monkeypatch.setattr(measuring.Study, "_look_up", and_gone)
    phase = measured(url=str(path))
    assert phase.verdict == "failed"
    assert kinds(phase) == {"damaged": 1}
    assert metric(phase, "session_create_time").samples > 0
    assert metric(phase, "index_speedup").verdict == "not measured"
    assert path.read_bytes().startswith(b"no database")


def test_a_worker_that_hangs_or_ends_is_told(filled: Path) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
    crew = Crew(Opened(str(filled)), 2, patience_s=0.2)
    with crew:
        crew.up()
        process = psutil.Process(crew.pid)
        children = process.children()
        assert len(children) == 2
        with pytest.raises(CrewLost, match="2 of 2 workers have not come back from 'q'"):
            crew.run(query(endless), 0.0, "a")
    assert psutil.wait_procs(children, timeout=20)[1] == []
    with Crew(Opened(str(filled)), 2) as crew:
        crew.up()
        psutil.Process(crew.pid).children()[0].kill()
        with pytest.raises(CrewLost, match="a worker ended"):
            crew.run(query("SELECT 1"), 0.05, "a")


def test_rows_are_the_seeds_and_made_as_they_are_taken() -> None:
    sizes = Sizes(10**8)
    first = next(sizes.of("messages", 3))
    assert first == next(Sizes(10**8).of("messages", 3)) != next(sizes.of("messages", 4))
    assert 1 <= int(str(first["session_id"])) <= sizes.talked
    small = Sizes(40)
    assert len(list(small.of("agent_logs", 0))) == 40
    assert {row["session_id"] for row in small.of("agent_logs", 0)} == {1}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "database",
        "--duration",
        "0.2s",
        "--rows",
        "500",
        "--workers",
        "2",
        "--history",
        "off",
        "-o",
        str(tmp_path),
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "database:sqlite" in out
    assert "indexes_used" in out
    for index in INDEXES:
        assert f"• {index.name}: " in out
        assert f"USING INDEX {ground.PREFIX}{index.name}" in out
    assert out.count("times quicker ✓") == 7
    assert "• logs of a session: " in out
    (report,) = tmp_path.glob("report-*.md")
    assert "USING INDEX perfsuite_chat_idx_sessions_user_id (user_id=?)" in report.read_text()
    assert len(list(tmp_path.glob("results-*.json"))) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": "http://127.0.0.1:1"}, "a database is named with --url: leave --target out"),
        ({"target": "database:x"}, "a database is named with --url"),
        ({"concurrency": 3}, "has no meaning for database"),
        ({"url": "sqlite://"}, "in memory"),
        ({"url": "nonsense"}, "neither a URL nor a file that is there: write sqlite:///FILE"),
        ({"url": "db.example.com:5432/chat"}, r"postgresql://USER@HOST/NAME"),
        ({"url": ":memory:"}, "neither a URL nor a file"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(**settings)


def test_a_password_is_in_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from perfsuite.configuration import configure
    from perfsuite.runner import _plain

    plan = configure({"phase": "database", "url": "postgresql://me:topsecret@h/x"}, environment={})
    assert plan.target == "database:postgresql://me:***@h/x"
    assert "topsecret" not in str(plan) + str(_plain(plan))


KILLED = """
import os, signal, sys
from perfsuite.api import run
from perfsuite.suites.database import measuring
def die(study, *arguments):
    os.kill(os.getpid(), signal.SIGKILL)
measuring.Study._look_up = die
run("database", duration="0.3s", rows=500, workers=1)
"""


def test_a_killed_run_leaves_nothing_that_the_next_one_does_not_take_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    ended = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    (left,) = tmp_path.glob("perfsuite-database.*/chat.db")
    assert left.stat().st_size > 10_000
    measured(rows=500)
    assert list(tmp_path.iterdir()) == []
