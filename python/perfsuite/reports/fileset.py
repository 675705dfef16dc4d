"""The three files of a run, ``results-TS.json``, ``report-TS.md`` and ``metrics-TS.html``, and the partial one while it
lasts.

A run of the memory suite alone has its document's names in place of ``results-TS.json``:
``latency_tier_latency_TS.json`` and so on, and where it has several of its benchmarks ``suite_full_suite_TS.json``
beside the file of each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from perfsuite.exports.files import numbered, write_atomically, write_first_free
from perfsuite.exports.places import make_folder
from perfsuite.reports.formats import MEMORY, PARTIAL, REPORTS, SUITE, Format, What, reports_with, results_of, stem_of
from perfsuite.result import PhaseResult, Result

if TYPE_CHECKING:
    from perfsuite.reports.beside import Beside


class Paths(NamedTuple):
    """Where the files of a run are."""

    results: Path
    report: Path
    metrics: Path


def write_together(what: What, formats: Mapping[str, Format[What]], folder: Path, started: datetime) -> list[Path]:
    """A file in each of the formats, all of one name, which has the time; nothing is overwritten.

    The folder is made where it is not there.  Raises PerfsuiteError; what was written before stays.
    """
    make_folder(folder)
    first, *others = formats.values()
    data = write_atomically(first.path(folder, f"{started:%Y%m%d_%H%M%S}"), first.render(what))
    named = [(data.with_suffix(Path(one.pattern).suffix), one) for one in others]
    return [data, *(write_atomically(path, one.render(what)) for path, one in named)]


class FileSet:
    """The files of one run in one folder, all with the time of its start in their names.

    The name is taken when the set is made, by writing the partial file: two runs that start in the same second get
    ``TS`` and ``TS-2``.  Raises UsageError when the folder is a file, PerfsuiteError when it cannot be written.
    """

    def __init__(self, folder: Path, result: Result) -> None:
        self.folder = folder
        self._names = _planned(result)
        make_folder(folder)
        partial = write_first_free(self._free_names(result), _interrupted(result))
        self.stem = stem_of(partial)

    @property
    def partial(self) -> Path:
        """What a killed run leaves."""
        return PARTIAL.path(self.folder, self.stem)

    def write_partial(self, result: Result) -> Path:
        """Renews the partial file with what there is so far; its verdict is ``interrupted``."""
        return write_atomically(self.partial, _interrupted(result), replace=True)

    def write(self, result: Result, beside: Beside | None = None) -> Paths:
        """Writes the three files, the result first, and removes the partial one once the result is safe.

        Nothing is overwritten.  Raises PerfsuiteError; what was written before stays.
        """
        whole = results_of(self._names)
        results = write_atomically(whole.path(self.folder, self.stem), whole.render(result))
        if whole is SUITE:
            for phase in result.phases:
                write_atomically(MEMORY[phase.name].path(self.folder, self.stem), whole.render(_alone(result, phase)))
        with contextlib.suppress(FileNotFoundError):
            self.partial.unlink()
        made = [
            write_atomically(one.path(self.folder, self.stem), one.render(result))
            for one in reports_with(beside).values()
        ]
        return Paths(results, *made)

    def _free_names(self, result: Result) -> Iterator[Path]:
        """The partial files of the stems of which no other file is there."""
        when = datetime.fromisoformat(result.run.started)
        for path in numbered(self.folder / f"{when:%Y%m%d_%H%M%S}"):
            if not any(taken.exists() for taken in _paths(self.folder, path.name, self._names)):
                yield PARTIAL.path(self.folder, path.name)


def _interrupted(result: Result) -> bytes:
    import msgspec

    run = msgspec.structs.replace(result.run, verdict="interrupted")
    return PARTIAL.render(msgspec.structs.replace(result, run=run))


def _planned(result: Result) -> list[str]:
    """The phases that the run is to have, whether it has come to them or not."""
    phases = result.run.plan.get("phases") or [{"name": phase.name} for phase in result.phases]
    return [str(phase["name"]) for phase in phases]


def _alone(result: Result, phase: PhaseResult) -> Result:
    """The result of one benchmark of several."""
    import msgspec

    planned = [one for one in result.run.plan.get("phases") or [] if one["name"] == phase.name]
    run = msgspec.structs.replace(result.run, verdict=phase.verdict, plan={**result.run.plan, "phases": planned})
    return msgspec.structs.replace(result, run=run, phases=[phase])


def _paths(folder: Path, stem: str, names: Sequence[str]) -> list[Path]:
    """All that a run of these phases writes."""
    whole = results_of(names)
    single = [MEMORY[name] for name in names] if whole is SUITE else []
    return [one.path(folder, stem) for one in (whole, *single, *REPORTS.values())]
