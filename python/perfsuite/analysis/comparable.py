"""What of a result can be held against another: its figures, and the conditions that have to be the same.

A figure is one statistic of one metric of one phase, with its unit and which way is better.  Medians and means gate;
a tail quantile is shown beside them and decides nothing, for no short run knows it well enough.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from perfsuite.metric import catalogue, lower_is_better
from perfsuite.result import Environment, MetricResult, PhaseResult, Result

Better = Literal["lower", "higher"]

RUNS = "runs"
"""The key of ``MetricResult.details`` under which a benchmark that ran as several processes keeps their figures:
``{"p50": [one for each run], "mean": […]}``."""

_TAILS = ("p95", "p99")
_LOWER = frozenset({"ms", "s", "bytes"})
NOT_CONDITIONS = frozenset(
    {
        "output",
        "raw",
        "junitxml",
        "prometheus_file",
        "otlp",
        "history",
        "live",
        "strict",
        "verbose",
        "pid",
        "collect",
        "collectors",
        "notes",
        "settings",
        "api_key_env",
        "metrics",
        "phases",
        "tokenizer",
        "rerun_lost",
    }
)
"""Fields of a plan that change no figure: where things are written, what is shown, how it is judged.  Of ``phases``
each is held against its own."""
NOT_OF_PHASE = frozenset({"criteria", "origin", "title", "metrics", "documented_s"})
"""… and of a phase."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One statistic of a metric.  ``better``: which way, None where neither is.  ``gates``: a change of it counts."""

    phase: str
    metric: str
    stat: str
    unit: str
    better: Better | None = None
    gates: bool = False

    @property
    def key(self) -> str:
        """``phase.metric.stat``."""
        return f"{self.phase}.{self.metric}.{self.stat}"


class Measured(NamedTuple):
    """A figure's value in one result.  ``inside``: the values of the short runs that it was measured as, each in a
    process of its own, if it was; ``stretches``: those of consecutive stretches of its one process."""

    figure: Figure
    value: float
    inside: tuple[float, ...] = ()
    stretches: tuple[float, ...] = ()


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The machine, as far as figures depend on it."""

    host: str
    cpu: str
    cores: int
    memory_bytes: int
    os: str

    def __str__(self) -> str:
        return f"{self.host} ({self.cpu}, {self.cores} cores)"

    def differences(self, other: Host) -> list[str]:
        """What differs, in words.  The release of the kernel changes with every update and is no other host."""
        mine, theirs = msgspec.structs.asdict(self), msgspec.structs.asdict(other)
        mine["os"], theirs["os"] = self.os.partition(" ")[0], other.os.partition(" ")[0]
        # A virtual machine's memory differs by what its kernel kept for itself.
        mine["memory_bytes"], theirs["memory_bytes"] = _gibibytes(self), _gibibytes(other)
        return [f"{name} {mine[name]} and {theirs[name]}" for name in mine if mine[name] != theirs[name]]


def host_of(environment: Environment) -> Host:
    """The host of a result."""
    return Host(
        host=environment.host,
        cpu=environment.cpu,
        cores=environment.cores,
        memory_bytes=environment.memory_bytes,
        os=environment.os,
    )


def figures(phase: PhaseResult) -> dict[str, Measured]:
    """The figures of a phase by key: what was measured, finite, and not from among failed requests."""
    found: dict[str, Measured] = {}
    for metric in phase.metrics:
        for measured in _of(phase.name, metric):
            found.setdefault(measured.figure.key, measured)
    return found


def conditions(result: Result, phase: str) -> dict[str, Any]:
    """The configuration that a phase was measured under: what has to be the same for figures to be comparable.

    Of a result that was just made it is the same as of its file."""
    plan = msgspec.json.decode(msgspec.json.encode(result.run.plan, enc_hook=str), type=dict[str, Any])
    found = {name: _said_out(value) for name, value in plan.items() if name not in NOT_CONDITIONS}
    phases = plan.get("phases")
    for one in phases if isinstance(phases, list) else []:
        if isinstance(one, Mapping) and one.get("name") == phase:
            found["phase"] = {name: _said_out(value) for name, value in one.items() if name not in NOT_OF_PHASE}
    found["target"] = result.run.target
    # A setting that a later version brought, and that is off, makes no other configuration.
    return {name: value for name, value in found.items() if not _nothing(value)}


def key_of(conditions: Mapping[str, Any]) -> str:
    """Sixteen hexadecimal digits that are the same for the same conditions."""
    data = msgspec.json.encode(conditions, order="sorted", enc_hook=str)
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Where two configurations differ: ``phase.duration_s 2.0 and 5.0``."""
    mine, theirs = dict(_flat(one)), dict(_flat(other))
    return [
        f"{name} {_said(mine.get(name))} and {_said(theirs.get(name))}"
        for name in dict.fromkeys([*mine, *theirs])
        if mine.get(name) != theirs.get(name)
    ]


def _said_out(value: object) -> object:
    """A value without what is not set in it."""
    if isinstance(value, Mapping):
        return {name: _said_out(item) for name, item in value.items() if not _nothing(item)}
    return list(value) if isinstance(value, tuple) else value


def _nothing(value: object) -> bool:
    return value is None or value is False or value in ([], (), {}, "")


def _of(phase: str, metric: MetricResult) -> Iterator[Measured]:
    if metric.verdict == "not measured":
        return
    better = _better(metric)
    judged = better is not None and _counts(metric)
    inside = metric.details.get(RUNS)
    inside = inside if isinstance(inside, Mapping) else {}

    def one(stat: str, value: float | None, gates: bool) -> Iterator[Measured]:
        if value is not None and math.isfinite(value):
            own = Figure(phase=phase, metric=metric.name, stat=stat, unit=metric.unit, better=better, gates=gates)
            yield Measured(own, value, _numbers(inside.get(stat)), _numbers(metric.stretches.get(stat)))

    if metric.kind != "histogram" or metric.stats is None:
        if not metric.censored:
            yield from one(metric.stat, metric.value, judged)
        return
    yield from one("p50", metric.stats.p50, judged)
    yield from one("mean", metric.stats.mean, judged and metric.stat == "mean")
    for stat in _TAILS:
        yield from one(stat, getattr(metric.stats, stat), gates=False)


def _counts(metric: MetricResult) -> bool:
    """Whether the benchmark is about it: it has a criterion, or is not one of those that every driven one shows."""
    row = catalogue().get(metric.name)
    if row is None:
        return True
    return not row.signed and (metric.target is not None or row.essential or not row.streamed)


def _better(metric: MetricResult) -> Better | None:
    row = catalogue().get(metric.name)
    if row is not None and row.workload:
        return None
    comparison = metric.comparison or (row.comparison if row is not None else None)
    if comparison is not None:
        return "lower" if lower_is_better(comparison) else "higher"
    if metric.unit in _LOWER:
        return "lower"
    return "higher" if metric.unit == "1/s" else None


def _numbers(values: object) -> tuple[float, ...]:
    if not isinstance(values, list | tuple):
        return ()
    found = [float(one) for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    return tuple(found) if len(found) == len(values) and all(map(math.isfinite, found)) else ()


def _gibibytes(host: Host) -> str:
    return f"{host.memory_bytes / 2**30:.0f} GiB"


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{before}{name}.")
        else:
            yield f"{before}{name}", list(item) if isinstance(item, tuple) else item


def _said(value: object) -> str:
    text = "nothing" if value is None or value == [] else str(value)
    return text if len(text) <= 80 else text[:79] + "…"
