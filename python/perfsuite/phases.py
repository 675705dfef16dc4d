"""Phases as data: ``[[phases]]`` tables → ``Phase``; what is in ``success_criteria`` see ``criteria``.

The five phases of the source document are in ``data/phases.toml``, its memory suite in ``data/memory.toml``, what is
measured of a chat service's database in ``data/database.toml``, the checkpoint in ``data/checkpoint.toml``, a
capacity model in ``data/capacity.toml``;
a plan file has tables of the same form, which add to them or, by name, change them.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import cast

from perfsuite import values
from perfsuite.criteria import read_criteria
from perfsuite.errors import Mistakes, UsageError, shown, unknown
from perfsuite.metric import metric
from perfsuite.plan import OF, STABLE_MEMORY, Criterion, Phase, SystemKind
from perfsuite.settings import BY_NAME, PHASE_OPTIONS

PHASE_KEYS = ("name", "title", "duration", "metrics", "success_criteria", "probes", "of")
GROUPS = ("all", "suite", "chat-loop")
"""Names that stand for several phases."""


@dataclass(slots=True)
class KnownPhases:
    """The phases by name."""

    phases: dict[str, Phase] = field(default_factory=dict)

    def read(self, tables: object, where: str, origin: str, mistakes: Mistakes) -> tuple[str, ...]:
        """Adds the phases of a file, or changes those of the same name; returns their names.

        ``where`` names the file in messages.  What is wrong is noted in ``mistakes``, all of it.
        """
        if not isinstance(tables, list):
            mistakes.add(f"{where}: phases: {shown(tables)} is no list of phases; write [[phases]] above each one")
            return ()
        read: dict[str, Phase] = {}
        for index, table in enumerate(tables):
            with mistakes.noted():
                if not isinstance(table, Mapping):
                    raise UsageError(f"{where}: phases[{index}]: {shown(table)} is no table; write [[phases]] above it")
                name = values.text(table.get("name", ""), f"{where}: phases[{index}].name")
                if name in read:
                    raise UsageError(
                        f"{where}: phases[{index}]: a second phase is named {name!r}; give it another name"
                    )
                if name in GROUPS or any(character in name for character in ",<>=@"):
                    raise UsageError(f"{where}: phases[{index}].name: {name!r} cannot be told on a command line")
                if "/" in name:
                    raise UsageError(f"{where}: phases[{index}].name: {name!r} has a / in it, and is to name files too")
                read[name] = _phase(table, name, f"{where}: phases[{index}] ({name})", origin, self.phases, mistakes)
        self.phases |= read
        return tuple(read)


def _phase(
    table: Mapping[str, object], name: str, where: str, origin: str, known: Mapping[str, Phase], mistakes: Mistakes
) -> Phase:
    table = {("success_criteria" if key == "successCriteria" else key): value for key, value in table.items()}
    base = known.get(name)
    overrides: dict[str, object] = {}
    for key, value in table.items():
        with mistakes.noted():
            if key in PHASE_OPTIONS:
                overrides[key] = BY_NAME[key].parse(value, f"{where}: {key}")
            elif key not in PHASE_KEYS:
                raise unknown("key", key, [*PHASE_KEYS, *PHASE_OPTIONS], where)
    listed: tuple[str, ...] | None = None
    if "metrics" in table:
        listed = ()
        with mistakes.noted():
            given = values.names(table["metrics"], f"{where}: metrics")
            for item in given:
                with mistakes.noted():
                    listed = (*listed, metric(item, f"{where}: metrics").name)
    criteria = read_criteria(table.get("success_criteria", {}), where, origin, base.criteria if base else (), mistakes)
    if base:
        before: dict[str, tuple[Criterion, ...]] = {}
        for old in base.criteria:
            if listed is None or old.metric in listed:
                before[old.metric] = (*before.get(old.metric, ()), old)
        criteria = before | criteria
    measured = listed if listed is not None else base.metrics if base else ()
    duration = base.documented_s if base else 0.0
    if "duration" in table:
        with mistakes.noted():
            duration = values.positive_duration(table["duration"], f"{where}: duration")
    elif base is None:
        mistakes.add(f'{where}: no duration; write duration = "1h", or a number of seconds')
    if base is None and not (measured or criteria or table.get("metrics") or table.get("success_criteria")):
        mistakes.add(f'{where}: nothing to measure; write metrics = ["response_time"], or success_criteria')
    probes = base.probes if base and listed is None else ()
    if "probes" in table:
        with mistakes.noted():
            probes = values.names(table["probes"], f"{where}: probes")
    of: SystemKind = "chat" if base is None else base.of
    if "of" in table:
        with mistakes.noted():
            of = cast("SystemKind", values.choice(table["of"], f"{where}: of", known=OF, kind="kind of system"))
    title = name if base is None else base.title
    if "title" in table:
        with mistakes.noted():
            title = values.text(table["title"], f"{where}: title")
    return Phase(
        name=name,
        title=title,
        duration_s=duration,
        documented_s=duration,
        metrics=tuple(dict.fromkeys([*measured, *criteria])),
        criteria=tuple(chain.from_iterable(criteria.values())),
        probes=probes,
        settings={**(base.settings if base else {}), **overrides},
        of=of,
        origin=origin,
    )


@cache
def documented() -> Mapping[str, Phase]:
    """The five phases of the source document, at their documented lengths."""
    return _read("phases.toml")


@cache
def memory_suite() -> Mapping[str, Phase]:
    """The benchmarks of the source document's memory suite."""
    return _read("memory.toml")


@cache
def service() -> Mapping[str, Phase]:
    """What is measured of a chat service beside the five phases: its database, and the checkpoint of all of it."""
    return {**_read("database.toml"), **_read("checkpoint.toml")}


@cache
def capacity() -> Mapping[str, Phase]:
    """What a chat system bears, and the law that tells what it would bear."""
    return _read("capacity.toml")


@cache
def chat_loop() -> Mapping[str, Phase]:
    """The tests of the chat-loop guide."""
    return _read("chatloop.toml")


def built_in() -> Mapping[str, Phase]:
    """All that the package brings."""
    return {**documented(), **memory_suite(), **service(), **capacity(), **chat_loop()}


def _read(name: str) -> Mapping[str, Phase]:
    import tomllib

    known, mistakes = KnownPhases(), Mistakes()
    document = tomllib.loads(Path(__file__).with_name("data").joinpath(name).read_text(encoding="utf-8"))
    known.read(document["phases"], name, "built-in", mistakes)
    mistakes.check()
    return known.phases


def giving_way(phase: Phase, asked: Set[str]) -> Phase:
    """A built-in phase without the users that it sets, where the load that is asked for is another."""
    if phase.origin != "built-in" or asked.isdisjoint(("users", "rate", "concurrency", "think", "find_max")):
        return phase
    return replace(phase, settings={name: value for name, value in phase.settings.items() if name != "users"})


def with_stable_memory(phase: Phase) -> Phase:
    """The phase with a criterion on STABLE_MEMORY, the documents' own where it has none; one that fills a memory system
    or a database as it is."""
    if phase.of != "chat" or any(criterion.metric == STABLE_MEMORY for criterion in phase.criteria):
        return phase
    baseline = documented()["baseline"]
    stable = next(criterion for criterion in baseline.criteria if criterion.metric == STABLE_MEMORY)
    metrics = tuple(dict.fromkeys([*phase.metrics, STABLE_MEMORY]))
    return replace(phase, metrics=metrics, criteria=(*phase.criteria, stable))
