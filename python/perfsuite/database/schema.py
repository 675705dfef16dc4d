"""The tables: sessions, messages, memories, agent logs; made where they are not there, never changed where they are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from perfsuite.database.indexes import create_indexes
from perfsuite.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import ReflectedColumn

TABLES = ("sessions", "messages", "memories", "agent_logs")
_LOCK = 7_400_074
"""Of PostgreSQL's advisory locks the one that two services which start at once take in turn."""


class OtherForm(UsageError):
    """A table is there and is not what this version makes: an older schema, or somebody else's table."""


class Tables(NamedTuple):
    """All four of them."""

    sessions: sa.Table
    messages: sa.Table
    memories: sa.Table
    agent_logs: sa.Table


@cache
def tables(prefix: str = "") -> Tables:
    """The tables, their names beginning with ``prefix``.  Times are UTC, without a zone."""
    made = sa.MetaData()
    text = sa.Text
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite counts up in an INTEGER alone

    def key() -> sa.Column[int]:
        return sa.Column("id", number, primary_key=True, autoincrement=True)

    def now() -> sa.Column[object]:
        return sa.Column("created_at", sa.DateTime, nullable=False, server_default=sa.func.current_timestamp())

    def session() -> sa.Column[int]:
        owner = sa.ForeignKey(f"{prefix}sessions.id", ondelete="CASCADE")
        return sa.Column("session_id", number, owner, nullable=False)

    return Tables(
        sa.Table(
            f"{prefix}sessions",
            made,
            key(),
            sa.Column("user_id", sa.String(64), nullable=False),
            sa.Column("profile_id", sa.String(64), nullable=False),
            sa.Column("title", text, nullable=False),
            now(),
        ),
        sa.Table(
            f"{prefix}messages",
            made,
            key(),
            session(),
            sa.Column("role", sa.String(16), nullable=False),
            sa.Column("content", text, nullable=False),
            sa.Column("tokens", sa.Integer, nullable=False),
            now(),
        ),
        sa.Table(
            f"{prefix}memories",
            made,
            key(),
            sa.Column("user_id", sa.String(64), nullable=False),
            sa.Column("profile_id", sa.String(64), nullable=False),
            sa.Column("content", text, nullable=False),
            sa.Column("importance", sa.Double, nullable=False),
            now(),
        ),
        sa.Table(
            f"{prefix}agent_logs",
            made,
            key(),
            session(),
            sa.Column("agent", sa.String(64), nullable=False),
            sa.Column("model", sa.String(128), nullable=False),
            sa.Column("prompt_tokens", sa.Integer, nullable=False),
            sa.Column("completion_tokens", sa.Integer, nullable=False),
            now(),
        ),
    )


def init_db(engine: sa.Engine, *, prefix: str = "", indexes: bool = True) -> None:
    """Makes the tables and the seven indexes that are not there yet; to be called whenever a service starts.

    Changes nothing that is there.  Raises OtherForm where a table has other columns, and what SQLAlchemy raises where
    the database cannot be used (``database.trouble`` has it in words).
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            # CREATE … IF NOT EXISTS fails where another session makes the same at the same moment.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        check_form(connection, prefix)
        for table in tables(prefix):
            connection.execute(CreateTable(table, if_not_exists=True))
        if indexes:
            create_indexes(connection, prefix=prefix)


def existing(connection: sa.Connection, prefix: str = "") -> list[sa.Table]:
    """Those of the tables that are there by their names."""
    there = set(sa.inspect(connection).get_table_names())
    return [table for table in tables(prefix) if table.name in there]


def check_form(connection: sa.Connection, prefix: str = "") -> None:
    """Raises OtherForm, with all that is different, where a table that is there has other columns."""
    found = [text for table in existing(connection, prefix) for text in _differences(connection, table)]
    if found:
        raise OtherForm(
            f"{'; '.join(found)}: of another version, or not perfsuite's: rename it, or use another database"
        )


def _differences(connection: sa.Connection, table: sa.Table) -> Iterator[str]:
    there: dict[str, ReflectedColumn] = {
        column["name"]: column for column in sa.inspect(connection).get_columns(table.name)
    }
    missing = [column.name for column in table.columns if column.name not in there]
    more = [name for name in there if name not in table.columns]
    if missing:
        yield f"the table {table.name} has no column {' and no '.join(missing)}"
    needed = [name for name in more if not there[name]["nullable"] and there[name]["default"] is None]
    if more and (missing or needed):
        yield f"the table {table.name} has columns of its own: {', '.join(more)}"
