"""MnemoCore's HAIMEngine, the older engine with tiers: hot in memory, warm and cold in files."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from perfsuite.memory.adapters.mnemocore import be_quiet
from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DIMENSION = 16_384


class MnemoCoreHaim:
    """``HAIMEngine.store`` and ``query`` as they come, with its own binary vectors and without a Qdrant server.

    New memories go to the warm tier, whose search needs Qdrant: so it finds nothing, and is quick at that.
    """

    def __init__(self) -> None:
        self._engine: Any = None
        self._workdir: Path | None = None

    def info(self) -> Mapping[str, object]:
        """What is measured."""
        return {
            "name": "mnemocore-haim",
            "version": version("mnemocore"),
            "class": "raw",
            "concurrent": False,
            "configuration": {
                "interface": "HAIMEngine.store / query(include_cold=True)",
                "dimension": DIMENSION,
                "warm tier": "files",
            },
            "disabled": ["the warm tier's search: it needs a Qdrant server"],
            "patches": [],
            "notes": ["its vectors are its own, 16,384 bits: the dimension asked for means nothing to it"],
        }

    async def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Starts the engine with all its files under ``workdir``; there is no model to ask."""
        be_quiet()
        self._workdir = workdir / "haim"
        await self._open()

    async def _open(self) -> None:
        import warnings

        from mnemocore.core.config import HAIMConfig, PathsConfig, PerformanceConfig

        assert self._workdir is not None
        self._workdir.mkdir(exist_ok=True)
        at = self._workdir
        paths = PathsConfig(
            data_dir=str(at),
            memory_file=str(at / "memory.jsonl"),
            codebook_file=str(at / "codebook.json"),
            concepts_file=str(at / "concepts.json"),
            synapses_file=str(at / "synapses.json"),
            warm_mmap_dir=str(at / "warm"),
            cold_archive_dir=str(at / "cold"),
        )
        performance = PerformanceConfig(vector_cache_path=str(at / "vector_cache.sqlite"))
        config = HAIMConfig(dimensionality=DIMENSION, paths=paths, performance=performance)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from mnemocore.core.engine import HAIMEngine

            self._engine = HAIMEngine(config=config)
        await self._engine.initialize()

    async def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """Stores one memory."""
        return [await self._engine.store(text, metadata=dict(metadata or {}))]

    async def flush(self) -> None:
        """Its record of memories is written when ``store`` returns."""

    async def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """``query`` over all tiers; the text of each hit is looked up, as a caller would."""
        found = await self._engine.query(query, top_k=k, include_cold=True)
        hits = []
        for ident, score in found[:k]:
            node = await self._engine.get_memory(ident)
            if node is not None:
                hits.append(Hit(ident, node.content, float(score)))
        return hits

    async def delete(self, ident: str) -> None:
        """Deletes a memory from its tiers."""
        await self._engine.delete_memory(ident)

    async def tier_of(self, ident: str) -> str | None:
        """The tier that has it, by the engine's own storages; asking does not move it, as ``get_memory`` does."""
        tiers = self._engine.tier_manager
        if await tiers._hot_storage.contains(ident):
            return "hot"
        if await tiers._warm_storage.get(ident) is not None:
            return "warm"
        return "cold" if await tiers._cold_storage.get(ident) is not None else None

    async def reset(self) -> None:
        """Closes the engine, deletes its files and starts another."""
        assert self._workdir is not None
        await self.close()
        shutil.rmtree(self._workdir)
        await self._open()

    async def close(self) -> None:
        """Ends its workers and saves what it saves."""
        if self._engine is not None:
            await self._engine.close()
        self._engine = None
