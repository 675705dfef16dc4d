"""Zep Cloud: a client of the hosted service, with the user's own key.  Without one nothing of it can be verified."""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from perfsuite.memory.base import Hit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KEY = "ZEP_API_KEY"
LONGEST_PROCESSING_S = 600.0
LOOK_S = 1.0


class ZepCloud:
    """Episodes and their facts in the graph of a user of its own, who is deleted at the end."""

    def __init__(self) -> None:
        self._client: Any = None
        self._user = ""
        self._pending: list[str] = []

    def info(self) -> Mapping[str, object]:
        """What is measured: the service, with the network between."""
        return {
            "name": "zep-cloud",
            "version": f"zep-cloud client {version('zep-cloud')}",
            "class": "extracting",
            "concurrent": False,
            "configuration": {"store": "graph.episode.add(type=text)", "recall": "graph.search_edges"},
            "disabled": [],
            "patches": [],
            "notes": [
                "hosted: its latency has the network in it, and its model is its own",
                "this adapter has not been verified against the service: that takes a key",
                "a store is acknowledged before the service has processed it; flush waits for that",
            ],
        }

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """Makes a user for this run.  The service uses neither ``model_url`` nor ``dim``."""
        key = os.environ.get(KEY)
        if not key:
            raise ValueError(f"zep-cloud is a client of a hosted service: put your key into {KEY}")
        from zep_cloud.client import Zep

        self._client = Zep(api_key=key)
        self._enter()

    def _enter(self) -> None:
        self._user = self._client.user.create(user_id=f"perfsuite-{secrets.token_hex(8)}").uuid_

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """Adds one episode to the user's graph; the service extracts its facts later, so that no ids are known yet."""
        at = datetime.now(UTC) if timestamp is None else datetime.fromtimestamp(timestamp, UTC)
        added = self._client.graph.episode.add(self._user, type="text", data=text, reference_time=at.isoformat())
        self._pending.append(added.episode.uuid_)
        return []

    def flush(self) -> None:
        """Waits until the service says that every episode is processed."""
        until = time.monotonic() + LONGEST_PROCESSING_S
        while self._pending:
            if self._client.graph.episode.get(self._user, self._pending[-1]).processed:
                self._pending.pop()
            elif time.monotonic() > until:
                raise TimeoutError(f"{len(self._pending)} episodes are not processed after {LONGEST_PROCESSING_S:g} s")
            else:
                time.sleep(LOOK_S)

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """Facts of the user's graph."""
        found = self._client.graph.search_edges(self._user, query=query, page_size=k).items or []
        return [Hit(edge.uuid_, edge.fact, float(edge.score or 1.0 / rank)) for rank, edge in enumerate(found[:k], 1)]

    def delete(self, ident: str) -> None:
        """Deletes a fact."""
        self._client.graph.edge.delete(self._user, ident)

    def reset(self) -> None:
        """Deletes the user with all that is known of it, and makes another."""
        self._leave()
        self._enter()

    def _leave(self) -> None:
        self._pending.clear()
        if self._user:
            self._client.user.delete(self._user)
        self._user = ""

    def close(self) -> None:
        """Deletes the user: nothing of a run stays with the service."""
        if self._client is not None:
            self._leave()
        self._client = None
