"""The probes: what is done to a target, and the metrics that each gives evidence for.

A probe is a module with ``async def measure(session) -> Mapping[str, Evidence]`` and a row here.  Rows are in order of
preference: a phase that names no probes runs the first ones that cover its metrics.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, cast

from perfsuite.analysis.scaling import CLASSES
from perfsuite.chatloop.operations import EXPECTATIONS
from perfsuite.errors import unknown
from perfsuite.metric import streamed
from perfsuite.targets.base import CountsTokens, MakesLoops, MemoryUnderTest
from perfsuite.targets.database import DatabaseTarget

if TYPE_CHECKING:
    from perfsuite.evidence import Evidence
    from perfsuite.suites.session import Session
    from perfsuite.targets.base import Target

    Measure = Callable[[Session], Awaitable[Mapping[str, Evidence]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A row of the registry.

    ``shows`` are the metrics that it gives evidence for besides the streamed ones, which every probe that ``drives``
    the target shows.  ``needs``: ``inside`` for a target that shows its inside, ``models`` for one with two models or
    more, ``counter`` for a black box whose prompts can be counted here, ``memory`` for a memory system, ``loop`` for a
    chat loop, ``database`` for what the plan's ``url`` names, whatever the target.  ``weight`` is the probe's share of
    a phase's time beside the other probes'.  ``ignores``: the settings of a load that it has no use for.  ``module``:
    where it is, if not here by its name; ``function``: what measures, of a probe that a plug-in brings.
    """

    name: str
    shows: tuple[str, ...]
    drives: bool = False
    needs: Literal["anything", "inside", "models", "counter", "memory", "database", "loop"] = "anything"
    weight: float = 1.0
    ignores: tuple[str, ...] = ()
    module: str = ""
    function: Measure | None = None

    @property
    def provides(self) -> tuple[str, ...]:
        """All metrics that it gives evidence for."""
        return (*self.shows, *streamed()) if self.drives else self.shows

    def unavailable(self, target: Target) -> str | None:
        """Why this probe cannot show anything of that target, or None."""
        if self.needs == "database":
            return None
        if isinstance(target, DatabaseTarget):
            return f"{target.name} is a database: run database"
        if self.needs == "memory":
            return (
                None
                if isinstance(target, MemoryUnderTest)
                else f"{target.name} is no memory system: name one with --target memory:NAME"
            )
        if isinstance(target, MemoryUnderTest) and not target.chats:
            return f"{target.name} is a memory system, it does not chat: run latency, throughput or footprint"
        if self.needs == "inside" and target.inspection is None:
            return f"{target.name} does not show its inside"
        if self.needs == "models" and len(target.models) < 2:
            return "needs two models: name them with --model A --model B"
        if self.needs == "loop" and not isinstance(target, MakesLoops):
            return f"{target.name} is no chat loop: name one with --target chatloop:module:Class"
        if self.needs == "counter":
            return _countable(target)
        return None

    async def measure(self, session: Session) -> Mapping[str, Evidence]:
        """Runs the probe."""
        if self.function is not None:
            return await self.function(session)
        module = import_module(self.module or f"perfsuite.suites.probes.{self.name.replace('-', '_')}")
        return await cast("Measure", module.measure)(session)


def _countable(target: Target) -> str | None:
    """Why a target's prompts cannot be counted before they are sent; None when they can."""
    if not isinstance(target, CountsTokens):
        return f"nothing here counts the tokens of {target.name}"
    if target.counter(next(iter(target.models), None)) is None:
        return (
            "the model's tokenizer and chat template are not at hand to count with: name its tokenizer.json with "
            "--tokenizer (pip install perfsuite[tokens])"
        )
    return None


