"""Built-in < ``[tool.perfsuite]`` < ``perfsuite.toml`` < ``PERFSUITE_…`` < ``--plan FILE`` < flags → a frozen ``Plan``.

The stronger source wins, setting by setting; thresholds add up, the stronger ones last.  Each value keeps its origin.
Everything is validated, what a stronger source overrides too, and all mistakes are named at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast

from perfsuite.errors import Mistakes, UsageError, shown, unknown
from perfsuite.metric import metric
from perfsuite.phases import Catalogue, Threshold, criterion, documented, thresholds, with_stable_memory
from perfsuite.plan import Criterion, Load, ModelChoice, Phase, Plan, Profile, Setting, Tuning, Workload
from perfsuite.settings import BY_NAME, LATER_BENCHMARKS, NOT_YET, OPTIONS, Option

LARGEST_FILE = 4 << 20
SCALE = {"quick": 5 / 3600, "standard": 60 / 3600, "full": 1.0}
SHORTEST_S = {"quick": 5.0, "standard": 60.0, "full": 0.0}
"""A profile makes no phase shorter than this, unless the phase is itself."""

_REMEDIES = {
    "compression_ratio": "compression_ratio",
    "min_savings": "memory_savings",
    "optimization_threshold": "window_optimization",
}
"""Setting → the metric whose target it replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one file, the environment or the command line sets.  ``place(name)`` says where, for messages and origins.

    ``typed``: by the user for this run, so that what cannot apply is a mistake rather than of no effect.
    """

    values: Mapping[str, object]
    place: Callable[[str], str]
    origin: Callable[[str], str]
    phases: tuple[str, ...] = ()
    typed: bool = False


@dataclass(slots=True)
class _Reading:
    """The sources read so far, weakest first."""

    mistakes: Mistakes = field(default_factory=Mistakes)
    catalogue: Catalogue = field(default_factory=lambda: Catalogue(dict(documented())))
    sources: list[Source] = field(default_factory=list)
    plan_phases: tuple[str, ...] = ()


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
    reading = _Reading()
    root = folder or Path()
    _read_file(reading, root / "pyproject.toml", "tool", "perfsuite")
    _read_file(reading, root / "perfsuite.toml")
    _read_variables(reading, os.environ if environment is None else environment)
    label = (lambda name: f"{name}=") if keywords else (lambda name: BY_NAME[name].flag)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    for name in set(given) - set(BY_NAME):
        reading.mistakes.add(str(unknown("setting", name, BY_NAME)))
        del given[name]
    typed = Source(values=given, place=label, origin=label, typed=True)
    _read_plan_file(reading, typed)
    reading.sources.append(typed)
    plan = _Builder(reading).plan()
    reading.mistakes.check()
    return plan


def read_toml(path: Path) -> dict[str, object]:
    """A TOML file's tables.  Raises UsageError that says what is wrong with it, and where."""
    import tomllib

    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"cannot read {path}: {text}; name a readable TOML file") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"{path} has more than {LARGEST_FILE >> 20} MiB: it is no configuration; name a TOML file")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply to be a configuration") from error
    except ValueError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def _read_file(reading: _Reading, path: Path, *keys: str, required: bool = False) -> Source | None:
    if not required and not os.path.lexists(path):
        return None
    table: object = None
    with reading.mistakes.noted():
        table = read_toml(path)
    shown_path = str(path)
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    if table is None:
        return None
    where = f"{shown_path} [{'.'.join(keys)}]" if keys else shown_path
    if not isinstance(table, Mapping):
        reading.mistakes.add(f"{where}: {shown(table)} is no table; write [{'.'.join(keys)}] above the settings")
        return None
    values: dict[str, object] = {}
    names: tuple[str, ...] = ()
    for key, value in table.items():
        name = key.replace("-", "_")
        if name == "phases":
            names = reading.catalogue.read(value, where, where, reading.mistakes)
        elif name in BY_NAME and BY_NAME[name].scope != "flag" and not (required and BY_NAME[name].scope == "ambient"):
            values[name] = value
        else:
            usable = [option.name for option in OPTIONS if option.scope != "flag"]
            reading.mistakes.add(str(unknown("key", key, [*usable, "phases"], where)))
    source = Source(values=values, place=lambda name: f"{where}: {name}", origin=lambda name: where, phases=names)
    if not required:
        reading.sources.append(source)
    return source


def _read_variables(reading: _Reading, environment: Mapping[str, str]) -> None:
    values: dict[str, object] = {}
    variables = {option.variable: option for option in OPTIONS if option.scope != "flag"}
    for variable, value in environment.items():
        if variable in variables:
            if value:
                values[variables[variable].name] = value
        elif variable.startswith("PERFSUITE_") and get_close_matches(variable, variables, n=1, cutoff=0.9):
            # Others may be somebody else's; one that is nearly a setting's is a slip that would go unseen.
            reading.mistakes.add(str(unknown("variable", variable, variables)))
    place = lambda name: BY_NAME[name].variable  # noqa: E731
    reading.sources.append(Source(values=values, place=place, origin=place))


def _read_plan_file(reading: _Reading, typed: Source) -> None:
    """The file that ``--plan``, PERFSUITE_PLAN or a ``plan`` key names, just below the flags."""
    for source in (typed, *reversed(reading.sources)):
        if "plan" in source.values:
            with reading.mistakes.noted():
                path = cast("Path", BY_NAME["plan"].parse(source.values["plan"], source.place("plan")))
                plan = _read_file(reading, path, required=True)
                if plan is not None:
                    reading.sources.append(plan)
                    reading.plan_phases = plan.phases
            return


