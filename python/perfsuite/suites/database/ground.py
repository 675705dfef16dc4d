"""The benchmark's own tables in somebody's database: made, filled, and taken away again; nothing else is touched.

Their names begin with PREFIX, and a table of its own says which process made them.  Where one of those names is taken
by anything else, the benchmark refuses; what a killed run of this machine left behind is taken away and made anew.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

import psutil
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable, DropTable

from perfsuite.database import create_indexes, init_db
from perfsuite.database.schema import TABLES, existing, tables
from perfsuite.database.trouble import DatabaseError
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.suites.database.rows import Sizes

if TYPE_CHECKING:
    from perfsuite.database.opening import Opened

PREFIX = "perfsuite_chat_"
MARKER = f"{PREFIX}benchmark"
AT_A_TIME = 1_000
"""Rows of a transaction when the tables are filled."""


@cache
def marker() -> sa.Table:
    """Who made the tables: a host and a process, by its number and the time of its start."""
    return sa.Table(
        MARKER,
        sa.MetaData(),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("process", sa.BigInteger, nullable=False),
        sa.Column("started", sa.Double, nullable=False),
    )


@contextlib.contextmanager
def own_tables(database: Opened, note: Callable[[str], None]) -> Iterator[None]:
    """The four tables, empty and without indexes, for as long as the block lasts.

    Raises UsageError where something else has one of their names or another run is under way, DatabaseError where the
    database cannot be used.  ``note`` is told what an earlier run had left, and what could not be taken away.
    """
    _claim(database, note)
    try:
        with database.explained():
            init_db(database.engine, prefix=PREFIX, indexes=False)
        yield
    finally:
        try:
            with database.connected() as connection:
                _drop(connection)
        except PerfsuiteError as error:
            if not database.new:  # else the whole file goes
                note(f"the tables {PREFIX}… could not be taken away: {error}; the next run does that")


def take_away(database: Opened) -> None:
    """Removes the file that this run made, unless somebody has put something into it meanwhile.  On a full disk its own
    tables are still there, for to drop them takes room."""
    assert database.file is not None
    own = {MARKER, *(table.name for table in tables(PREFIX))}
    with contextlib.suppress(DatabaseError):
        if not database.file.exists() or not own.issuperset(database.tables()):
            return
        for end in ("", "-wal", "-shm", "-journal"):
            database.file.with_name(database.file.name + end).unlink(missing_ok=True)


def fill(database: Opened, sizes: Sizes, seed: int, go_on: Callable[[], bool]) -> bool:
    """Fills the tables, a transaction for AT_A_TIME rows; False when ``go_on`` said no before they were full.  Raises
    DatabaseError."""
    with database.explained(), database.engine.connect() as connection:
        for name, table in zip(TABLES, tables(PREFIX), strict=True):
            rows = sizes.of(name, seed)
            while batch := list(islice(rows, AT_A_TIME)):
                if not go_on():
                    return False
                connection.execute(sa.insert(table), batch)
                connection.commit()
    return True


def finish(database: Opened) -> None:
    """Makes the seven indexes, and lets PostgreSQL look at its new tables, as it does by itself a minute later."""
    with database.connected() as connection:
        create_indexes(connection, prefix=PREFIX)
    if database.dialect == "postgresql":
        with database.connected(autocommit=True) as connection:
            for table in tables(PREFIX):
                connection.execute(sa.text(f"ANALYZE {table.name}"))


def _claim(database: Opened, note: Callable[[str], None]) -> None:
    with database.connected() as connection:
        names = set(sa.inspect(connection).get_table_names())
        left = [table.name for table in existing(connection, PREFIX)]
        if MARKER in names:
            _check_left(connection, database.name)
            _drop(connection)
            note("tables that a killed run had left were taken away")
        elif left:
            raise UsageError(
                f"{database.name} has {', '.join(left)}, which no benchmark made: rename it, or give another database"
            )
    with database.connected() as connection:
        try:
            connection.execute(CreateTable(marker()))
        except sa.exc.DBAPIError as error:
            if "exists" in str(error.orig):
                raise UsageError(f"another run has just begun in {database.name}: wait for its end") from error
            raise
        connection.execute(sa.insert(marker()).values(_self()))


def _self() -> dict[str, object]:
    return {"host": platform.node(), "process": os.getpid(), "started": psutil.Process().create_time()}


def _check_left(connection: sa.Connection, name: str) -> None:
    """Raises UsageError unless a run of this machine that is over has made what is there."""
    columns = {column["name"] for column in sa.inspect(connection).get_columns(MARKER)}
    if columns != {column.name for column in marker().columns}:
        raise UsageError(f"the table {MARKER} in {name} is not perfsuite's: rename it, or give another database")
    for host, process, started in connection.execute(sa.select(marker())).all():
        if host != platform.node():
            raise UsageError(
                f"a run on {host} has its tables in {name}; if it is over, drop the tables {PREFIX}… by hand"
            )
        if _runs(process, started):
            raise UsageError(f"another run, process {process}, has its tables in {name}: wait for its end")


def _runs(process: int, started: float) -> bool:
    try:
        return abs(psutil.Process(process).create_time() - started) < 1.0
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False


def _drop(connection: sa.Connection) -> None:
    """The marker last: as long as it is there, the others are known to be the benchmark's."""
    for table in (*reversed(tables(PREFIX)), marker()):
        connection.execute(DropTable(table, if_exists=True))
