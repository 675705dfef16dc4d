"""What will be measured: a frozen Plan of Phases with their Criteria.

``configuration`` builds it, ``runner`` drives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from perfsuite.metric import Comparison, labelled, lower_is_better

Profile = Literal["quick", "standard", "full"]

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
    origin: str = "built-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model by name, with the URL of its own server where models live on different ones."""

    name: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Closed loop: ``concurrency`` in flight.  Open loop: ``rate`` due a second by ``arrivals``, at most
    ``concurrency`` in flight.  None: the probe's own default."""

    concurrency: int | None = None
    rate: float | None = None
    arrivals: Literal["constant", "poisson", "ramp", "step"] = "poisson"
    find_max: bool = False
    max_requests: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is said: generated from the seed, or the conversations of a file."""

    conversations: Path | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    prefix_cache: Literal["cold", "warm"] = "warm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """``max_window_size`` is the largest context window tried, in tokens."""

    max_window_size: int = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value of the configuration and where it came from."""

    name: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run needs, validated once.  Durations in seconds."""

    target: str = "reference"
    phases: tuple[Phase, ...] = ()
    profile: Profile = "quick"
    seed: int = 0
    models: tuple[ModelChoice, ...] = ()
    load: Load = Load()
    workload: Workload = Workload()
    tuning: Tuning = Tuning()
    phase_timeout_s: float | None = None
    request_timeout_s: float = 60.0
    output: Path = Path("test-results")
    raw: Path | None = None
    strict: bool = False
    metrics: tuple[str, ...] = ()
    pid: int | None = None
    api_key_env: str | None = None
    verbose: bool = False
    settings: tuple[Setting, ...] = ()
