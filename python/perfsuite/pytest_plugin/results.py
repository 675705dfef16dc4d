"""The result of a whole pytest run: written as every other, and held against that of an earlier one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from perfsuite.analysis.comparable import figures
from perfsuite.analysis.judging import Judgement
from perfsuite.analysis.summary import summarise
from perfsuite.analysis.verdict import run_verdict
from perfsuite.environment import environment
from perfsuite.errors import UsageError
from perfsuite.exports.files import write_atomically
from perfsuite.history.baselines import Taken, hold, make
from perfsuite.metric import metric
from perfsuite.pytest_plugin import slo
from perfsuite.pytest_plugin.holding import of_seconds
from perfsuite.pytest_plugin.recording import phase_name
from perfsuite.result import Environment, PhaseResult, Result, Run, dump, parse

TARGET = "pytest"
STAMPS = "perf_counter, in the process of the test"
LARGEST_FILE = 512 << 20
ANOTHER_HOST = "--perfsuite-allow-different-host"


class Compared(NamedTuple):
    """Judgements by test, and what limits the comparison as a whole."""

    judgements: list[Judgement]
    notes: list[str]


def result_of(phases: Sequence[PhaseResult], started: datetime, *, interrupted: bool, exit_code: int) -> Result:
    """The run, each test that measured something as a phase."""
    return Result(
        run=Run(
            id=uuid.uuid4().hex,
            started=started.isoformat(timespec="milliseconds"),
            ended=datetime.now().astimezone().isoformat(timespec="milliseconds"),
            target=TARGET,
            profile=TARGET,
            exit_code=exit_code,
            verdict=run_verdict(phases, interrupted=interrupted),
        ),
        environment=environment(STAMPS),
        phases=list(phases),
    )


def write(result: Result, path: Path) -> None:
    """Writes the file whole, in place of one that is there.  Raises PerfsuiteError when that cannot be done."""
    write_atomically(path, dump(result), replace=True)


def read(path: Path) -> Result:
    """A result of ``--perfsuite-json``, or of pytest-benchmark's ``--benchmark-json``.

    Raises UsageError that says what is wrong with the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise UsageError(f"there is no baseline {path}: make one with --perfsuite-json {path}") from error
    except OSError as error:
        raise UsageError(f"cannot read the baseline {path}: {error.strerror or error}") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"the baseline {path} has over {LARGEST_FILE >> 20} MiB: it is none")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, Mapping) and "benchmarks" in document and "machine_info" in document:
        return _of_benchmarks(document, path)
    return parse(data, str(path))


def compare(before: Result, after: Result, where: str, *, different_host: bool) -> Compared:
    """Each test that both runs measured, as ``detect`` judges a run against one run: by its stretches."""
    judgements, notes = [], dict[str, None]()
    known = {phase.name for phase in before.phases if figures(phase)}
    measured = [phase.name for phase in after.phases if figures(phase)]
    for name in measured:
        if name not in known:
            continue
        old, new = Taken(Path(where), before, name), Taken(Path("this run"), after, name)
        try:
            judgements.append(hold(make(name, [old]), [new], where, different_host=different_host))
        except UsageError as error:
            notes[f"not compared: {error}".replace("--allow-different-host", ANOTHER_HOST)] = None
    fresh = [name for name in measured if name not in known]
    if fresh:
        more = f" and {len(fresh) - 3} more" if len(fresh) > 3 else ""
        notes[f"not in the baseline {where}: {', '.join(fresh[:3])}{more}"] = None
    if not measured:
        notes["no test measured anything: there is nothing to compare"] = None
    return Compared(judgements, list(notes))


def _of_benchmarks(document: Mapping[str, Any], path: Path) -> Result:
    """pytest-benchmark's file, as far as it tells; the machine is this one where its name is."""
    try:
        phases = [
            PhaseResult(
                name=phase_name(one["fullname"]),
                verdict="passed",
                title=one["name"],
                metrics=[summarise(metric(slo.METRIC), of_seconds(one["stats"]["data"]))],
            )
            for one in document["benchmarks"]
            if one["stats"].get("data")
        ]
        if not phases:
            raise UsageError(
                f"the baseline {path} has no single times: pytest-benchmark leaves them out of --benchmark-save "
                "without --benchmark-save-data; --benchmark-json has them"
            )
        started = str(document["datetime"])
        return Result(
            run=Run(id=f"{path}-{started}", started=started, target=TARGET, profile=TARGET, verdict="passed"),
            environment=_machine(document["machine_info"]),
            phases=phases,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"the baseline {path} is damaged ({type(error).__name__}: {error}): make it again with --benchmark-json"
        ) from error


def _machine(info: Mapping[str, Any]) -> Environment:
    here = environment(STAMPS)
    python = f"{info.get('python_implementation')} {info.get('python_version')}"
    if info.get("node") == here.host:
        return msgspec.structs.replace(here, python=python, commit=None)
    cpu = info.get("cpu") or {}
    return msgspec.structs.replace(
        here,
        host=str(info.get("node")),
        os=f"{info.get('system')} {info.get('release')}",
        cpu=str(cpu.get("brand_raw") or info.get("processor")),
        cores=int(cpu.get("count") or 0),
        python=python,
        commit=None,
    )
