"""MnemoCore's AgentMemory: a ledger in SQLite with lexical recall, no model and no embeddings."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class MnemoCore:
    """``AgentMemory.open`` with one scope for all sessions, since recall is asked across them."""

    def __init__(self) -> None:
        self._memory: Any = None
        self._path: Path | None = None
        self._now: dict[str, str] = {}
        self._first: dict[str, str] = {}

    def info(self) -> Mapping[str, object]:
        """What is measured."""
        return {
            "name": "mnemocore",
            "version": version("mnemocore"),
            "class": "raw",
            "concurrent": True,
            "configuration": {
                "interface": "AgentMemory.remember / recall",
                "store": "SQLite, WAL",
                "use_hdv_rerank": False,
            },
            "disabled": [],
            "patches": [],
            "notes": ["recall is lexical: it asks for no embeddings, so the dimension means nothing to it"],
        }

    async def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Opens the ledger under ``workdir``; there is no model to ask."""
        be_quiet()
        self._path = workdir / "mnemocore.sqlite"
        await self._open()

    async def _open(self) -> None:
        from mnemocore.agent_memory import AgentMemory, MemoryScope

        assert self._path is not None
        self._memory = await AgentMemory.open(self._path, scope=MemoryScope(user_id="perfsuite", agent_id="perfsuite"))

    async def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """Remembers one fact: of its kinds the one that may be superseded."""
        from mnemocore.agent_memory import MemoryKind

        observed = None if timestamp is None else _iso(timestamp)
        record = await self._memory.remember(text, kind=MemoryKind.FACT, metadata=metadata, observed_at=observed)
        return [record.id]

    async def flush(self) -> None:
        """Each memory is committed when ``store`` returns."""

    async def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """The nearest by its own score."""
        found = [(one.memory, float(one.score)) for one in await self._memory.recall(query, limit=k)]
        return [Hit(self._first.get(memory.id, memory.id), memory.content, score) for memory, score in found]

    async def update(self, ident: str, text: str) -> None:
        """Supersedes a memory as of now.  A new one with another id takes its place, which goes by the old id here."""
        now = datetime.now(UTC).isoformat()
        record = await self._memory.supersede(self._now.get(ident, ident), text, effective_at=now)
        self._now[ident], self._first[record.id] = record.id, ident

    async def delete(self, ident: str) -> None:
        """Forgets a memory; the ledger keeps that there was one."""
        current = self._now.pop(ident, ident)
        self._first.pop(current, None)
        await self._memory.forget(current)

    async def reset(self) -> None:
        """Closes the ledger, deletes its files and opens a new one."""
        assert self._path is not None
        await self._memory.close()
        self._now.clear()
        self._first.clear()
        for file in self._path.parent.glob(f"{self._path.name}*"):
            file.unlink()
        await self._open()

    async def close(self) -> None:
        """Closes the ledger."""
        if self._memory is not None:
            await self._memory.close()
        self._memory = None


def _iso(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat()


def be_quiet() -> None:
    """Its log of every call goes nowhere: written to a terminal it would be most of what is measured."""
    from loguru import logger

    logger.remove()
