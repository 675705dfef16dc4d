"""What a memory system is to the suite: a few methods, each async or plain.

A system that another package brings registers its class, or a function that makes it, under the entry point group
``perfsuite.memory``; ``--target memory:NAME`` and ``compare NAME`` then know it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
Maybe: TypeAlias = "T | Awaitable[T]"
"""A method may return its result, or be a coroutine function."""


class Hit(NamedTuple):
    """A memory that was recalled.  ``score``: higher is nearer; its scale is the system's own."""

    id: str
    text: str
    score: float


class MemorySystem(Protocol):
    """A memory system under test.

    The order of calls is ``initialize``, then any of the others, then ``close``; ``info`` may come at any time.  Calls
    do not overlap unless ``info()["concurrent"]`` is true.  Exceptions count as failures of the call, with their text.

    Optional, found by their names: ``update(id, text)``, ``delete(id)``, ``tier_of(id) -> "hot" | "warm" | "cold" |
    None`` (where a memory is, by the system's own word), ``synthesize(query) -> str`` and ``store_many(texts)``, a list
    of ids for each, by which stores are filled that are too large to fill one by one.
    """

    def info(self) -> Maybe[Mapping[str, object]]:
        """What is measured: ``name``, ``version``, and as far as they apply ``class`` ("raw" storage, or "extracting":
        the model decides what is stored), ``concurrent``, ``configuration``, ``disabled`` features, ``patches``,
        ``notes``."""

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> Maybe[None]:
        """Opens what is in ``workdir``: nothing at first, so that its state is fresh; started again in a folder that it
        was killed in, a system finds there what was durable.  Its files go nowhere else.  Models and embeddings of
        ``dim`` floats come from the OpenAI-compatible ``model_url`` (None: there is none).  Telemetry is off."""

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Maybe[Sequence[str]]:
        """Stores one memory; ids of what it became (several, or none, where the model extracts).  It is acknowledged
        when this returns."""

    def flush(self) -> Maybe[None]:
        """Returns when what was stored is durable, and what is done in the background is done."""

    def recall(self, query: str, k: int = 5) -> Maybe[Sequence[Hit]]:
        """At most ``k`` memories about a query, the nearest first."""

    def reset(self) -> Maybe[None]:
        """Forgets everything."""

    def close(self) -> Maybe[None]:
        """Releases what it holds.  Files may stay."""
