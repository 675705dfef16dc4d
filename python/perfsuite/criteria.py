"""Criteria as data: ``success_criteria`` and thresholds → ``Criterion``.

A criterion is ``name = value`` or ``name = { value, stat, comparison, critical, required }``; a threshold, which is
laid over the phases' own, ``[PHASE.]METRIC[.STAT]<VALUE`` or the same as a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from perfsuite import values
from perfsuite.errors import Mistakes, UsageError, shown, unknown
from perfsuite.metric import Comparison, Metric, alias_stat, canonical, catalogue, metric
from perfsuite.plan import Criterion, Phase
from perfsuite.statistic import USUAL, VALUE, statistic
from perfsuite.units import parse_quantity

COMPARISONS = ("<=", ">=", "<", ">")
CRITERION_KEYS = ("value", "stat", "comparison", "critical", "required")


_COMPARED = re.compile(r"\s*(?P<name>[^<>=]*?)\s*(?P<comparison><=|>=|[<>=])\s*(?P<value>.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A criterion to be laid over those of the phases; ``phase`` None: of every phase that has the metric."""

    phase: str | None
    metric: str
    fields: Mapping[str, object]
    where: str
    origin: str


def read_criteria(
    table: object, where: str, origin: str, base: tuple[Criterion, ...], mistakes: Mistakes
) -> dict[str, tuple[Criterion, ...]]:
    """Criteria by metric, as the table states them: one, or a list of one for each statistic."""
    found: dict[str, tuple[Criterion, ...]] = {}
    if not isinstance(table, Mapping):
        mistakes.add(f"{where}: success_criteria: {shown(table)} is no table; write name = value lines")
        return found
    for name, value in table.items():
        at = f"{where}: success_criteria.{name}"
        with mistakes.noted():
            measured = metric(name, f"{where}: success_criteria")
            if measured.name in found:
                raise UsageError(f"{at}: a second criterion for {measured.name}; state it once")
            old = next((old for old in base if old.metric == measured.name), None)
            several = isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value)
            stated = cast("list[object]", value) if several else [value]
            made = tuple(criterion(name, _fields(one, at), at, origin, old) for one in stated)
            if len({one.stat for one in made}) < len(made):
                raise UsageError(f"{at}: two criteria of one statistic; state each once")
            found[measured.name] = made
    return found


def _fields(value: object, where: str) -> Mapping[str, object]:
    """``{ value, stat, … }`` of a criterion that may be a value alone, or text such as ``< 500ms``."""
    if isinstance(value, Mapping):
        for key in value:
            if key not in CRITERION_KEYS:
                raise unknown("key", str(key), CRITERION_KEYS, where)
        return value
    if isinstance(value, str) and (match := _COMPARED.fullmatch(value)) and not match["name"]:
        return {"value": match["value"]} | ({} if match["comparison"] == "=" else {"comparison": match["comparison"]})
    return {"value": value}


def criterion(
    name: str, fields: Mapping[str, object], where: str, origin: str, base: Criterion | None = None
) -> Criterion:
    """The criterion of a metric; what ``fields`` leaves open is as in ``base``, else as in the catalogue of metrics."""
    measured = metric(name, where)
    stat = _stat(fields.get("stat", alias_stat(name) or (base.stat if base else measured.stat)), measured, where)
    comparison = fields.get("comparison", base.comparison if base else measured.comparison)
    if comparison not in COMPARISONS:
        raise UsageError(f"{where}: {shown(comparison)} is no comparison; write one of {' '.join(COMPARISONS)}")
    if "value" in fields:
        target = parse_quantity(fields["value"], measured.unit, where)
    elif base is None:
        raise UsageError(f"{where}: no value; write {{ value = … }}")
    else:
        target = base.target
    return Criterion(
        metric=measured.name,
        stat=stat,
        comparison=cast("Comparison", comparison),
        target=target,
        critical=values.switch(fields.get("critical", base.critical if base else True), f"{where}: critical"),
        required=values.switch(fields.get("required", base.required if base else False), f"{where}: required"),
        origin=origin,
    )


