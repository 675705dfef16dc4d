"""A PostgreSQL server that really runs: the database benchmark on it, and what it says when the server goes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from perfsuite.api import arun
from perfsuite.cli import main
from perfsuite.database import INDEXES, init_db
from perfsuite.database.opening import Opened
from perfsuite.database.plans import explain
from perfsuite.database.queries import NamedQuery
from perfsuite.errors import PerfsuiteError
from perfsuite.result import MetricResult, PhaseResult, Result
from perfsuite.suites.database import ground, measuring
from perfsuite.suites.database.crew import Crew
from postgres import PASSWORD, Postgres, started

QUICK = {"duration": "0.5s", "rows": 2000, "workers": 2}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    yield from started()


@pytest.fixture
def clean(server: Postgres) -> Postgres:
    server.execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    return server


def run(url: str, **settings: Any) -> Result:
    result: Result = asyncio.run(arun("database", url=url, **{**QUICK, **settings}))
    return result


def metric(phase: PhaseResult, name: str) -> MetricResult:
    found = phase.metric(name)
    assert found is not None
    return found


def tables(server: Postgres) -> set[object]:
    return {name for (name,) in server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_all_seven_indexes_are_used_and_nothing_is_left(clean: Postgres, tmp_path: Path) -> None:
    clean.execute("CREATE TABLE sessions (mine text)", "INSERT INTO sessions VALUES ('kept')")
    result = run(clean.url)
    phase = result.phases[0]
    assert (phase.verdict, phase.errors) == ("passed", [])
    rows = {row["index"]: row for row in metric(phase, "indexes_used").details["indexes"]}
    assert set(rows) == {index.name for index in INDEXES}
    for name, row in rows.items():
        assert f"using {ground.PREFIX}{name}" in row["plan_with"]
        assert name not in row["plan_without"]
    assert "Seq Scan on perfsuite_chat_memories" in rows["idx_memories_user_id"]["plan_without"]
    assert metric(phase, "session_create_time").details["database"].startswith("postgresql 1")
    assert clean.execute("SELECT * FROM sessions") == [("kept",)]
    assert tables(clean) == {"sessions"}
    assert PASSWORD not in str(result)


def test_services_that_start_at_once_make_the_tables_once(clean: Postgres) -> None:
    troubles: list[BaseException] = []
    gate = threading.Barrier(4)

    def start() -> None:
        database = Opened(clean.url)
        gate.wait()
        try:
            init_db(database.engine)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            troubles.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    assert tables(clean) == {"sessions", "messages", "memories", "agent_logs"}


def test_the_plan_tells_an_index_from_its_absence(clean: Postgres) -> None:
    database = Opened(clean.url)
    init_db(database.engine)
    with database.connected() as connection:
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        found = explain(connection, "SELECT * FROM memories WHERE user_id = :user", {"user": "a"})
        assert found is not None
        assert found.indexes == {"idx_memories_user_id"}
        connection.execute(sa.text("DROP INDEX idx_memories_user_id"))
        found = explain(connection, "SELECT * FROM memories WHERE user_id = :user", {"user": "a"})
        assert found is not None
        assert (found.indexes, found.whole) == (frozenset(), ("memories",))


def test_ones_own_queries_cannot_write_unless_they_say_so(clean: Postgres, tmp_path: Path) -> None:
    clean.execute("CREATE TABLE orders AS SELECT n AS id, n % 50 AS customer FROM generate_series(1, 2000) n")
    file = tmp_path / "queries.toml"
    file.write_text(
        "[[queries]]\nname = 'orders'\nsql = 'SELECT * FROM orders WHERE customer = :c'\n"
        "parameters.c = { from = 0, to = 49 }\n"
    )
    found = metric(run(clean.url, queries=file, rows=None).phases[0], "named_query_time")
    (row,) = found.details["queries"]
    assert (row["rows_each"], row["failed"]) == (40.0, 0)
    assert "Seq Scan on orders" in row["plan"]
    file.write_text("[[queries]]\nname = 'orders'\nsql = 'DELETE FROM orders WHERE id < 10'\n")
    assert "'orders' writes and does not say so" in str(run(clean.url, queries=file, rows=None).run.error)
    assert clean.execute("SELECT count(*) FROM orders") == [(2000,)]
    file.write_text(file.read_text() + "writes = true\n")
    assert run(clean.url, queries=file, rows=None).phases[0].verdict == "passed"
    assert clean.execute("SELECT count(*) FROM orders") == [(1991,)]


def test_a_server_that_ends_in_mid_run_fails_it_with_what_was_measured(
    clean: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = measuring.Study._look_up

    def and_gone(self: measuring.Study, *arguments: Any) -> None:
        real(self, *arguments)
        clean.stop()

    monkeypatch.setattr(measuring.Study, "_look_up", and_gone)
    try:
        result = run(clean.url)
    finally:
        clean.start()
    (phase,) = result.phases
    assert result.run.exit_code == 1
    assert "see that the server runs" in str(result.run.error)
    assert phase.verdict == "failed"
    assert [error.kind for error in phase.errors] == ["refused"]
    assert metric(phase, "session_create_time").samples > 0
    assert any("could not be taken away" in event.text for event in phase.events)
    assert ground.MARKER in tables(clean)
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:  # the next run is another process's, which finds that this one is over
        patch.setattr(ground, "_runs", lambda process, started: False)
        assert run(clean.url).phases[0].verdict == "passed"
    assert tables(clean) == set()


def test_a_server_that_ends_under_ones_own_queries_ends_the_run(
    clean: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "queries.toml"
    file.write_text("[[queries]]\nname = 'one'\nsql = 'SELECT 1'\n")
    real, turns = Crew.run, iter([True])

    def and_gone(self: Crew, *arguments: Any) -> Any:
        done = real(self, *arguments)
        if next(turns, False):
            clean.stop()
        return done

    monkeypatch.setattr(Crew, "run", and_gone)
    try:
        result = run(clean.url, queries=file, rows=None)
    finally:
        clean.start()
    assert result.run.exit_code == 1
    assert {error.kind for error in result.phases[0].errors} <= {"refused", "dropped"}
    assert metric(result.phases[0], "named_query_time").samples > 0


def test_workers_whose_connections_are_cut_count_that_and_connect_again(clean: Postgres) -> None:
    query = NamedQuery(name="nothing", sql="SELECT 1")
    with Crew(Opened(clean.url), 2) as crew:
        crew.up()
        assert crew.run(query, 0.05, "a").failed == 0
        clean.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        cut = crew.run(query, 0.3, "a")
        assert cut.errors == {"dropped": 2}
        assert cut.times.count > 0
        clean.stop()
        refused = crew.run(query, 0.2, "a")
        assert set(refused.errors) <= {"dropped", "refused"}
        assert refused.errors["refused"] > 0
        assert refused.times.count == 0
        clean.start()
        assert crew.run(query, 0.5, "a").times.count > 0


def test_a_lock_that_is_held_is_counted(clean: Postgres) -> None:
    clean.execute("CREATE TABLE orders (id integer)")
    clean.execute("ALTER ROLE perfsuite SET lock_timeout = '100ms'")
    database = Opened(clean.url)
    try:
        with database.connected() as holder:
            holder.execute(sa.text("LOCK TABLE orders"))
            with Crew(Opened(clean.url), 1) as crew:
                crew.up()
                assert crew.run(NamedQuery(name="q", sql="SELECT * FROM orders"), 0.0, "a").errors == {"locked": 1}
    finally:
        clean.execute("ALTER ROLE perfsuite RESET lock_timeout")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace(PASSWORD, "wrong"), "password authentication failed"),
        (lambda url: url.replace("/postgres", "/nothere"), "does not exist"),
    ],
)
def test_who_is_not_let_in_is_told_before_anything_runs(
    server: Postgres, change: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["database", "--url", change(server.url), "-o", str(tmp_path), "--history", "off"]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert "see that the server runs and the URL is right" in err
    assert PASSWORD not in err


def test_nobody_there_is_told(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(PerfsuiteError, match=r"cannot be used: .*refused.*see that the server runs"):
        run("postgresql://x:y@127.0.0.1:9/z")
