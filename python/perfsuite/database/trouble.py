"""What is wrong with a database, by kind and in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from perfsuite.errors import PerfsuiteError

if TYPE_CHECKING:
    import sqlalchemy as sa

_CURES = {
    "locked": "another connection held its lock for longer than this one waits; end it, or lower --workers",
    "deadlock": "two transactions waited for one another, and the database ended this one",
    "full": "the disk, or the database's quota, is full; free some",
    "read_only": "it cannot be written; give one that can, or the right to",
    "older_schema": "a table or a column is not there: another version made the schema, or somebody dropped it",
    "gone": "its file cannot be opened: it, or its folder, is not there or not readable",
    "damaged": "the file is no database, or a damaged one",
    "refused": "nobody answers there, or not to this user; see that the server runs and the URL is right",
    "dropped": "the server ended the connection; its log says why",
    "denied": "this user may not do that there",
    "statement": "the database does not take that statement",
    "timeout": "the statement took longer than it may",
    "database": "",
}
"""Kind → what it means, and what to do."""

_BY_STATE = {
    "55P03": "locked",
    "40P01": "deadlock",
    "40001": "deadlock",
    "53100": "full",
    "25006": "read_only",
    "42P01": "older_schema",
    "42703": "older_schema",
    "42501": "denied",
    "57014": "timeout",
    "53300": "refused",
    "3D000": "refused",
    "57P03": "refused",
}
_BY_CLASS = {"08": "dropped", "28": "refused", "57": "dropped", "42": "statement", "22": "statement", "53": "full"}
"""SQLSTATE, and its first two characters."""

_BY_WORDS = (
    ("connection failed|connection to server at", "refused"),
    ("locked|busy", "locked"),
    ("disk is full|disk full|no space", "full"),
    ("readonly|read-only|query_only", "read_only"),
    ("no such table|no such column|has no column|doesn't exist|does not exist", "older_schema"),
    ("unable to open|disk i/o error", "gone"),
    ("not a database|malformed", "damaged"),
    ("refused|could not translate|failed to resolve|password|timeout expired|no such file|no route", "refused"),
    ("server closed|connection is closed|connection is lost|terminating|ssl syscall|reset by peer|eof", "dropped"),
    ("syntax error|incomplete input|binding|bind value|parameter", "statement"),
)


class Trouble(NamedTuple):
    """``kind`` is what errors are counted by, ``text`` what the database said, on one line."""

    kind: str
    text: str

    @property
    def words(self) -> str:
        """What it said, what that means, and what to do."""
        cure = _CURES[self.kind]
        return f"{self.text}: {cure}" if cure else self.text


class DatabaseError(PerfsuiteError):
    """The database cannot be used; the message says why, and what to do."""

    def __init__(self, name: str, trouble: Trouble) -> None:
        super().__init__(f"the database {name} cannot be used: {trouble.words}")
        self.trouble = trouble


def trouble_of(error: BaseException) -> Trouble:
    """An error of SQLAlchemy, or of the driver below it, by kind and in words."""
    original = getattr(error, "orig", None) or error
    text = " ".join(str(original).split()) or type(original).__name__
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    kind = None if state is None else _BY_STATE.get(state) or _BY_CLASS.get(state[:2])
    if kind is None:
        low = text.lower()
        kind = next((kind for words, kind in _BY_WORDS if re.search(words, low)), None)
    if kind is None:
        kind = "dropped" if getattr(error, "connection_invalidated", False) else "database"
    return Trouble(kind, text[:500])


def lost(error: sa.exc.DBAPIError) -> bool:
    """Whether the connection is of no use any more, and another one is needed."""
    return error.connection_invalidated or trouble_of(error).kind in ("dropped", "refused", "gone")
