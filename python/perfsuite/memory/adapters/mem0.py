"""Mem0: the library over an embedded faiss index, storing what it is given or what a model makes of it."""

from __future__ import annotations

import os
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

USER = "perfsuite"
CHAT_MODEL, EMBEDDING_MODEL = "stand-in", "stand-in-embedding"


class _Mem0:
    infers: bool
    kind: str

    def __init__(self, chat_model: str = CHAT_MODEL, embedding_model: str = EMBEDDING_MODEL) -> None:
        self._models = (chat_model, embedding_model)
        self._dim = 0
        self._memory: Any = None

    def info(self) -> Mapping[str, object]:
        """What is measured."""
        disabled = ["telemetry", "hybrid BM25 search: the faiss store has none"]
        if find_spec("spacy") is None:
            disabled.append("entity linking and lemmas for its keyword score: spaCy is not installed")
        return {
            "name": "mem0" if self.infers else "mem0-raw",
            "version": version("mem0ai"),
            "class": self.kind,
            "concurrent": False,
            "configuration": {
                "infer": self.infers,
                "vector_store": f"faiss {version('faiss-cpu')}, cosine",
                "history": "SQLite",
                "dimension": self._dim,
                "threshold": 0.0,
            },
            "disabled": disabled,
            "patches": [],
            "notes": ["every memory rewrites the index file"],
        }

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Opens the index and the history under ``workdir``."""
        if model_url is None:
            raise ValueError("Mem0 needs embeddings: give the URL of a model")
        os.environ["MEM0_TELEMETRY"] = "False"
        os.environ["MEM0_DIR"] = str(workdir / "home")
        from mem0 import Memory

        self._dim = dim
        chat, embedding = self._models
        client = {"api_key": os.environ.get("OPENAI_API_KEY") or "none", "openai_base_url": model_url}
        self._memory = Memory.from_config(
            {
                "llm": {"provider": "openai", "config": {"model": chat, "temperature": 0, **client}},
                "embedder": {
                    "provider": "openai",
                    "config": {"model": embedding, "embedding_dims": dim, **client},
                },
                "vector_store": {
                    "provider": "faiss",
                    "config": {
                        "collection_name": "memories",
                        "path": str(workdir / "faiss"),
                        "embedding_model_dims": dim,
                        "distance_strategy": "cosine",
                    },
                },
                "history_db_path": str(workdir / "history.sqlite"),
            }
        )

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """Adds one message of the user's."""
        message = {"role": "user", "content": text}
        told = {**(metadata or {}), **({"timestamp": timestamp} if timestamp is not None else {})}
        added = self._memory.add([message], user_id=USER, metadata=told or None, infer=self.infers)
        return [str(one["id"]) for one in added["results"]]

    def flush(self) -> None:
        """Writes are on the disk when they return, as far as faiss and SQLite put them there."""

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """``search`` with no threshold on the score."""
        found = self._memory.search(query, filters={"user_id": USER}, top_k=k, threshold=0.0)
        return [Hit(str(one["id"]), one["memory"], float(one["score"])) for one in found["results"]]

    def update(self, ident: str, text: str) -> None:
        """Puts another text under the same id."""
        self._memory.update(ident, text)

    def delete(self, ident: str) -> None:
        """Takes a memory away."""
        self._memory.delete(ident)

    def reset(self) -> None:
        """Drops the index and the history, and makes new ones."""
        self._memory.reset()

    def close(self) -> None:
        """Closes the history's file."""
        if self._memory is not None:
            self._memory.close()
        self._memory = None


class Mem0Raw(_Mem0):
    """``add(infer=False)``: stores the text itself."""

    infers = False
    kind = "raw"


class Mem0Inferring(_Mem0):
    """``add(infer=True)``: the model extracts what is stored."""

    infers = True
    kind = "extracting"
