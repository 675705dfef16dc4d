"""A baseline: one SQLite file with sqlite-vec's brute-force vector search, embeddings from the model's endpoint."""

from __future__ import annotations

import json
import os
import sqlite3
from typing import TYPE_CHECKING

from perfsuite.memory.adapters.endpoint import Endpoint
from perfsuite.memory.adapters.sqlite_file import MEMORIES, SqliteFile
from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

EMBEDDING_MODEL = "stand-in-embedding"
INDEX = """
CREATE VIRTUAL TABLE IF NOT EXISTS memory_vectors USING vec0 (embedding float[{dim}] distance_metric=cosine);
"""


class SqliteVec(SqliteFile):
    """The baseline as a memory system."""

    def __init__(self, embedding_model: str = EMBEDDING_MODEL) -> None:
        super().__init__()
        self._model = embedding_model
        self._dim = 0
        self._endpoint: Endpoint

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
        self._connect(workdir / "sqlite_vec.sqlite")
        self._db.enable_load_extension(True)
        sqlite_vec.load(self._db)
        self._db.enable_load_extension(False)
        self._db.executescript(MEMORIES + INDEX.format(dim=dim))

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
        with self._transaction():
            row = self._insert(text, metadata, session, timestamp)
            self._db.execute("INSERT INTO memory_vectors (rowid, embedding) VALUES (?, ?)", (row, vector))
        return [str(row)]

    def _vector(self, text: str) -> str:
        """The text's embedding as JSON, which is how sqlite-vec takes it."""
        body = {"model": self._model, "input": text, "dimensions": self._dim}
        return json.dumps(self._endpoint.ask("POST", "/embeddings", body)["data"][0]["embedding"])

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
        with self._transaction():
            self._db.execute("UPDATE memories SET content = ? WHERE id = ?", (text, int(ident)))
            self._db.execute("UPDATE memory_vectors SET embedding = ? WHERE rowid = ?", (vector, int(ident)))

    def delete(self, ident: str) -> None:
        """Takes the row and its vector away."""
        with self._transaction():
            self._db.execute("DELETE FROM memories WHERE id = ?", (int(ident),))
            self._db.execute("DELETE FROM memory_vectors WHERE rowid = ?", (int(ident),))

    def reset(self) -> None:
        """Empties both tables."""
        with self._transaction():
            self._db.execute("DELETE FROM memories")
            self._db.execute("DELETE FROM memory_vectors")

    def close(self) -> None:
        """Closes the file and the connection."""
        super().close()
        self._endpoint.close()
