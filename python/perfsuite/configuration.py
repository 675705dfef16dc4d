"""Built-in < ``[tool.perfsuite]`` < ``perfsuite.toml`` < ``PERFSUITE_…`` < ``--plan FILE`` < flags → a frozen ``Plan``.

The stronger source wins, setting by setting; thresholds add up, the stronger ones last.  Each value keeps its origin.
Everything is validated, what a stronger source overrides too, and all mistakes are named at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from perfsuite.concerned import all_of, heeded, inapplicable, showing
from perfsuite.criteria import Threshold, criterion, thresholds
from perfsuite.errors import Mistakes, shown, unknown
from perfsuite.metric import metric
from perfsuite.phases import GROUPS, chat_loop, documented, giving_way, memory_suite, with_stable_memory
from perfsuite.plan import (
    Arrivals,
    Criterion,
    DatabaseLoad,
    Load,
    MemoryLoad,
    ModelChoice,
    Phase,
    Plan,
    Profile,
    Setting,
    Tuning,
    Workload,
    overridden,
)
from perfsuite.settings import BY_NAME, HEEDED, OPTIONS, Option
from perfsuite.sources import Reading, Source, read_file, read_plan_file, read_variables
from perfsuite.units import TokenLength
from perfsuite.values import Place

SCALE = {"quick": 5 / 3600, "standard": 60 / 3600, "full": 1.0}
SHORTEST_S = {"quick": 5.0, "standard": 60.0, "full": 0.0}
"""A profile makes no phase shorter than this, unless the phase is itself."""

BUILT_IN = "built-in"
"""The origin of a value that no source sets."""

MEMORY_OUTPUT = Path("benchmark_results")
"""Where the memory suite's files go by its document."""

AS_GIVEN = (
    *("raw", "junitxml", "prometheus_file", "otlp", "history", "live", "strict"),
    *("pid", "collect", "api_key_env", "tokenizer", "modality", "verbose", "trace", "cluster", "rerun_lost"),
)
"""Settings that are fields of the plan under their own names."""

_REMEDIES = {
    "compression_ratio": "compression_ratio",
    "min_savings": "memory_savings",
    "optimization_threshold": "window_optimization",
}
"""Setting → the metric whose target it replaces."""


def configure(
    flags: Mapping[str, object] | None = None,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    keywords: bool = False,
) -> Plan:
    """The plan that the sources make together.

    ``flags`` are by the settings' names, raw or as Python values; ``keywords``: they are arguments of ``run()``.
    ``folder`` is where pyproject.toml and perfsuite.toml are looked for [.], ``environment`` the variables
    [os.environ].  Raises UsageError with every mistake.
    """
    reading = _ambient(folder or Path(), os.environ if environment is None else environment)
    label = (lambda name: f"{name}=") if keywords else (lambda name: BY_NAME[name].flag)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    for name in set(given) - set(BY_NAME):
        reading.mistakes.add(str(unknown("setting", name, BY_NAME)))
        del given[name]
    typed = Source(values=given, place=label, origin=label, typed=True)
    read_plan_file(reading, typed)
    reading.sources.append(typed)
    plan = _Builder(reading).plan()
    reading.mistakes.check()
    return plan


