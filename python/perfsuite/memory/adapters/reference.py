"""The embedded reference memory (perfsuite.reference.memory) as a memory system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from perfsuite.compression import NamedCodec, codec_at
from perfsuite.memory.base import Hit
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.embedding import DIMENSION
from perfsuite.reference.memory import Memories, Tier
from perfsuite.reference.store import Store

USER = "bench"
NOTES_OF_A_SYNTHESIS = 5


class Reference:
    """The reference memory.  ``options`` are fields of ReferenceConfig."""

    def __init__(self, **options: object) -> None:
        self._config = ReferenceConfig(synchronous="FULL", cold_memories=10_000_000, embeds_stored=False)
        if options:
            self._config = replace(self._config, **options)  # type: ignore[arg-type]
        self._codec: NamedCodec = codec_at(self._config.codec)
        self._workdir: Path
        self._store: Store
        self._memories: Memories

    def info(self) -> Mapping[str, object]:
        """What it is."""
        from perfsuite import __version__

        shown = ("hot_memories", "warm_memories", "cold_memories", "cold_block", "codec", "synchronous")
        return {
            "name": "reference",
            "version": __version__,
            "class": "raw",
            "concurrent": True,
            "configuration": {name: getattr(self._config, name) for name in shown},
            "notes": [f"its embeddings are its own, {DIMENSION} floats: the dimension asked for means nothing to it"],
        }

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Opens the file."""
        self._workdir = workdir
        self._open()

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """One memory; on the disk and found when this returns."""
        return self._memories.add(USER, [text])

    def store_many(self, texts: Sequence[str]) -> Sequence[Sequence[str]]:
        """Memories at once."""
        return [[identifier] for identifier in self._memories.add(USER, list(texts))]

    def flush(self) -> None:
        """Notes the uses of memories that are still to be noted."""
        self._memories.flush()

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """Full text narrows, embeddings rank."""
        return [Hit(*found) for found in self._memories.recall(USER, query, k)]

    def update(self, id: str, text: str) -> None:
        """Gives a memory another text.  KeyError: there is none of that id."""
        if not self._memories.update(id, text):
            raise KeyError(f"there is no memory {id}")

    def delete(self, id: str) -> None:
        """Forgets a memory.  KeyError: there is none of that id."""
        if not self._memories.delete(id):
            raise KeyError(f"there is no memory {id}")

    def tier_of(self, id: str) -> Tier | None:
        """Where a memory is."""
        return self._memories.tier_of(id)

    def synthesize(self, query: str) -> str:
        """What is known about a question, as the context that a model would be given."""
        return "\n".join(found.text for found in self._memories.recall(USER, query, NOTES_OF_A_SYNTHESIS))

    def reset(self) -> None:
        """Forgets everything: another file."""
        self._store.close()
        for path in self._workdir.glob("memory.sqlite*"):
            path.unlink()
        self._open()

    def close(self) -> None:
        """Closes the file."""
        self._memories.flush()
        self._store.close()

    def _open(self) -> None:
        self._store = Store(self._workdir / "memory.sqlite", self._config, self._codec)
        self._memories = Memories(self._store, self._config)
