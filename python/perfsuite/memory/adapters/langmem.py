"""LangMem: a store manager that lets the model extract memories, over LangGraph's store."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NAMESPACE = ("memories",)
CHAT_MODEL, EMBEDDING_MODEL = "stand-in", "stand-in-embedding"


class LangMem:
    """``create_memory_store_manager`` over AsyncSqliteStore where this Python's SQLite loads extensions, which that
    store needs for its vectors; else over InMemoryStore, which forgets everything when the process ends."""

    def __init__(self, chat_model: str = CHAT_MODEL, embedding_model: str = EMBEDDING_MODEL) -> None:
        self._models = (chat_model, embedding_model)
        self._durable = _loads_extensions()
        self._dim = 0
        self._store: Any = None
        self._opened: Any = None
        self._manager: Any = None

    def info(self) -> Mapping[str, object]:
        """What is measured."""
        store = "AsyncSqliteStore" if self._durable else "InMemoryStore"
        return {
            "name": "langmem",
            "version": version("langmem"),
            "class": "extracting",
            "concurrent": False,
            "configuration": {
                "manager": "create_memory_store_manager(enable_inserts=True, enable_deletes=False)",
                "store": store,
                "langgraph": version("langgraph"),
                "dimension": self._dim,
            },
            "disabled": [] if self._durable else ["durable storage: this Python's SQLite loads no extensions"],
            "patches": [],
            "notes": ["recall is the store's own semantic search, without the model"],
        }

    async def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Opens the store under ``workdir``."""
        if model_url is None:
            raise ValueError("LangMem needs a model: give its URL")
        import os

        os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"
        os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"
        logging.getLogger("langchain").setLevel(logging.ERROR)
        from langchain_openai import ChatOpenAI, OpenAIEmbeddings
        from langmem import create_memory_store_manager

        self._dim = dim
        chat, embedding = self._models
        key = os.environ.get("OPENAI_API_KEY") or "none"
        embeddings = OpenAIEmbeddings(
            model=embedding, base_url=model_url, api_key=key, dimensions=dim, check_embedding_ctx_length=False
        )
        index = {"dims": dim, "embed": embeddings, "fields": ["content.content"]}
        if self._durable:
            from langgraph.store.sqlite.aio import AsyncSqliteStore

            self._opened = AsyncSqliteStore.from_conn_string(str(workdir / "langmem.sqlite"), index=index)
            self._store = await self._opened.__aenter__()
            await self._store.setup()
        else:
            from langgraph.store.memory import InMemoryStore

            self._store = InMemoryStore(index=index)
        model = ChatOpenAI(model=chat, base_url=model_url, api_key=key, temperature=0)
        self._manager = create_memory_store_manager(model, namespace=NAMESPACE, store=self._store)

    async def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """Gives the manager one message; the keys of the memories that the model made of it, or changed."""
        message = {"role": "user", "content": text}
        puts = await self._manager.ainvoke({"messages": [message]}, config={"configurable": {}})
        return [put["key"] for put in puts]

    async def flush(self) -> None:
        """Writes are committed when they return."""

    async def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """The store's semantic search."""
        found = await self._store.asearch(NAMESPACE, query=query, limit=k)
        return [Hit(item.key, _text(item.value), item.score or 0.0) for item in found]

    async def update(self, ident: str, text: str) -> None:
        """Puts another text under the same key."""
        await self._store.aput(NAMESPACE, ident, {"kind": "Memory", "content": {"content": text}})

    async def delete(self, ident: str) -> None:
        """Takes a key away."""
        await self._store.adelete(NAMESPACE, ident)

    async def reset(self) -> None:
        """Deletes every memory of the namespace."""
        while found := await self._store.asearch(NAMESPACE, limit=500):
            for item in found:
                await self._store.adelete(NAMESPACE, item.key)

    async def close(self) -> None:
        """Closes the store's file."""
        if self._opened is not None:
            await self._opened.__aexit__(None, None, None)
        self._opened = self._store = None


def _loads_extensions() -> bool:
    import sqlite3

    return hasattr(sqlite3.Connection, "enable_load_extension")


def _text(value: Mapping[str, Any]) -> str:
    content = value.get("content")
    return str(content.get("content", content)) if isinstance(content, dict) else str(content)
