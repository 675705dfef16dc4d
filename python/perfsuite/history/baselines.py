"""Baselines: the figures of the runs that later ones are held against, one file for each benchmark.

``benchmark_results/baselines/latency_tier_latency.json`` and so on: small, versioned, and refused where it says nothing
of a result: another host, unit or configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from perfsuite.analysis.comparable import (
    Figure,
    Host,
    Measured,
    conditions,
    differing,
    figures,
    host_of,
)
from perfsuite.analysis.judging import Judgement, RunFigures, judge
from perfsuite.errors import UsageError
from perfsuite.exports.names import DOCUMENTED
from perfsuite.result import Result, load

SCHEMA_VERSION = 1
LARGEST_FILE = 64 << 20
FOLDER = "baselines"


class BaselineRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run: a value for each figure, and those of the short runs inside where it was measured as several, or of the
    stretches of its one process."""

    id: str
    started: str
    perfsuite: str
    python: str
    commit: str | None = None
    values: dict[str, float] = msgspec.field(default_factory=dict)
    inside: dict[str, list[float]] = msgspec.field(default_factory=dict)
    stretches: dict[str, list[float]] = msgspec.field(default_factory=dict)


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content."""

    benchmark: str
    made: str
    host: Host
    configuration: dict[str, Any]
    figures: list[Figure]
    runs: list[BaselineRun]
    kind: Literal["baseline"] = "baseline"
    schema_version: Literal[1] = 1

    def comparable_runs(self) -> list[RunFigures]:
        """The runs as ``analysis.judging`` takes them, oldest first."""
        known = {one.key: one for one in self.figures}
        return [
            RunFigures(
                run.id,
                run.started,
                {
                    key: Measured(known[key], value, tuple(run.inside.get(key, ())), tuple(run.stretches.get(key, ())))
                    for key, value in run.values.items()
                    if key in known
                },
            )
            for run in sorted(self.runs, key=lambda run: moment(run.started))
        ]


class Taken(msgspec.Struct, frozen=True):
    """A phase of a result: one run of a benchmark, and the file that it was read from."""

    path: Path
    result: Result
    phase: str

    @property
    def run(self) -> RunFigures:
        """Its figures."""
        return RunFigures(self.result.run.id, self.result.run.started, figures(self.result.phase(self.phase)))


def moment(started: str) -> float:
    """When a run started, in seconds; times of different zones compare."""
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return 0.0


def place(folder: Path, benchmark: str) -> Path:
    """The baseline's file in a folder of results.

    Raises UsageError for a name that would lead out of it: a result may come from anywhere."""
    if "/" in benchmark or "\0" in benchmark:
        raise UsageError(f"the phase {benchmark!r} cannot have a baseline: its name is no name for a file")
    return folder / FOLDER / f"{DOCUMENTED.get(benchmark, benchmark)}.json"


def take(paths: Sequence[Path]) -> dict[str, list[Taken]]:
    """The runs in result files by benchmark, oldest first; the same run in two files counts once.

    Raises UsageError for the first file that cannot be read, is of a run that was interrupted or failed, or has no
    figure."""
    found: dict[str, list[Taken]] = {}
    for path in paths:
        result = load(path)
        if result.verdict == "interrupted":
            raise UsageError(f"{path} is of a run that was interrupted: its figures are of less than was asked for")
        if result.run.error is not None:
            raise UsageError(
                f"{path} is of a run that failed ({result.run.error}): its figures are of less than was asked for"
            )
        taken = [Taken(path, result, phase.name) for phase in result.phases if figures(phase)]
        if not taken:
            raise UsageError(f"{path} has no figure that was measured: there is nothing to compare")
        for one in taken:
            runs = found.setdefault(one.phase, [])
            if all(one.result.run.id != other.result.run.id for other in runs):
                runs.append(one)
    return {
        benchmark: sorted(runs, key=lambda one: moment(one.result.run.started)) for benchmark, runs in found.items()
    }


def make(benchmark: str, runs: Sequence[Taken]) -> Baseline:
    """The baseline of a benchmark from its runs.  Raises UsageError when they are not of one kind."""
    first = runs[0]
    host, asked = host_of(first.result.environment), conditions(first.result, benchmark)
    known: dict[str, Figure] = {}
    kept = []
    for one in runs:
        check_same(host, asked, one, f"{first.path}", different_host=False)
        measured = one.run.figures
        check_units(known, measured, str(one.path))
        known |= {key: value.figure for key, value in measured.items()}
        here = one.result.environment
        kept.append(
            BaselineRun(
                id=one.result.run.id,
                started=one.result.run.started,
                perfsuite=here.perfsuite,
                python=here.python,
                commit=here.commit,
                values={key: value.value for key, value in measured.items()},
                inside={key: list(value.inside) for key, value in measured.items() if value.inside},
                stretches={key: list(value.stretches) for key, value in measured.items() if value.stretches},
            )
        )
    made = datetime.now().astimezone().isoformat(timespec="seconds")
    configuration = msgspec.to_builtins(asked, enc_hook=str)
    return Baseline(
        benchmark=benchmark, made=made, host=host, configuration=configuration, figures=list(known.values()), runs=kept
    )


def hold(baseline: Baseline, runs: Sequence[Taken], where: str, *, different_host: bool = False) -> Judgement:
    """Runs held against a baseline; ``where`` names it.  Raises UsageError where they cannot be compared."""
    if any(one.phase != baseline.benchmark for one in runs):
        raise UsageError(
            f"{where} is a baseline of {baseline.benchmark}, not of {runs[0].phase}: make it again with "
            "init-baselines --force"
        )
    known = {one.key: one for one in baseline.figures}
    notes: dict[str, None] = {}
    for one in runs:
        notes |= dict.fromkeys(
            check_same(baseline.host, baseline.configuration, one, where, different_host=different_host)
        )
        check_units(known, one.run.figures, str(one.path))
    count = f"{len(baseline.runs)} run{'s' if len(baseline.runs) != 1 else ''}"
    against = f"{where} ({count})"
    judged = judge(baseline.benchmark, baseline.comparable_runs(), [one.run for one in runs], against=against)
    before, now = baseline.runs[-1], runs[-1].result.environment
    for name, old, new in (("Python", before.python, now.python), ("perfsuite", before.perfsuite, now.perfsuite)):
        if old != new:
            notes[f"the baseline was measured with {name} {old}, this with {new}"] = None
    return msgspec.structs.replace(judged, notes=[*notes, *judged.notes])


def check_same(
    host: Host, configuration: Mapping[str, Any], one: Taken, other: str, *, different_host: bool
) -> list[str]:
    """Raises UsageError when a run is of another host or configuration than ``other``; with ``different_host`` the host
    is a note that comes back instead."""
    notes = []
    differences = host.differences(host_of(one.result.environment))
    if differences:
        text = "; ".join(differences)
        if not different_host:
            raise UsageError(
                f"{one.path} is of another host than {other}: {text}; measure both on one (perfsuite ab does), or "
                "compare nevertheless with --allow-different-host"
            )
        notes.append(f"of different hosts: {text}")
    mine = msgspec.to_builtins(conditions(one.result, one.phase), enc_hook=str)
    changed = differing(configuration, mine)
    if changed:
        more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise UsageError(
            f"{one.path} was measured under another configuration than {other}: {'; '.join(changed[:4])}{more}; "
            "run with the same, or make a new baseline"
        )
    return notes


def check_units(known: Mapping[str, Figure], measured: Mapping[str, Measured], where: str) -> None:
    """Raises UsageError where a figure has another unit than it had."""
    for key, one in measured.items():
        before = known.get(key)
        if before is not None and before.unit != one.figure.unit:
            raise UsageError(
                f"{where}: {key} is in {one.figure.unit or 'no unit'}, in the baseline it is in "
                f"{before.unit or 'no unit'}: figures of different units are not compared; make a new baseline"
            )


def dump(baseline: Baseline) -> bytes:
    """The file's bytes."""
    return msgspec.json.format(msgspec.json.encode(baseline, enc_hook=str), indent=1) + b"\n"


