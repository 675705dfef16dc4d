"""The three files of a run, ``results-TS.json``, ``report-TS.md`` and ``metrics-TS.html``, and the partial one while it
lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.reports.files import numbered, write_atomically, write_first_free
from perfsuite.reports.formats import PARTIAL, REPORTS, RESULTS, stem_of
from perfsuite.result import Result


class Paths(NamedTuple):
    """Where the files of a run are."""

    results: Path
    report: Path
    metrics: Path


class FileSet:
    """The files of one run in one folder, all with the time of its start in their names.

    The name is taken when the set is made, by writing the partial file: two runs that start in the same second get
    ``TS`` and ``TS-2``.  Raises UsageError when the folder is a file, PerfsuiteError when it cannot be written.
    """

    def __init__(self, folder: Path, result: Result) -> None:
        self.folder = folder
        _make(folder)
        partial = write_first_free(self._free_names(result), _interrupted(result))
        self.stem = stem_of(partial)

    @property
    def partial(self) -> Path:
        """What a killed run leaves."""
        return PARTIAL.path(self.folder, self.stem)

    def write_partial(self, result: Result) -> Path:
        """Renews the partial file with what there is so far; its verdict is ``interrupted``."""
        return write_atomically(self.partial, _interrupted(result), replace=True)

    def write(self, result: Result) -> Paths:
        """Writes the three files, the result first, and removes the partial one once the result is safe.

        Nothing is overwritten.  Raises PerfsuiteError; what was written before stays.
        """
        results = write_atomically(RESULTS.path(self.folder, self.stem), RESULTS.render(result))
        with contextlib.suppress(FileNotFoundError):
            self.partial.unlink()
        made = [write_atomically(one.path(self.folder, self.stem), one.render(result)) for one in REPORTS.values()]
        return Paths(results, *made)

    def _free_names(self, result: Result) -> Iterator[Path]:
        """The partial files of the stems of which no other file is there."""
        when = datetime.fromisoformat(result.run.started)
        for path in numbered(self.folder / f"{when:%Y%m%d_%H%M%S}"):
            if not any(taken.exists() for taken in _paths(self.folder, path.name)):
                yield PARTIAL.path(self.folder, path.name)


def _interrupted(result: Result) -> bytes:
    import msgspec

    run = msgspec.structs.replace(result.run, verdict="interrupted")
    return PARTIAL.render(msgspec.structs.replace(result, run=run))


def _paths(folder: Path, stem: str) -> Paths:
    return Paths(*(one.path(folder, stem) for one in (RESULTS, *REPORTS.values())))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"the output folder {folder} is a file or lies in one: name a folder with --output") from error
    except (OSError, ValueError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PerfsuiteError(f"cannot make the output folder {folder}: {text}; choose another with --output") from error
