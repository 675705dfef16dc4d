"""What will be measured: a frozen Plan of Phases with their Criteria.

``configuration`` builds it, ``runner`` drives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from perfsuite.metric import Comparison, labelled, lower_is_better
from perfsuite.plugins import Plugin
from perfsuite.units import TokenLength
from perfsuite.values import Place

Profile = Literal["quick", "standard", "full"]
Arrivals = Literal["constant", "poisson", "ramp", "step"]
Modality = Literal["audio", "text"]
SystemKind = Literal["chat", "memory", "database"]
OF: tuple[SystemKind, ...] = ("chat", "memory", "database")

STABLE_MEMORY = "memory_growth"
"""The metric that every phase has to keep to, whatever else is asked of it: ``phases.with_stable_memory`` gives each
phase a criterion on it, and missing that fails the phase, critical or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """``metric.stat comparison target``, the target in the metric's unit.

    ``critical``: its failure fails the phase.  ``required``: being undecided or not measured fails it too.
    ``origin``: where the value came from (``built-in``, a file, ``PERFSUITE_…``, a flag).
    """

    metric: str
    stat: str
    comparison: Comparison
    target: float
    critical: bool = True
    required: bool = False
    origin: str = "built-in"

    @property
    def lower_is_better(self) -> bool:
        """Whether it sets an upper limit."""
        return lower_is_better(self.comparison)

    def __str__(self) -> str:
        return labelled(self.metric, self.stat)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A named stretch of measuring.

    ``probes`` are the names of the probes that run in it, in turn, each for its share of ``duration_s``; empty: those
    that give the evidence for ``metrics``.  ``settings`` override the plan's load, workload and tuning by field name.
    ``duration_s`` is how long this run measures, ``documented_s`` the length before the profile scaled it.
    """

    name: str
    title: str
    duration_s: float
    metrics: tuple[str, ...]
    criteria: tuple[Criterion, ...]
    probes: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    documented_s: float = 0.0
    of: SystemKind = "chat"
    origin: str = "built-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model by name, with the URL of its own server where models live on different ones."""

    name: str
    url: str | None = None


Settings = TypeVar("Settings", "Load", "Workload", "Tuning", "MemoryLoad", "DatabaseLoad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Closed loop: ``concurrency`` in flight, each pausing ``think`` seconds between an answer and the next message.
    Open loop: ``rate`` due a second by ``arrivals``, at most ``concurrency`` in flight.  Paced: ``users``, each with a
    message due every ``pace`` seconds.  None: the probe's own default.  ``find_max``: search the highest rate
    within the criteria.  ``max_requests`` and ``max_tokens``: of the whole run; in a phase's settings, of it."""

    concurrency: int | None = None
    rate: float | None = None
    arrivals: Arrivals = "poisson"
    users: int | None = None
    pace: float = 1.0
    think: float = 0.0
    find_max: bool = False
    max_requests: int | None = None
    max_tokens: int | None = None

    @property
    def due_rate(self) -> float | None:
        """Requests that are asked to fall due a second; None for a closed loop."""
        return self.users / self.pace if self.users is not None else self.rate

    def contradiction(self) -> str | None:
        """What of it does not go together, and what to do; None when all does."""
        if self.users is not None and self.rate is not None:
            return "--users send at their own --pace, --rate says another: give one of them"
        if self.users is not None and self.concurrency is not None:
            return "each of --users has one message in flight at most: leave --concurrency out"
        if self.find_max and self.users is not None:
            return "--find-max searches by rate: leave --users out"
        if self.find_max and self.arrivals in ("ramp", "step"):
            return f"--find-max tries even levels: --arrivals constant or poisson, not {self.arrivals}"
        if self.think and (self.users is not None or self.rate is not None):
            return (
                "--think is of a closed loop, where a message waits for an answer: leave it out, or --rate and --users"
            )
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is said: generated from the seed, or the conversations of a file.

    ``turns``: messages of the user in each conversation, every one with the answers that the system itself gave before;
    None: as many as the workload has, with the answers that it has written down.
    """

    conversations: Path | None = None
    turns: int | None = None
    prompt_tokens: TokenLength | None = None
    output_tokens: TokenLength | None = None
    prefix_cache: Literal["cold", "warm"] = "warm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """``max_window_size`` is the largest context window tried, in tokens."""

    max_window_size: int = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLoad:
    """What is asked of a memory system.  ``workers`` make calls at a time; ``samples`` of each call of latency (and as
    many operations of throughput) and ``max_scale`` memories at most (None: by the profile); embeddings have
    ``dimension`` floats."""

    workers: int = 10
    samples: int | None = None
    max_scale: int | None = None
    dimension: int = 384


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLoad:
    """What is asked of a database.  ``url``: which (None: an SQLite file of the run's own); ``workers`` each have a
    connection; ``rows`` of each table (None: by the profile); ``queries``: a file that names the user's own."""

    url: Place | None = None
    workers: int = 10
    rows: int | None = None
    queries: Path | None = None


def overridden(settings: Settings, phase: Phase) -> Settings:
    """A part of a plan (its Load, Workload, …) with what the phase says otherwise."""
    names = {one.name for one in fields(settings)}
    changes: dict[str, Any] = {name: value for name, value in phase.settings.items() if name in names}
    return replace(settings, **changes) if changes else settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value of the configuration and where it came from."""

    name: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run needs, validated once.  Durations in seconds.  ``collectors`` are those that a file names,
    ``cluster``: whose processes drive the loads (None: this one), ``rerun_lost``: a part that was lost is driven again,
    ``notes`` what a reader of the result has to know of how the plan came to be."""

    target: str = "reference"
    phases: tuple[Phase, ...] = ()
    profile: Profile = "quick"
    seed: int = 0
    models: tuple[ModelChoice, ...] = ()
    agent_models: Mapping[str, str] = field(default_factory=dict)
    load: Load = Load()
    workload: Workload = Workload()
    tuning: Tuning = Tuning()
    memory: MemoryLoad = MemoryLoad()
    database: DatabaseLoad = DatabaseLoad()
    phase_timeout_s: float | None = None
    request_timeout_s: float = 60.0
    output: Path = Path("test-results")
    raw: Path | None = None
    junitxml: Path | None = None
    prometheus_file: Path | None = None
    otlp: Place | None = None
    history: Place | None = None
    live: str | None = None
    cluster: str | None = None
    rerun_lost: bool = False
    strict: bool = False
    metrics: tuple[str, ...] = ()
    pid: int | None = None
    collect: tuple[str, ...] = ()
    collectors: tuple[Plugin, ...] = ()
    notes: tuple[str, ...] = ()
    api_key_env: str | None = None
    tokenizer: Path | None = None
    modality: Modality | None = None
    verbose: bool = False
    trace: bool = False
    settings: tuple[Setting, ...] = ()
