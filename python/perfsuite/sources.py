"""The sources of a configuration: TOML files, variables, the command line.  What they set is not yet read here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from perfsuite.errors import Mistakes, UsageError, shown, unknown
from perfsuite.phases import KnownPhases, built_in
from perfsuite.plugins import BENCHMARKS, BrokenPlugin, Plugin, plugins
from perfsuite.settings import BY_NAME, OPTIONS

LARGEST_FILE = 4 << 20
PYTHON_TARGETS = ("python:", "chatloop:")
"""Targets that are modules of the user's."""


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
class Reading:
    """The sources read so far, weakest first."""

    mistakes: Mistakes = field(default_factory=Mistakes)
    known: KnownPhases = field(default_factory=lambda: KnownPhases(dict(built_in())))
    sources: list[Source] = field(default_factory=list)
    plan_phases: tuple[str, ...] = ()
    broken: dict[str, str] = field(default_factory=dict)
    """Why what is installed cannot be used, by the plug-in's name."""
    collectors: list[Plugin] = field(default_factory=list)
    """Those that the files name."""
    named: list[tuple[str, Plugin]] = field(default_factory=list)
    """All that the files name and that could be added, each behind its kind."""
    _taken: dict[str, str] = field(default_factory=dict)

    def add_installed(self) -> None:
        """The benchmarks of other packages; one that is broken takes nothing else along."""
        for one in plugins(BENCHMARKS):
            try:
                self.add_benchmark(one)
            except BrokenPlugin as error:
                self.broken[one.name] = str(error)

    def add_benchmark(self, one: Plugin) -> None:
        """One more.  Raises BrokenPlugin."""
        from perfsuite.suites.benchmarks import adopt

        adopt(one, self.known, self._taken)

    def add_named(self, tables: object, file: Path, where: str) -> None:
        """What a file names under [plugins]; what cannot be loaded is a mistake of the file."""
        adding = {"benchmarks": self.add_benchmark, "collectors": self._add_collector}
        if not isinstance(tables, Mapping):
            self.mistakes.add(
                f"{where}: plugins: {shown(tables)} is no table; write [plugins.benchmarks] and "
                'NAME = "module:object" below it'
            )
            return
        for kind, table in tables.items():
            with self.mistakes.noted():
                if kind not in adding:
                    raise unknown("kind of plug-in", kind, adding, f"{where}: plugins")
                for name, value in (table if isinstance(table, Mapping) else {"": table}).items():
                    at = f"{where}: plugins.{kind}{'.' if name else ''}{name}"
                    with self.mistakes.noted():
                        if not name or not isinstance(value, str) or not all(value.rpartition(":")):
                            raise UsageError(
                                f'{at}: {shown(value)} names no object; write NAME = "module:object", or '
                                '"file.py:object"'
                            )
                        one = Plugin(name, str(file), value, str(file.resolve().parent))
                        try:
                            adding[kind](one)
                            self.named.append((kind.removesuffix("s"), one))
                        except BrokenPlugin as error:
                            raise UsageError(f"{at}: {error}") from error

    def _add_collector(self, one: Plugin) -> None:
        one.load()
        self.collectors.append(one)


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


def read_file(reading: Reading, path: Path, *keys: str, required: bool = False, code: bool = True) -> Source | None:
    """``required``: it has to be there, and only what a plan may set is taken.  ``code``: what it names may be run."""
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
    if not code and (python := _python_in(table)):
        reading.mistakes.add(
            f"{where} would run Python: {python}; read what that does, then say --allow-python, or take it out"
        )
        return None
    if "plugins" in table:  # before the phases, which may be of what they bring
        reading.add_named(table["plugins"], path, where)
    for key, value in table.items():
        name = key.replace("-", "_")
        if name == "plugins":
            continue
        if name == "phases":
            names = reading.known.read(value, where, where, reading.mistakes)
        elif name == "template" and isinstance(value, Mapping):
            pass  # the description of a service; read by the target template:FILE
        elif name in BY_NAME and BY_NAME[name].scope != "flag" and not (required and BY_NAME[name].scope == "ambient"):
            values[name] = value
        else:
            usable = [option.name for option in OPTIONS if option.scope != "flag"]
            reading.mistakes.add(str(unknown("key", key, [*usable, "phases", "plugins"], where)))
    source = Source(values=values, place=lambda name: f"{where}: {name}", origin=lambda name: where, phases=names)
    if not required:
        reading.sources.append(source)
    return source


def read_variables(reading: Reading, environment: Mapping[str, str]) -> None:
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


def read_plan_file(reading: Reading, typed: Source) -> None:
    """The file that ``--plan``, PERFSUITE_PLAN or a ``plan`` key names, just below the flags."""
    for source in (typed, *reversed(reading.sources)):
        if "plan" in source.values:
            with reading.mistakes.noted():
                path = cast("Path", BY_NAME["plan"].parse(source.values["plan"], source.place("plan")))
                plan = read_file(reading, path, required=True, code=_allowed(reading, typed))
                if plan is not None:
                    reading.sources.append(plan)
                    reading.plan_phases = plan.phases
            return


def _allowed(reading: Reading, typed: Source) -> bool:
    """Whether the user has said that a plan file may run Python: such files come from anywhere, unlike the project's
    own perfsuite.toml and pyproject.toml."""
    option = BY_NAME["allow_python"]
    for source in (typed, *reversed(reading.sources)):
        if option.name in source.values:
            return bool(option.parse(source.values[option.name], source.place(option.name)))
    return False


def _python_in(table: Mapping[str, object]) -> str:
    """What a file's table names that is code, in words."""
    found = ["[plugins]"] if table.get("plugins") else []
    target = table.get("target")
    if isinstance(target, str) and target.strip().startswith(PYTHON_TARGETS):
        found.append(f"target = {shown(target)}")
    return " and ".join(found)