def read(path: Path) -> Baseline:
    """Reads a baseline.  Raises UsageError that says whether it is missing, damaged, or of another schema version."""
    remake = "make it again with init-baselines --force"
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise UsageError(f"there is no baseline {path}: make one with init-baselines") from error
    except OSError as error:
        raise UsageError(f"cannot read the baseline {path}: {error.strerror or error}") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"the baseline {path} has over {LARGEST_FILE >> 20} MiB: it is none; {remake}")
    try:
        head = msgspec.json.decode(data, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the baseline {path} is damaged: {error}; {remake}") from error
    if head.kind != "baseline":
        raise UsageError(f"{path} is JSON but no baseline; {remake}")
    if head.schema_version != SCHEMA_VERSION or isinstance(head.schema_version, bool):
        raise UsageError(
            f"the baseline {path} has schema version {head.schema_version!r}; this perfsuite reads {SCHEMA_VERSION}: "
            f"use the perfsuite that wrote it, or {remake}"
        )
    try:
        baseline = msgspec.json.decode(data, type=Baseline)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"the baseline {path} is damaged: {error}; {remake}") from error
    if not baseline.runs or not baseline.figures:
        raise UsageError(f"the baseline {path} has no run; {remake}")
    return baseline


class _Head(msgspec.Struct):
    kind: Any = None
    schema_version: Any = None
