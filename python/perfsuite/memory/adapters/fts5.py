"""A baseline: one SQLite table with its full-text index.  A question finds what has any of its words, BM25 ranks."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from perfsuite.memory.adapters.sqlite_file import MEMORIES, SqliteFile
from perfsuite.memory.base import Hit

MOST_WORDS = 64
_WORD = re.compile(r"\w+")
INDEX = """
CREATE VIRTUAL TABLE IF NOT EXISTS memory_index USING fts5 (
    content, content = 'memories', content_rowid = 'id', tokenize = 'porter unicode61');
"""


class FullText(SqliteFile):
    """The baseline as a memory system."""

    def info(self) -> Mapping[str, object]:
        """What it is."""
        return {
            "name": "fts5",
            "version": f"SQLite {sqlite3.sqlite_version}",
            "class": "raw",
            "concurrent": False,
            "configuration": {"ranking": "BM25 over any of the words", "synchronous": "FULL", "journal": "WAL"},
            "notes": ["recall is lexical: there are no embeddings, so the dimension means nothing to it"],
        }

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Opens the file."""
        self._connect(workdir / "fts5.sqlite")
        self._db.executescript(MEMORIES + INDEX)

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """One row and its words, at once."""
        with self._transaction():
            made = self._insert(text, metadata, session, timestamp)
            self._db.execute("INSERT INTO memory_index (rowid, content) VALUES (?, ?)", (made, text))
        return [str(made)]

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """The rows with any of the words, by BM25."""
        words = _WORD.findall(query)[:MOST_WORDS]
        if not words:
            return []
        found = self._db.execute(
            "SELECT id, memories.content, -bm25(memory_index) FROM memory_index "
            "JOIN memories ON id = memory_index.rowid WHERE memory_index MATCH ? ORDER BY bm25(memory_index) LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), k),
        )
        return [Hit(str(row), text, score) for row, text, score in found]

    def update(self, id: str, text: str) -> None:
        """Another text for a memory.  KeyError when there is none of that id."""
        with self._transaction():
            self._unindex(id)
            self._db.execute("UPDATE memories SET content = ? WHERE id = ?", (text, int(id)))
            self._db.execute("INSERT INTO memory_index (rowid, content) VALUES (?, ?)", (int(id), text))

    def delete(self, id: str) -> None:
        """Forgets a memory.  KeyError when there is none of that id."""
        with self._transaction():
            self._unindex(id)
            self._db.execute("DELETE FROM memories WHERE id = ?", (int(id),))

    def reset(self) -> None:
        """Forgets everything."""
        with self._transaction():
            self._db.execute("INSERT INTO memory_index (memory_index) VALUES ('delete-all')")
            self._db.execute("DELETE FROM memories")

    def _unindex(self, id: str) -> None:
        # The index keeps no text of its own: to delete from it, it must be told what it was given.
        found = self._db.execute("SELECT content FROM memories WHERE id = ?", (int(id),)).fetchone()
        if found is None:
            raise KeyError(f"there is no memory {id}")
        self._db.execute(
            "INSERT INTO memory_index (memory_index, rowid, content) VALUES ('delete', ?, ?)", (int(id), *found)
        )