PROBES = {
    probe.name: probe
    for probe in (
        Probe(name="conversation", shows=("context_preservation", "cache_hit_rate"), drives=True, weight=4.0),
        Probe(
            name="load",
            shows=("concurrent_requests", "system_stability", "cache_hit_rate", "compression_efficiency", "max_rate"),
            drives=True,
            weight=4.0,
        ),
        Probe(
            name="capacity",
            shows=("peak_throughput", "knee_concurrency", "capacity_concurrency", "capacity_error"),
            drives=True,
            ignores=("rate", "arrivals", "users", "pace", "think", "find_max"),
        ),
        Probe(
            name="switching",
            shows=(
                "model_switch_time",
                "switch_overhead",
                "context_accuracy",
                "resource_reallocation",
                "context_window_limit",
            ),
            drives=True,
            needs="models",
            weight=4.0,
        ),
        Probe(
            name="storage",
            shows=("compression_ratio", "decompression_time", "recovery_accuracy", "context_preservation"),
            needs="inside",
        ),
        Probe(name="savings", shows=("memory_savings",), needs="inside"),
        Probe(
            name="window",
            shows=(
                "window_optimization",
                "token_counting_accuracy",
                "truncation_time",
                "budget_compliance",
                "context_relevance",
                "context_recall",
                "token_efficiency",
            ),
            needs="inside",
        ),
        Probe(name="counting", shows=("token_counting_accuracy",), needs="counter"),
        Probe(
            name="loop-timings",
            shows=tuple(EXPECTATIONS),
            needs="loop",
            module="perfsuite.suites.chatloop.timings",
        ),
        Probe(
            name="loop-memory",
            shows=(
                "conversation_memory",
                "untrimmed_time",
                *(f"scale_{what}_{row.name}" for what in ("memory", "cpu") for row in CLASSES),
            ),
            needs="loop",
            module="perfsuite.suites.chatloop.memory",
        ),
        Probe(
            name="loop-stress",
            shows=("stress_failures", "history_share", "complete_iteration"),
            needs="loop",
            module="perfsuite.suites.chatloop.stress",
        ),
        Probe(
            name="loop-efficiency",
            shows=("trim_efficiency",),
            needs="loop",
            module="perfsuite.suites.chatloop.efficiency",
        ),
        Probe(
            name="leaks",
            shows=("leak_slope", "growth_100", "growth_10000"),
            drives=True,
            module="perfsuite.suites.chatloop.leaks",
        ),
        Probe(
            name="tier-latency",
            shows=tuple(
                f"{call}_latency{tier}"
                for call in ("store", "recall", "synthesize")
                for tier in ("", "_hot", "_warm", "_cold")
            ),
            needs="memory",
            module="perfsuite.suites.memory.latency",
        ),
        Probe(
            name="concurrent-throughput",
            shows=("throughput", "operation_latency", "operation_errors"),
            needs="memory",
            module="perfsuite.suites.memory.throughput",
        ),
        Probe(
            name="memory-footprint",
            shows=("memory_per_1000", "disk_per_1000"),
            needs="memory",
            module="perfsuite.suites.memory.footprint",
        ),
        Probe(
            name="checkpoint",
            shows=(
                "simple_response_time",
                "large_memory_response_time",
                "long_conversation_response_time",
                "tokens_per_message",
                "tokens_total",
                "budget_enforced",
                "budget_refusals",
                "agents_on_model",
                "memories_created",
                "memory_create_time",
                "memory_retrieval_time",
                "memory_search_time",
                "memories_found",
            ),
            drives=True,
            weight=0.5,
            module="perfsuite.suites.checkpoint.measuring",
        ),
        Probe(
            name="chat-database",
            shows=(
                "session_create_time",
                "message_create_time",
                "sessions_query_time",
                "messages_query_time",
                "memories_query_time",
                "logs_query_time",
                "query_time",
                "query_rate",
                "indexes_used",
                "index_speedup",
                "named_query_time",
                "database_errors",
            ),
            needs="database",
            module="perfsuite.suites.database.measuring",
        ),
    )
}


def probe(name: str, where: str = "") -> Probe:
    """The probe of that name; UsageError with the nearest names when there is none."""
    if name not in PROBES:
        raise unknown("probe", name, PROBES, where)
    return PROBES[name]


def covering(metrics: Iterable[str]) -> tuple[Probe, ...]:
    """The probes that give evidence for these metrics, each metric by the first that provides it."""
    wanted: dict[str, Probe] = {}
    for name in metrics:
        for candidate in PROBES.values():
            if name in candidate.provides:
                wanted.setdefault(candidate.name, candidate)
                break
    return tuple(wanted.values())
