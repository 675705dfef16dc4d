"""How the reference chat system is set up.  Every delay here is simulated, and said so wherever results are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfsuite.errors import UsageError

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A simulated model: its stated delays, its context window, and the memory that it really holds while loaded."""

    name: str
    ttft_ms: float
    token_ms: float
    window_tokens: int
    weights_bytes: int
    load_ms: float = 0.0


SMALL = ModelSpec(name="sim-small", ttft_ms=20, token_ms=2, window_tokens=8192, weights_bytes=32 * MIB, load_ms=20)
LARGE = ModelSpec(name="sim-large", ttft_ms=30, token_ms=3, window_tokens=16384, weights_bytes=48 * MIB, load_ms=40)
UTILITY = ModelSpec(name="sim-utility", ttft_ms=4, token_ms=1, window_tokens=2048, weights_bytes=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConfig:
    """Settings of the embedded chat-memory system.

    ``path``: the SQLite file; None: a file in a temporary folder that goes away with the system; ``":memory:"``: none.
    ``models``: those that answer, the first by default; one is loaded at a time.  ``utility`` is what the planner and
    memory agents call; it stays loaded.  ``message_budget``: tokens that all agents together may use for one user
    message.  ``embeds_stored``: memories are embedded as they are stored; else when a question first points to them.
    ``max_*`` are the bounds that keep a run of hours flat.
    """

    path: str | Path | None = None
    models: tuple[ModelSpec, ...] = (SMALL, LARGE)
    utility: ModelSpec = UTILITY
    system_prompt: str = "Answer from what the user said."
    message_budget: int = 5000
    answer_tokens: int = 64
    recent_share: float = 0.25
    recent_turns: int = 3
    max_history_pairs: int = 20
    codec: str = "zlib"
    archive_bytes: int = 32 * 1024
    hot_memories: int = 512
    warm_memories: int = 20_000
    cold_memories: int = 40_000
    cold_block: int = 64
    max_conversations: int = 256
    max_sessions: int = 5_000
    max_archives: int = 4_000
    max_agent_logs: int = 20_000
    embedding_entries: int = 5_000
    embeds_stored: bool = True
    rate_per_s: float = 10_000.0
    rate_burst: float = 10_000.0
    max_users: int = 10_000
    synchronous: str = "NORMAL"
    indexes: bool = True

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("the reference system needs at least one model")
        names = [spec.name for spec in (*self.models, self.utility)]
        if len(set(names)) != len(names):
            raise UsageError(f"models of the reference system need different names, got {', '.join(names)}")
        if self.synchronous not in ("OFF", "NORMAL", "FULL"):
            raise UsageError(f"synchronous must be OFF, NORMAL or FULL, not {self.synchronous!r}")
        positive = (
            "message_budget answer_tokens max_history_pairs archive_bytes hot_memories warm_memories cold_memories "
            "cold_block max_conversations max_sessions max_archives max_agent_logs embedding_entries max_users"
        )
        for name in positive.split():
            if getattr(self, name) < 1:
                raise UsageError(f"{name} of the reference system must be 1 or more, not {getattr(self, name)}")
        if not 0 <= self.recent_share <= 1:
            raise UsageError(f"recent_share must be in 0…1, not {self.recent_share}")

    def without_delays(self) -> ReferenceConfig:
        """The same system with models that answer at once: for tests of everything but time."""
        from dataclasses import replace

        def instant(spec: ModelSpec) -> ModelSpec:
            return replace(spec, ttft_ms=0, token_ms=0, load_ms=0)

        return replace(self, models=tuple(map(instant, self.models)), utility=instant(self.utility))


def describe_simulation(config: ReferenceConfig) -> str:
    """What is simulated, in one line, with its delays."""
    models = "; ".join(
        f"{spec.name} {spec.ttft_ms:g} ms to the first token, {spec.token_ms:g} ms a token, "
        f"{spec.weights_bytes // MIB} MiB of weights, {spec.load_ms:g} ms besides to load"
        for spec in (*config.models, config.utility)
    )
    return f"language model: answers are extracted from the prompt after stated delays ({models})"