def values_of(
    flags: Mapping[str, object],
    built_in: Mapping[str, object],
    mistakes: Mistakes,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """The settings that a command which makes no plan shares with ``run``, from the same sources but ``--plan``.

    ``built_in``: by their names, what they are for it where no source sets them.  Mistakes are noted.
    """
    reading = _ambient(folder or Path(), os.environ if environment is None else environment)
    label = lambda name: BY_NAME[name].flag  # noqa: E731
    given = {name: value for name, value in flags.items() if value is not None}
    reading.sources.append(Source(values=given, place=label, origin=label, typed=True))
    built = _Builder(reading)
    for text in reading.mistakes.texts:
        mistakes.add(text)
    return {
        name: built.values[name] if built.origins[name] != BUILT_IN else default for name, default in built_in.items()
    }


def _ambient(root: Path, environment: Mapping[str, str]) -> Reading:
    """What is set without being asked for in a command: by the folder's files and the variables."""
    reading = Reading()
    reading.add_installed()
    read_file(reading, root / "pyproject.toml", "tool", "perfsuite")
    read_file(reading, root / "perfsuite.toml")
    read_variables(reading, environment)
    return reading


class _Builder:
    """Resolves the settings, then lays them over the phases."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.mistakes = reading.mistakes
        self.values: dict[str, object] = {option.name: option.unset() for option in OPTIONS}
        self.origins: dict[str, str] = {option.name: BUILT_IN for option in OPTIONS}
        self.typed: set[str] = set()
        self.thresholds: list[tuple[Threshold, bool]] = []
        for source in reading.sources:
            for name, raw in source.values.items():
                with self.mistakes.noted():
                    self._take(source, BY_NAME[name], raw)
            if self._quick(source):
                self.values["profile"], self.origins["profile"] = "quick", source.origin("quick")

    def _take(self, source: Source, option: Option, raw: object) -> None:
        place, origin = source.place(option.name), source.origin(option.name)
        if option.name == "threshold":
            found = thresholds(raw, place, origin, self.reading.known.phases, self.mistakes)
            self.thresholds += [(threshold, source.typed) for threshold in found]
            self.values["threshold"] = (*cast("tuple[object, ...]", self.values["threshold"]), raw)
            self.origins["threshold"] = origin
            return
        value = option.parse(raw, place)
        self.values[option.name] = value
        self.origins[option.name] = origin
        if source.typed:
            self.typed.add(option.name)

    def _quick(self, source: Source) -> bool:
        quick = source.values.get("quick")
        if quick is None or self.values["quick"] is not True or self.origins["quick"] != source.origin("quick"):
            return False
        if source.values.get("profile", "quick") != "quick":
            self.mistakes.add(
                f"{source.place('quick')}: contradicts {source.place('profile')} {source.values['profile']}; give one"
            )
        return True

    def plan(self) -> Plan:
        """The plan; meaningful only when no mistake was noted."""
        from perfsuite.targets import check_target

        value = self.values
        with self.mistakes.noted():
            check_target(cast("str", value["target"]))
        models = self._models()
        phases = self._phases()
        quick = cast("Profile", value["profile"])
        tuning = Tuning(max_window_size=cast("int", value["max_window_size"]))
        load = Load(
            concurrency=cast("int | None", value["concurrency"]),
            rate=cast("float | None", value["rate"]),
            arrivals=cast("Arrivals", value["arrivals"]),
            users=cast("int | None", value["users"]),
            pace=cast("float", value["pace"]),
            think=cast("float", value["think"]),
            find_max=cast("bool", value["find_max"]),
            max_requests=cast("int | None", value["max_requests"]),
            max_tokens=cast("int | None", value["max_tokens"]),
        )
        self._check(load, phases)
        return Plan(
            target=self._target(phases),
            phases=phases,
            profile=quick,
            seed=cast("int", value["seed"]),
            models=models,
            agent_models=dict(cast("tuple[tuple[str, str], ...]", value["agent_model"])),
            load=load,
            workload=Workload(
                conversations=cast("Path | None", value["conversations"]),
                turns=cast("int | None", value["turns"]),
                prompt_tokens=cast("TokenLength | None", value["prompt_tokens"]),
                output_tokens=cast("TokenLength | None", value["output_tokens"]),
                prefix_cache=cast('Literal["cold", "warm"]', value["prefix_cache"]),
            ),
            tuning=tuning,
            memory=MemoryLoad(
                workers=cast("int", value["workers"]),
                samples=cast("int | None", value["samples"]),
                max_scale=cast("int | None", value["max_scale"]),
                dimension=cast("int", value["dimension"]),
            ),
            database=DatabaseLoad(
                url=cast("Place | None", value["url"]),
                workers=cast("int", value["workers"]),
                rows=cast("int | None", value["rows"]),
                queries=cast("Path | None", value["queries"]),
            ),
            phase_timeout_s=cast("float | None", value["timeout"]),
            request_timeout_s=cast("float", value["request_timeout"]),
            output=self._output(phases),
            metrics=self._metrics(),
            collectors=tuple(self.reading.collectors),
            notes=tuple(self.reading.broken.values()),
            **{name: cast("Any", value[name]) for name in AS_GIVEN},
            settings=tuple(
                Setting(name=option.name, value=value[option.name], origin=self.origins[option.name])
                for option in OPTIONS
                if option.scope != "flag" and option.name != "quick"
            ),
        )

    def _target(self, phases: tuple[Phase, ...]) -> str:
        """The memory suite on the embedded reference system is of its memory; a database is what ``url`` names."""
        target = cast("str", self.values["target"])
        scheme = target.partition(":")[0]
        if scheme == "database" or (target != "reference" and all_of(phases, "database")):
            self.mistakes.add(f"--target {target}: a database is named with --url: leave --target out")
        if all_of(phases, "database"):
            from perfsuite.targets.database import named

            return named(cast("Place | None", self.values["url"]))
        if target == "reference" and phases and all(phase.name in chat_loop() for phase in phases):
            return "chatloop"
        if not all_of(phases, "memory") or target.startswith("memory:"):
            return target
        if target != "reference":
            names = " and ".join(phase.name for phase in phases)
            self.mistakes.add(f"--target {target}: {names} measure a memory system: name one with --target memory:NAME")
        return "memory:reference"

    def _output(self, phases: tuple[Phase, ...]) -> Path:
        """The folder; unless somebody names one, each of the documents' suites has its own."""
        named = self.origins["output"] != "built-in"
        return cast("Path", self.values["output"]) if named or not all_of(phases, "memory") else MEMORY_OUTPUT

    def _check(self, load: Load, phases: tuple[Phase, ...]) -> None:
        """Notes what of the load of a phase contradicts itself, and a search that no phase makes."""
        wrong = {overridden(load, phase).contradiction(): phase for phase in phases}
        for text, phase in wrong.items():
            if text is not None:
                self.mistakes.add(
                    text if load.contradiction() == text else f"{phase.origin}: phase {phase.name}: {text}"
                )
        if phases:
            names = ", ".join(phase.name for phase in phases)
            unheeded = frozenset().union(*HEEDED.values()).difference(*map(heeded, phases))
            for name in sorted(unheeded & self.typed):
                self.mistakes.add(f"{BY_NAME[name].flag}: has no meaning for {names}; leave it out")
        if "rerun_lost" in self.typed and self.values["rerun_lost"] and self.values["cluster"] is None:
            self.mistakes.add(f"{self.origins['rerun_lost']}: nothing is lost without --cluster; leave it out")
        searching = [phase for phase in phases if overridden(load, phase).find_max]
        if load.find_max and phases and not any(showing([phase], "max_rate") for phase in searching):
            names = ", ".join(phase.name for phase in phases)
            self.mistakes.add(f"{self.origins['find_max']}: none of the phases {names} drives a load; run load")

    def _models(self) -> tuple[ModelChoice, ...]:
        models: dict[str, ModelChoice] = {}
        for item in cast("tuple[str, ...]", self.values["model"]):
            name, at, url = item.partition("@http")
            url = f"http{url}" if at else ""
            if not name:
                self.mistakes.add(f"{self.origins['model']}: {shown(item)} has no model's name; write NAME or NAME@URL")
            elif name in models:
                self.mistakes.add(f"{self.origins['model']}: the model {name!r} is named twice; name it once")
            models[name] = ModelChoice(name=name, url=url or None)
        return tuple(models.values())

    def _metrics(self) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for name in cast("tuple[str, ...]", self.values["metrics"]):
            with self.mistakes.noted():
                found[metric(name, self.origins["metrics"]).name] = None
        return tuple(found)

    def _phases(self) -> tuple[Phase, ...]:
        phases = [with_stable_memory(phase) for phase in self._chosen()]
        phases = [self._with_remedies(replace(phase, duration_s=self._length(phase))) for phase in phases]
        asked = {name for name, origin in self.origins.items() if origin != "built-in"}
        phases = [self._searching(giving_way(phase, asked)) for phase in phases]
        phases = self._with_thresholds(phases)
        selected = self._metrics()
        if selected:
            phases = self._only(phases, selected)
        return tuple(phases)

    def _searching(self, phase: Phase) -> Phase:
        """The phase with the metric of a search, where it makes one."""
        asked = phase.settings.get("find_max", self.values["find_max"])
        if not asked or not showing([phase], "max_rate"):
            return phase
        return replace(phase, metrics=tuple(dict.fromkeys([*phase.metrics, "max_rate"])))

    def _chosen(self) -> list[Phase]:
        known = self.reading.known.phases
        names = cast("tuple[str, ...]", self.values["phase"])
        if not names:
            memory = cast("str", self.values["target"]).startswith("memory:")
            names = self.reading.plan_phases or tuple(memory_suite() if memory else documented())
        from perfsuite.suites.probes import probe

        for phase in known.values():
            for name in phase.probes:
                with self.mistakes.noted():
                    probe(name, f"{phase.origin}: phase {phase.name}")
        chosen: dict[str, Phase] = {}
        for name in names:
            if name == "all":
                chosen |= known
            elif name == "suite":
                chosen |= {one: known[one] for one in memory_suite()}
            elif name == "chat-loop":
                chosen |= {one: known[one] for one in chat_loop()}
            elif name in known:
                chosen[name] = known[name]
            elif name == "compare":
                self.mistakes.add("'compare' runs by itself: perfsuite compare, or perfsuite.ComparisonBenchmark")
            elif name in self.reading.broken:
                self.mistakes.add(self.reading.broken[name])
            else:
                where = "" if self.origins["phase"] == "--phase" else self.origins["phase"]
                self.mistakes.add(str(unknown("phase", name, [*known, *GROUPS], where)))
        return list(chosen.values())

    def _length(self, phase: Phase) -> float:
        duration = cast("float | None", self.values["duration"])
        if duration is not None:
            return duration
        profile = cast("str", self.values["profile"])
        return max(phase.documented_s * SCALE[profile], min(phase.documented_s, SHORTEST_S[profile]))

    def _with_remedies(self, phase: Phase) -> Phase:
        """The document's flags for trouble replace the target of one criterion each."""
        criteria = list(phase.criteria)
        for name, measured in _REMEDIES.items():
            target = cast("float | None", self.values[name])
            if target is not None:
                criteria = [
                    replace(old, target=target, origin=self.origins[name]) if old.metric == measured else old
                    for old in criteria
                ]
        return replace(phase, criteria=tuple(criteria))

    def _with_thresholds(self, phases: list[Phase]) -> list[Phase]:
        """Each threshold on the phases it is for.  The first on a metric replaces the phase's criterion; further ones
        with another statistic stand beside it."""
        stated: dict[str, list[Criterion]] = {}
        for threshold, typed in self.thresholds:
            phases_for = self._showing(phases, threshold)
            blind = [p for p in phases_for if p.probes and not showing([p], threshold.metric)] if phases_for else phases
            if typed and blind:
                self.mistakes.add(inapplicable(threshold, blind, self.reading.known.phases))
            for phase in phases_for:
                with self.mistakes.noted():
                    self._state(stated.setdefault(phase.name, []), phase, threshold)
        return [_laid_over(phase, stated.get(phase.name, [])) for phase in phases]

    def _state(self, stated: list[Criterion], phase: Phase, threshold: Threshold) -> None:
        base = next((old for old in phase.criteria if old.metric == threshold.metric), None)
        made = criterion(threshold.metric, threshold.fields, threshold.where, threshold.origin, base)
        for index, old in enumerate(stated):
            if (old.metric, old.stat) == (made.metric, made.stat):
                stated[index] = made
                return
        stated.append(made)

    def _showing(self, phases: list[Phase], threshold: Threshold) -> list[Phase]:
        if threshold.phase is not None:
            return [phase for phase in phases if phase.name == threshold.phase]
        return showing(phases, threshold.metric)

    def _only(self, phases: list[Phase], selected: tuple[str, ...]) -> list[Phase]:
        """The phases with the metrics of ``--metrics`` alone, each required; those that have none of them fall away."""
        kept: dict[str, list[str]] = {}
        for name in selected:
            found = showing(phases, name)
            if not found and phases:
                elsewhere = [phase.name for phase in showing(list(self.reading.known.phases.values()), name)]
                hint = f"run {' or '.join(elsewhere)}" if elsewhere else "no phase does"
                self.mistakes.add(
                    f"{self.origins['metrics']}: none of the phases {', '.join(p.name for p in phases)} "
                    f"measures {name}; {hint}"
                )
            for phase in found:
                kept.setdefault(phase.name, []).append(name)
        return [
            replace(
                phase,
                metrics=tuple(kept[phase.name]),
                criteria=tuple(replace(c, required=True) for c in phase.criteria if c.metric in kept[phase.name]),
            )
            for phase in phases
            if phase.name in kept
        ]


def _laid_over(phase: Phase, stated: list[Criterion]) -> Phase:
    if not stated:
        return phase
    by_metric: dict[str, list[Criterion]] = {old.metric: [old] for old in phase.criteria}
    for name in {made.metric for made in stated}:
        by_metric[name] = [made for made in stated if made.metric == name]
    metrics = tuple(dict.fromkeys([*phase.metrics, *(made.metric for made in stated)]))
    return replace(phase, metrics=metrics, criteria=tuple(c for same in by_metric.values() for c in same))
