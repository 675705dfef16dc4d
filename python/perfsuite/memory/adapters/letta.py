"""Letta, once MemGPT: the archival memory of an agent, over its server's REST interface.

The server is started on files under the workdir, and ended with this process; or ``LETTA_URL`` names one that runs.
Version 0.11.7 is the last line that keeps its data in SQLite.
"""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from perfsuite.memory.adapters.endpoint import Endpoint
from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

URL = "LETTA_URL"
CHAT_MODEL, EMBEDDING_MODEL = "stand-in", "stand-in-embedding"
NO_TELEMETRY = {
    "OTEL_SDK_DISABLED": "true",
    "COMPOSIO_DISABLE_SENTRY": "true",
    "COMPOSIO_DISABLE_VERSION_CHECK": "true",  # which asks PyPI
}
LONGEST_START_S = 900.0
LONGEST_END_S = 15.0
LOOK_S = 0.25
LAST_WORDS = 1500
REPAIRED = "archives_agents.created_at: its SQLite default 'now()', a text that is no time, is made CURRENT_TIMESTAMP"


class Letta:
    """``POST …/archival-memory`` and ``GET …/archival-memory/search`` of one agent without tools."""

    def __init__(self, chat_model: str = CHAT_MODEL, embedding_model: str = EMBEDDING_MODEL) -> None:
        self._models = (chat_model, embedding_model)
        self._given = os.environ.get(URL, "")
        self._dim = 0
        self._version = ""
        self._patches: list[str] = []
        self._server: subprocess.Popen[bytes] | None = None
        self._endpoint: Endpoint | None = None
        self._agent = ""
        self._note: Path
        self._model_url = ""
        self._passages: dict[str, str] = {}

    def info(self) -> Mapping[str, object]:
        """What is measured."""
        return {
            "name": "letta",
            "version": self._version,
            "class": "raw",
            "concurrent": False,
            "configuration": {
                "interface": "REST: archival-memory of one agent",
                "server": "a running one" if self._given else "started by the adapter, SQLite",
                "dimension": self._dim,
            },
            "disabled": [
                "the agent's own model calls: memories are stored and searched without it",
                "telemetry, and composio's check for a newer version",
            ],
            "patches": list(self._patches),
            "notes": [
                "each call goes over HTTP to its server",
                "search tells no scores and no ids: a score is 1 / the rank, an id a tag that was stored with it",
            ],
        }

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Starts the server, or takes the given one, and makes an agent, or finds the one that the folder names."""
        if model_url is None:
            raise ValueError("Letta needs embeddings: give the URL of a model")
        self._dim, self._model_url = dim, model_url
        url = self._given or self._start(workdir)
        self._endpoint = Endpoint(url.rstrip("/"), os.environ.get("LETTA_API_KEY"))
        self._wait(workdir)
        if not self._given:
            self._repair(workdir / "home" / ".letta" / "sqlite.db")
        self._note = workdir / "agent"
        self._agent = self._note.read_text("ascii") if self._note.exists() else self._new_agent()

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        assert self._endpoint is not None
        return self._endpoint.ask(method, path, body)

    def _start(self, workdir: Path) -> str:
        home = workdir / "home"
        home.mkdir(exist_ok=True)
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        key = os.environ.get("OPENAI_API_KEY") or "none"
        model = {"OPENAI_API_KEY": key, "OPENAI_API_BASE": self._model_url, "OPENAI_BASE_URL": self._model_url}
        environment = {**os.environ, **model, "HOME": str(home), **NO_TELEMETRY}
        command = [str(Path(sys.executable).with_name("letta")), "server", "--host", "127.0.0.1", "--port", str(port)]
        with (workdir / "letta.log").open("ab") as log:
            self._server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home, env=environment
            )
        return f"http://127.0.0.1:{port}"

    def _wait(self, workdir: Path) -> None:
        """Returns when the server answers; RuntimeError with its last words when it does not."""
        until = time.monotonic() + LONGEST_START_S
        while True:
            try:
                self._version = str(self._ask("GET", "/v1/health/")["version"])
                return
            except (OSError, RuntimeError) as error:
                over = self._server is not None and self._server.poll() is not None
                if over or self._given or time.monotonic() > until:
                    log = workdir / "letta.log"
                    words = log.read_text("utf-8", "replace")[-LAST_WORDS:] if log.exists() else str(error)
                    raise RuntimeError(f"Letta's server does not answer: {words}") from error
            time.sleep(LOOK_S)

    def _repair(self, file: Path) -> None:
        """Mends the one default that keeps SQLite from reading back what was inserted."""
        with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as database:
            row = database.execute("SELECT sql FROM sqlite_master WHERE name = 'archives_agents'").fetchone()
            if row is None or "DEFAULT 'now()'" not in row[0]:
                return
            (schema,) = database.execute("PRAGMA schema_version").fetchone()
            database.execute("PRAGMA writable_schema = ON")
            database.execute("BEGIN IMMEDIATE")
            database.execute(
                "UPDATE sqlite_master SET sql = replace(sql, 'DEFAULT ''now()''', 'DEFAULT CURRENT_TIMESTAMP') "
                "WHERE name = 'archives_agents'"
            )
            database.execute(f"PRAGMA schema_version = {schema + 1}")  # tells the server's connections
            database.execute("COMMIT")
        self._patches = [REPAIRED]

    def _new_agent(self) -> str:
        """An agent of this run's own: a given server may have others, which are nobody's business here."""
        chat, embedding = self._models
        made = self._ask(
            "POST",
            "/v1/agents/",
            {
                "name": f"perfsuite-{secrets.token_hex(4)}",
                "include_base_tools": False,
                "memory_blocks": [],
                "llm_config": {
                    "model": chat,
                    "model_endpoint_type": "openai",
                    "model_endpoint": self._model_url,
                    "context_window": 8192,
                },
                "embedding_config": {
                    "embedding_endpoint_type": "openai",
                    "embedding_endpoint": self._model_url,
                    "embedding_model": embedding,
                    "embedding_dim": self._dim,
                    "embedding_chunk_size": 300,
                },
            },
        )
        self._note.write_text(made["id"], "ascii")
        return str(made["id"])

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """Inserts one passage under a tag, by which it is known here: its search tells no ids."""
        ident = secrets.token_hex(8)
        body: dict[str, object] = {"text": text, "tags": [ident]}
        if timestamp is not None:
            body["created_at"] = datetime.fromtimestamp(timestamp, UTC).isoformat()
        made = self._ask("POST", f"/v1/agents/{self._agent}/archival-memory", body)
        self._passages[ident] = made[0]["id"]
        return [ident]

    def flush(self) -> None:
        """Each passage is committed when ``store`` returns."""

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """The search of archival memory, by meaning."""
        asked = urlencode({"query": query, "top_k": k})
        found: list[Any] = self._ask("GET", f"/v1/agents/{self._agent}/archival-memory/search?{asked}")["results"]
        return [Hit(_tag(one), one["content"], 1.0 / rank) for rank, one in enumerate(found[:k], 1)]

    def delete(self, ident: str) -> None:
        """Deletes the passage that was stored under that id in this process; KeyError for others."""
        self._ask("DELETE", f"/v1/agents/{self._agent}/archival-memory/{self._passages[ident]}")
        del self._passages[ident]

    def reset(self) -> None:
        """Deletes the agent with its memory, and makes another."""
        self._passages.clear()
        self._ask("DELETE", f"/v1/agents/{self._agent}")
        self._agent = self._new_agent()

    def close(self) -> None:
        """Ends the server that was started; of a given one, deletes the agent."""
        if self._given and self._agent:
            self._ask("DELETE", f"/v1/agents/{self._agent}")
            self._note.unlink()
            self._agent = ""
        if self._endpoint is not None:
            self._endpoint.close()
        server, self._server = self._server, None
        if server is not None:
            server.terminate()
            try:
                server.wait(LONGEST_END_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _tag(result: Mapping[str, Any]) -> str:
    tags = result.get("tags") or [""]
    return str(tags[0])
