"""The catalogue of metrics: what each name means, its unit, and which way is better.

The catalogue is data (``data/metrics.toml``); a metric is added by a row there and by a probe that gives its evidence.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from perfsuite.errors import unknown
from perfsuite.statistic import USUAL, VALUE

Kind = Literal["gauge", "counter", "histogram", "ratio"]
Comparison = Literal["<", "<=", ">", ">="]
Stamp = Literal["first", "gap", "end", "rate"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue.

    ``unit``: ``ms``, ``bytes``, ``ratio`` (0…1), ``1/s``, ``tokens`` or ``count``.  ``stat``: what is held against a
    target when a criterion does not say: ``value``, or what ``statistic.USUAL`` has.
    ``comparison``: the one used by a criterion that gives a number alone.  ``streamed``: every probe that drives a
    target shows it; ``sampled``: the collectors do.  ``objective``: a criterion on it is what a single response has to
    meet to count as goodput.  ``failures``: the share of what failed of the same calls: a mean, which is of
    answers only, does not pass while that share fails.  ``failures_slower``: a failed request counts as slower than any
    answer.
    ``incidental``: it occurs in some systems only; where it does not, it is left out unless it was asked for.
    ``untimed``: why it has no series over time, where there can be none.

    ``stamp``: the client's stamp (or count: ``rate``) that its figures are no better than, where one is; error bars go
    by it.  ``a_second``: the samples a second that a phase gives of it at most: exact for windows, elsewhere what the
    built-in probes get of the reference system with ten in flight, which a slower one will not reach; None: as many as
    anyone could want.

    Held against other runs: ``workload``: what a run was asked to do, or a count of the client's own: shown, never
    judged.  ``essential``: of the streamed ones, those that count even where nobody set a criterion; the others say the
    same in other words, and each more that is compared makes a change harder to prove.  ``signed``: it lies around
    zero, where no ratio says anything.
    """

    name: str
    unit: str
    kind: Kind
    stat: str
    comparison: Comparison
    definition: str
    streamed: bool = False
    sampled: bool = False
    objective: bool = False
    failures: str | None = None
    failures_slower: bool = False
    untimed: str = ""
    incidental: bool = False
    stamp: Stamp | None = None
    a_second: float | None = None
    workload: bool = False
    essential: bool = False
    signed: bool = False


_CHOICES: dict[str, tuple[str, ...]] = {
    "unit": ("ms", "bytes", "ratio", "1/s", "tokens", "count"),
    "kind": get_args(Kind),
    "stat": (*USUAL, VALUE),
    "comparison": get_args(Comparison),
}
_SWITCHES = ("failures_slower", "incidental", "workload", "signed")
"""What a plug-in may say of a metric besides; the other columns are of what the suite itself measures."""
_ADDED: set[str] = set()


def lower_is_better(comparison: Comparison) -> bool:
    """Whether a smaller value is the better one."""
    return comparison in ("<", "<=")


def meets(value: float, comparison: Comparison, target: float) -> bool:
    """Whether ``value comparison target`` holds."""
    if comparison == "<":
        return value < target
    if comparison == "<=":
        return value <= target
    return value > target if comparison == ">" else value >= target


def labelled(name: str, stat: str) -> str:
    """A metric's name with the statistic that is judged: ``ttft p95``."""
    return name if stat == "value" else f"{name} {stat}"


@cache
def _document() -> tuple[dict[str, Metric], dict[str, str]]:
    text = Path(__file__).with_name("data").joinpath("metrics.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    metrics = {name: Metric(name=name, **row) for name, row in document["metrics"].items()}
    return metrics, document["aliases"]


def catalogue() -> dict[str, Metric]:
    """All metrics by name."""
    return _document()[0]


def built_in() -> frozenset[str]:
    """The names of the package's own metrics, and their aliases."""
    metrics, aliases = _document()
    return frozenset({*metrics, *aliases} - _ADDED)


def add(rows: Mapping[str, Mapping[str, object]]) -> None:
    """Adds metrics that a plug-in brings, or changes those that one brought.  Raises ValueError that says what is wrong
    with a row, and adds none then."""
    made = {name: _row(name, row) for name, row in rows.items()}
    catalogue().update(made)
    _ADDED.update(made)


def drop(names: Iterable[str]) -> None:
    """Takes away metrics that were added."""
    for name in _ADDED.intersection(names):
        _ADDED.discard(name)
        del catalogue()[name]


def _row(name: str, row: Mapping[str, object]) -> Metric:
    if name in built_in() or not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(f"no metric of a plug-in can be named {name!r}")
    lacking = [key for key in (*_CHOICES, "definition") if key not in row]
    if lacking:
        raise ValueError(f"the metric {name} has no {' and no '.join(lacking)}")
    for key, value in row.items():
        if key not in (*_CHOICES, "definition", *_SWITCHES):
            raise ValueError(f"the metric {name} cannot have {key!r}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise ValueError(f"the metric {name} has {key} = {value!r}; it is one of {', '.join(_CHOICES[key])}")
        if key in _SWITCHES and not isinstance(value, bool):
            raise ValueError(f"the metric {name} has {key} = {value!r}; it is true or false")
    return Metric(name=name, **cast("dict[str, Any]", row))


def streamed() -> tuple[str, ...]:
    """The metrics that every probe which drives a target can show."""
    return tuple(name for name, row in catalogue().items() if row.streamed)


def canonical(name: str) -> str:
    """The catalogue's name for ``name``: itself, or what an alias of the source documents stands for."""
    metrics, aliases = _document()
    return name if name in metrics else aliases.get(name, name).partition(".")[0]


def alias_stat(name: str) -> str | None:
    """The statistic that an alias names (``avgResponseTime``: ``mean``), or None."""
    return _document()[1].get(name, "").partition(".")[2] or None


def metric(name: str, where: str = "") -> Metric:
    """The metric of that name or alias; raises UsageError with the nearest names when there is none."""
    metrics, aliases = _document()
    found = metrics.get(canonical(name))
    if found is None:
        raise unknown("metric", name, [*metrics, *aliases], where)
    return found
