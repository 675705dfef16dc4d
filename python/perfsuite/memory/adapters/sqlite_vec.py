"""A baseline: one SQLite file with sqlite-vec's brute-force vector search, embeddings from the model's endpoint.

Each store is one transaction in the write-ahead log, which is on the disk when it returns (``synchronous = FULL``).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from perfsuite.memory.adapters.endpoint import Endpoint
from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EMBEDDING_MODEL = "stand-in-embedding"
TABLES = """
CREATE TABLE IF NOT EXISTS memories (
    id INTEGER PRIMARY KEY AUTOINCREMENT, content TEXT NOT NULL, session TEXT, metadata TEXT, created_at REAL NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS memory_vectors USING vec0 (embedding float[{dim}] distance_metric=cosine);
"""


class SqliteVec:
    """The baseline as a memory system."""

    def __init__(self, embedding_model: str = EMBEDDING_MODEL) -> None:
        self._model = embedding_model
        self._dim = 0
        self._endpoint: Endpoint
        self._db: sqlite3.Connection

    def info(self) -> Mapping[str, object]:
        """What it is."""
        import sqlite_vec

        return {
            "name": "sqlite-vec",
            "version": f"{sqlite_vec.__version__}, SQLite {sqlite3.sqlite_version}",
            "class": "raw",
            "concurrent": False,
            "configuration": {
                "search": "brute force over float32, cosine",
                "dimension": self._dim,
                "synchronous": "FULL",
                "journal": "WAL",
            },
            "disabled": [],
            "patches": [],
        }

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Opens the file."""
        if model_url is None:
            raise ValueError("sqlite-vec needs embeddings: give the URL of a model")
        import sqlite_vec

        self._dim = dim
        self._endpoint = Endpoint(model_url, os.environ.get("OPENAI_API_KEY"))
        self._db = sqlite3.connect(workdir / "sqlite_vec.sqlite", isolation_level=None)
        self._db.enable_load_extension(True)
        sqlite_vec.load(self._db)
        self._db.enable_load_extension(False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(TABLES.format(dim=dim))

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """One row and its vector, at once."""
        vector = self._vector(text)
        about = None if metadata is None else json.dumps(metadata)
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            row = self._db.execute(
                "INSERT INTO memories (content, session, metadata, created_at) VALUES (?, ?, ?, ?)",
                (text, session, about, time.time() if timestamp is None else timestamp),
            ).lastrowid
            self._db.execute("INSERT INTO memory_vectors (rowid, embedding) VALUES (?, ?)", (row, vector))
        return [str(row)]

    def _vector(self, text: str) -> str:
        """The text's embedding as JSON, which is how sqlite-vec takes it."""
        body = {"model": self._model, "input": text, "dimensions": self._dim}
        return json.dumps(self._endpoint.ask("POST", "/embeddings", body)["data"][0]["embedding"])

    def flush(self) -> None:
        """Each memory is on the disk when ``store`` returns."""

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """The nearest vectors; the score is the cosine."""
        rows = self._db.execute(
            "SELECT memories.id, memories.content, found.distance FROM (SELECT rowid, distance FROM memory_vectors "
            "WHERE embedding MATCH ? AND k = ?) AS found JOIN memories ON memories.id = found.rowid "
            "ORDER BY found.distance",
            (self._vector(query), k),
        )
        return [Hit(str(row), text, 1.0 - distance) for row, text, distance in rows]

    def update(self, ident: str, text: str) -> None:
        """Another text, and its vector, in the same row."""
        vector = self._vector(text)
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.execute("UPDATE memories SET content = ? WHERE id = ?", (text, int(ident)))
            self._db.execute("UPDATE memory_vectors SET embedding = ? WHERE rowid = ?", (vector, int(ident)))

    def delete(self, ident: str) -> None:
        """Takes the row and its vector away."""
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.execute("DELETE FROM memories WHERE id = ?", (int(ident),))
            self._db.execute("DELETE FROM memory_vectors WHERE rowid = ?", (int(ident),))

    def reset(self) -> None:
        """Empties both tables."""
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.execute("DELETE FROM memories")
            self._db.execute("DELETE FROM memory_vectors")

    def close(self) -> None:
        """Closes the file and the connection."""
        self._db.close()
        self._endpoint.close()