class _Builder:
    """Resolves the settings, then lays them over the phases."""

    def __init__(self, reading: _Reading) -> None:
        self.reading = reading
        self.mistakes = reading.mistakes
        self.values: dict[str, object] = {option.name: option.default for option in OPTIONS}
        self.origins: dict[str, str] = {option.name: "built-in" for option in OPTIONS}
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
            found = thresholds(raw, place, origin, self.reading.catalogue.phases, self.mistakes)
            self.thresholds += [(threshold, source.typed) for threshold in found]
            self.values["threshold"] = (*cast("tuple[object, ...]", self.values["threshold"]), raw)
            self.origins["threshold"] = origin
            return
        value = option.parse(raw, place)
        if option.name in NOT_YET and value:
            raise UsageError(f"{place}: {option.flag} is not in this version; {NOT_YET[option.name]}")
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
        value = self.values
        models = self._models()
        phases = self._phases()
        quick = cast("Profile", value["profile"])
        tuning = Tuning(
            compression_ratio=cast("float | None", value["compression_ratio"]),
            min_savings=cast("float | None", value["min_savings"]),
            max_window_size=cast("int", value["max_window_size"]),
            optimization_threshold=cast("float | None", value["optimization_threshold"]),
        )
        return Plan(
            target=cast("str", value["target"]),
            phases=phases,
            profile=quick,
            seed=cast("int", value["seed"]),
            models=models,
            load=Load(
                concurrency=cast("int | None", value["concurrency"]),
                rate=cast("float | None", value["rate"]),
                find_max=cast("bool", value["find_max"]),
                max_requests=cast("int | None", value["max_requests"]),
                max_tokens=cast("int | None", value["max_tokens"]),
            ),
            workload=Workload(
                conversations=cast("Path | None", value["conversations"]),
                prompt_tokens=cast("int | None", value["prompt_tokens"]),
                output_tokens=cast("int | None", value["output_tokens"]),
                prefix_cache=cast('Literal["cold", "warm"]', value["prefix_cache"]),
            ),
            tuning=tuning,
            phase_timeout_s=cast("float | None", value["timeout"]),
            request_timeout_s=cast("float", value["request_timeout"]),
            output=cast("Path", value["output"]),
            raw=cast("Path | None", value["raw"]),
            strict=cast("bool", value["strict"]),
            metrics=self._metrics(),
            pid=cast("int | None", value["pid"]),
            api_key_env=cast("str | None", value["api_key_env"]),
            verbose=cast("bool", value["verbose"]),
            settings=tuple(
                Setting(name=option.name, value=value[option.name], origin=self.origins[option.name])
                for option in OPTIONS
                if option.scope != "flag" and option.name != "quick" and option.name not in NOT_YET
            ),
        )

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
        phases = self._with_thresholds(phases)
        selected = self._metrics()
        if selected:
            phases = self._only(phases, selected)
        return tuple(phases)

    def _chosen(self) -> list[Phase]:
        known = self.reading.catalogue.phases
        names = cast("tuple[str, ...]", self.values["phase"])
        if not names:
            names = self.reading.plan_phases or tuple(documented())
        from perfsuite.suites.probes import probe

        for phase in known.values():
            for name in phase.probes:
                with self.mistakes.noted():
                    probe(name, f"{phase.origin}: phase {phase.name}")
        chosen: dict[str, Phase] = {}
        for name in names:
            if name == "all":
                chosen |= known
            elif name in known:
                chosen[name] = known[name]
            elif name in LATER_BENCHMARKS:
                self.mistakes.add(f"{name!r} is not in this version; it has: {', '.join([*known, 'all'])}")
            else:
                where = "" if self.origins["phase"] == "--phase" else self.origins["phase"]
                self.mistakes.add(str(unknown("phase", name, [*known, "all"], where)))
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
            if not phases_for and typed and phases:
                self.mistakes.add(_inapplicable(threshold, phases, self.reading.catalogue.phases))
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
                elsewhere = [phase.name for phase in showing(list(self.reading.catalogue.phases.values()), name)]
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


def showing(phases: Sequence[Phase], name: str) -> list[Phase]:
    """The phases that measure a metric: those that list it, else those one of whose probes shows it beside."""
    from perfsuite.suites.probes import SAMPLED, covering, probe

    listed = [phase for phase in phases if name in phase.metrics]
    if listed:
        return listed
    if name in SAMPLED:
        return list(phases)
    return [
        phase
        for phase in phases
        if any(name in p.provides for p in (map(probe, phase.probes) if phase.probes else covering(phase.metrics)))
    ]


def _laid_over(phase: Phase, stated: list[Criterion]) -> Phase:
    if not stated:
        return phase
    by_metric: dict[str, list[Criterion]] = {old.metric: [old] for old in phase.criteria}
    for name in {made.metric for made in stated}:
        by_metric[name] = [made for made in stated if made.metric == name]
    metrics = tuple(dict.fromkeys([*phase.metrics, *(made.metric for made in stated)]))
    return replace(phase, metrics=metrics, criteria=tuple(c for same in by_metric.values() for c in same))


def _inapplicable(threshold: Threshold, phases: list[Phase], known: Mapping[str, Phase]) -> str:
    running = ", ".join(phase.name for phase in phases)
    if threshold.phase is not None:
        return f"{threshold.where}: the phase {threshold.phase} is not in this run ({running}); name it, or drop this"
    elsewhere = [phase.name for phase in showing(list(known.values()), threshold.metric)]
    hint = f"run {' or '.join(elsewhere)}" if elsewhere else "no phase does"
    return f"{threshold.where}: none of the phases {running} measures {threshold.metric}; {hint}"
