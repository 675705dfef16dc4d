"""The tables and the seven indexes: made where they are not, never changed where they are; plans, queries, errors."""

from __future__ import annotations

import importlib.util
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from perfsuite.database import INDEXES, create_indexes, drop_indexes, init_db
from perfsuite.database.opening import Opened
from perfsuite.database.plans import explain, of_postgres, of_sqlite
from perfsuite.database.queries import Listed, Span, read_queries
from perfsuite.database.schema import TABLES, OtherForm
from perfsuite.database.trouble import DatabaseError, trouble_of
from perfsuite.errors import MissingExtra, UsageError


def names(engine: sa.Engine) -> set[str]:
    return {str(one["name"]) for table in TABLES for one in sa.inspect(engine).get_indexes(table)}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = sa.create_engine(f"sqlite:///{tmp_path / 'chat.db'}")
    yield made
    made.dispose()


def test_what_psycopg_says_beside_its_errors_is_for_those_who_listen(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no handler anywhere Python writes warnings to the screen; the control is another library's."""
    pytest.importorskip("psycopg")
    for logger in (logging.getLogger(), logging.getLogger("psycopg"), logging.getLogger("another")):
        monkeypatch.setattr(logger, "handlers", [])
    Opened("postgresql://nobody@127.0.0.1:9/none").close()
    logging.getLogger("psycopg").warning("error ignored terminating <psycopg.Pipeline [BAD]>")
    assert capfd.readouterr().err == ""
    logging.getLogger("another").warning("to the screen")
    assert "to the screen" in capfd.readouterr().err


def test_init_db_makes_the_tables_and_the_seven_indexes_and_once_is_enough(engine: sa.Engine) -> None:
    init_db(engine)
    assert set(sa.inspect(engine).get_table_names()) == set(TABLES)
    assert names(engine) == {index.name for index in INDEXES}
    assert len(INDEXES) == 7
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO sessions (user_id, profile_id, title) VALUES ('a', 'b', 'c')"))
    init_db(engine)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM sessions")).scalar() == 1


def test_indexes_come_and_go(engine: sa.Engine) -> None:
    init_db(engine, indexes=False)
    assert names(engine) == set()
    with engine.begin() as connection:
        create_indexes(connection)
        drop_indexes(connection, only=INDEXES[:2])
    assert names(engine) == {index.name for index in INDEXES[2:]}


def test_a_table_of_an_older_schema_is_named_and_nothing_is_made(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id INTEGER, text TEXT)"))
    with pytest.raises(OtherForm, match="the table messages has no column role and no content and no tokens"):
        init_db(engine)
    assert sa.inspect(engine).get_table_names() == ["messages"]


def test_columns_of_ones_own_beside_the_tables_are_no_other_form(engine: sa.Engine) -> None:
    init_db(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE sessions ADD COLUMN colour TEXT"))
    init_db(engine)


def test_an_index_of_that_name_on_another_column_is_refused(engine: sa.Engine) -> None:
    init_db(engine, indexes=False)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE INDEX idx_sessions_user_id ON sessions (title)"))
    with pytest.raises(UsageError, match="the index idx_sessions_user_id is on title, not on user_id"):
        init_db(engine)


def test_the_plan_of_sqlite_says_whether_an_index_is_used(engine: sa.Engine) -> None:
    init_db(engine)
    sql = "SELECT id FROM sessions WHERE user_id = :user ORDER BY created_at"
    with engine.begin() as connection:
        found = explain(connection, sql, {"user": "a"})
        assert found is not None
        assert found.indexes == {"idx_sessions_user_id"}
        assert found.whole == ()
        drop_indexes(connection)
        found = explain(connection, sql, {"user": "a"})
        assert found is not None
        assert (found.indexes, found.whole) == (frozenset(), ("sessions",))


def test_plans_are_read_as_they_are_written() -> None:
    automatic = of_sqlite(["SCAN a", "SEARCH b USING AUTOMATIC COVERING INDEX (id=?)"])
    assert automatic.indexes == frozenset()
    assert automatic.whole == ("a",)
    assert of_sqlite(["SCAN TABLE m USING COVERING INDEX idx_x"]).indexes == {"idx_x"}
    scan = {"Node Type": "Bitmap Index Scan", "Index Name": "idx_x", "Index Cond": "(a = 1)"}
    document = [{"Plan": {"Node Type": "Limit", "Plans": [{"Node Type": "Bitmap Heap Scan", "Plans": [scan]}]}}]
    found = of_postgres(document)
    assert found.indexes == {"idx_x"}
    assert found.lines[-1] == "Bitmap Index Scan using idx_x (a = 1)"
    whole = of_postgres([{"Plan": {"Node Type": "Parallel Seq Scan", "Relation Name": "m", "Filter": "(a = 1)"}}])
    assert (whole.indexes, whole.whole) == (frozenset(), ("m",))


def test_queries_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "queries.toml"
    file.write_text(
        """
[[queries]]
name = "orders"
sql = "SELECT * FROM orders WHERE customer = :customer AND state = :state;"
parameters = { customer = { from = 1, to = 9 }, state = ["open", "paid"] }
[[queries]]
name = "visit"
sql = "UPDATE customers SET visits = visits + 1"
writes = true
"""
    )
    orders, visit = read_queries(file)
    assert orders.parameters == {"customer": Span(1, 9), "state": Listed(("open", "paid"))}
    assert (orders.writes, visit.writes, orders.sql[-1]) == (False, True, "e")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no queries; write"),
        ("[[queries]", "no TOML"),
        ("[[queries]]\nname = 'a'", r"queries\[0\]: sql: None is no text"),
        ("[[queries]]\nname = 'a'\nsql = 'SELECT :x'", "no values for :x"),
        ("[[queries]]\nname = 'a'\nsql = 'SELECT 1'\nparameters.x = 1", "sql has no :x"),
        ("[[queries]]\nname = 'a'\nsql = 'SELECT :x'\nparameters.x = {from = 3, to = 1}", "neither a list of values"),
        ("[[queries]]\nname = 'a'\nsqll = 'SELECT 1'", "unknown key 'sqll'.*did you mean sql"),
        ("[[queries]]\nname = 'a'\nsql = 'SELECT 1'\nwrites = 'no'", "neither true nor false"),
        ("[[queries]]\nname='a'\nsql='SELECT 1'\n[[queries]]\nname='a'\nsql='SELECT 2'", "a second query is named 'a'"),
    ],
)
def test_mistakes_in_a_file_of_queries_are_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "queries.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_queries(file)