def _stat(stat: object, measured: Metric, where: str) -> str:
    """A statistic that the metric has: any of a histogram, the one that defines it of anything else."""
    asked = statistic(stat) if isinstance(stat, str) else None
    if measured.kind == "histogram":
        if asked is None:
            raise unknown("statistic", str(stat), USUAL, where)
        return asked
    usable = tuple(dict.fromkeys((measured.stat, VALUE)))
    if stat not in usable:
        if asked is None:
            raise unknown("statistic", str(stat), usable, where)
        raise UsageError(f"{where}: {measured.name} has no {stat}; use {' or '.join(usable)}")
    return measured.stat


def thresholds(
    value: object, where: str, origin: str, phases: Mapping[str, Phase], mistakes: Mistakes
) -> tuple[Threshold, ...]:
    """Reads what ``--threshold``, its variable or its key in a file gave: text, a list of texts, or a table."""
    found: list[Threshold] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        with mistakes.noted():
            if isinstance(item, str) and item.lstrip().startswith("{"):
                item = _json(item, where)
            if isinstance(item, Mapping):
                for name, fields in _flattened(item, phases):
                    with mistakes.noted():
                        at = f"{where} {name}"
                        if isinstance(fields, Mapping) and "." not in name and canonical(name) not in catalogue():
                            raise unknown("phase or metric", name, [*phases, *catalogue()], where)
                        found.append(_threshold(name, _fields(fields, at), at, origin, phases))
            elif isinstance(item, str):
                match = _COMPARED.fullmatch(item)
                if match is None or not match["name"] or not match["value"]:
                    raise UsageError(
                        f"{where}: {shown(item)} is no threshold; write '[PHASE.]METRIC[.STAT]<VALUE' (quoted: the "
                        "shell takes < and > for itself)"
                    )
                fields = {"value": match["value"]}
                if match["comparison"] != "=":
                    fields["comparison"] = match["comparison"]
                found.append(_threshold(match["name"], fields, f"{where} {shown(item)}", origin, phases))
            else:
                raise UsageError(f"{where}: {shown(item)} is no threshold; write 'METRIC<VALUE' or a table")
    return tuple(found)


def _json(text: str, where: str) -> Mapping[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not a JSON object: {error}; write '{{\"response_time\": 500}}'") from error
    return cast("Mapping[str, object]", value)


def _flattened(table: Mapping[str, object], phases: Mapping[str, Phase]) -> Iterator[tuple[str, object]]:
    """``{"load": {"ttft": {"p95": …}}}``, as TOML reads ``load.ttft.p95 = …``, is ``{"load.ttft.p95": …}``."""
    for name, value in table.items():
        inner = isinstance(value, Mapping) and value and (name in phases or all(map(statistic, value)))
        if inner and isinstance(value, Mapping):
            yield from ((f"{name}.{rest}", fields) for rest, fields in _flattened(value, {}))
        else:
            yield name, value


def _threshold(
    name: str, fields: Mapping[str, object], where: str, origin: str, phases: Mapping[str, Phase]
) -> Threshold:
    """Takes ``[PHASE.]METRIC[.STAT]`` apart and checks all of it against the catalogue."""
    rest, _, last = name.rpartition(".")
    if rest and (last == VALUE or statistic(last)):
        fields = {"stat": last, **fields}
        name = rest
    phase, _, measured = name.rpartition(".")
    if phase and phase not in phases:
        if canonical(phase.rpartition(".")[2]) in catalogue():
            raise unknown("statistic", measured, USUAL, where)
        if not (measured == VALUE or statistic(measured)) and phase.rpartition(".")[2] not in phases:
            metric(measured, where)
        raise unknown("phase", phase, phases, where)
    criterion(measured, {"value": 0} if "value" not in fields else fields, where, origin)
    return Threshold(
        phase=phase or None, metric=metric(measured).name, fields=_named(fields, measured), where=where, origin=origin
    )


def _named(fields: Mapping[str, object], name: str) -> Mapping[str, object]:
    """The fields with the statistic that an alias implies."""
    implied = alias_stat(name)
    return {"stat": implied, **fields} if implied else fields
