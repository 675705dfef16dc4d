"""What the baselines share: one table of memories in an SQLite file, beside which each has its own index.

Each store is one transaction in the write-ahead log, which is on the disk when it returns (``synchronous = FULL``).
"""

from __future__ import annotations

import json
import sqlite3
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MEMORIES = """
CREATE TABLE IF NOT EXISTS memories (
    id INTEGER PRIMARY KEY AUTOINCREMENT, content TEXT NOT NULL, session TEXT, metadata TEXT, created_at REAL NOT NULL);
"""


class SqliteFile:
    """The file and its table; ``_connect`` opens it."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection

    def _connect(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")

    def _transaction(self) -> Transaction:
        return Transaction(self._db)

    def _insert(
        self, text: str, metadata: Mapping[str, object] | None, session: str | None, timestamp: float | None
    ) -> int | None:
        """The row's id."""
        about = None if metadata is None else json.dumps(metadata)
        return self._db.execute(
            "INSERT INTO memories (content, session, metadata, created_at) VALUES (?, ?, ?, ?)",
            (text, session, about, time.time() if timestamp is None else timestamp),
        ).lastrowid

    def flush(self) -> None:
        """Nothing is left to do: what is stored is on the disk."""

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


class Transaction:
    """All or nothing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *rest: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