class Said(Exception):
    """What a driver raises; ``sqlstate`` as psycopg has it."""

    def __init__(self, text: str, sqlstate: str | None = None) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Said("database is locked"), "locked"),
        (Said("database or disk is full"), "full"),
        (Said("attempt to write a readonly database"), "read_only"),
        (Said("no such column: colour"), "older_schema"),
        (Said("unable to open database file"), "gone"),
        (Said("file is not a database"), "damaged"),
        (Said('connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused'), "refused"),
        (Said("server closed the connection unexpectedly"), "dropped"),
        (Said("could not extend file: No space left on device", "53100"), "full"),
        (Said("terminating connection due to administrator command", "57P01"), "dropped"),
        (Said("could not obtain lock", "55P03"), "locked"),
        (Said('relation "x" does not exist', "42P01"), "older_schema"),
        (Said("cannot execute INSERT in a read-only transaction", "25006"), "read_only"),
        (Said('password authentication failed for user "x"', "28P01"), "refused"),
        (Said("something new"), "database"),
    ],
)
def test_errors_have_a_kind_and_words(error: Said, kind: str) -> None:
    found = trouble_of(error)
    assert found.kind == kind
    assert str(error) in found.words


def test_a_database_is_opened_by_its_url(tmp_path: Path) -> None:
    assert Opened(str(tmp_path / "x.db")).file == tmp_path / "x.db"
    opened = Opened("postgresql://me:secret@127.0.0.1:1/x")
    assert opened.name == "postgresql+psycopg://me:***@127.0.0.1:1/x"
    assert "secret" in opened.reveal()
    with pytest.raises(DatabaseError, match=r"me:\*\*\*@.*cannot be used.*see that the server runs"):
        opened.version()


@pytest.mark.parametrize(
    ("url", "words"),
    [("://", "none that SQLAlchemy reads"), ("sqlite://", "in memory"), ("sqlite:///:memory:", "in memory")],
)
def test_a_url_that_cannot_be_used_says_so(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Opened(url)


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(UsageError, match="no database that SQLAlchemy knows"):
        Opened("mysql+nosuchdriver://x/y")
    if importlib.util.find_spec("MySQLdb") is None:
        with pytest.raises(UsageError, match="needs MySQLdb, which is not installed"):
            Opened("mysql://x/y")


def test_postgres_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> sa.Engine:
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(sa, "create_engine", missing)
    with pytest.raises(MissingExtra, match=r"perfsuite\[postgres\]"):
        Opened("postgresql://x/y")


def test_a_file_of_ones_own_keeps_its_settings_and_one_of_ours_has_a_services(tmp_path: Path) -> None:
    for ours, mode in ((False, "delete"), (True, "wal")):
        path = tmp_path / f"{ours}.db"
        sqlite3.connect(path).close()
        with Opened(str(path), ours=ours).connected() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == mode
