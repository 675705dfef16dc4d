"""The seven indexes of the source document, by its names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from perfsuite.errors import UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa


class Index(NamedTuple):
    """An index: its name, the table and the column that it is on, and what it makes quick."""

    name: str
    table: str
    column: str
    speeds: str


INDEXES = (
    Index("idx_sessions_user_id", "sessions", "user_id", "sessions of a user"),
    Index("idx_messages_session_id", "messages", "session_id", "messages of a session"),
    Index("idx_memories_profile_id", "memories", "profile_id", "memories of a profile"),
    Index("idx_agent_logs_session_id", "agent_logs", "session_id", "logs of a session"),
    Index("idx_memories_user_id", "memories", "user_id", "memories of a user"),
    Index("idx_memories_created_at", "memories", "created_at", "newest memories"),
    Index("idx_messages_created_at", "messages", "created_at", "newest messages"),
)


def create_indexes(connection: sa.Connection, *, prefix: str = "", only: Iterable[Index] = INDEXES) -> None:
    """Makes those that are not there; ``prefix``: of the tables' names, and of the indexes'.

    Raises UsageError where an index of that name is on other columns: it would speed nothing up here.
    """
    import sqlalchemy as sa
    from sqlalchemy.schema import CreateIndex

    for index in only:
        name = f"{prefix}{index.name}"
        table = sa.table(f"{prefix}{index.table}", sa.column(index.column))
        there = {one["name"]: one["column_names"] for one in sa.inspect(connection).get_indexes(table.name)}
        if there.get(name, [index.column]) != [index.column]:
            columns = ", ".join(str(column) for column in there[name])
            raise UsageError(f"the index {name} is on {columns}, not on {index.column}: drop it, and it is made anew")
        if name not in there:
            on = sa.Table(table.name, sa.MetaData(), sa.Column(index.column))
            connection.execute(CreateIndex(sa.Index(name, on.columns[index.column]), if_not_exists=True))


def drop_indexes(connection: sa.Connection, *, prefix: str = "", only: Iterable[Index] = INDEXES) -> None:
    """Takes indexes away again, those that are there."""
    import sqlalchemy as sa
    from sqlalchemy.schema import DropIndex

    for index in only:
        on = sa.Table(f"{prefix}{index.table}", sa.MetaData(), sa.Column(index.column))
        connection.execute(DropIndex(sa.Index(f"{prefix}{index.name}", on.columns[index.column]), if_exists=True))
