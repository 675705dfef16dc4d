"""A result as files and on the screen.  Nothing here computes: what is shown is in the result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.reports.fileset import FileSet, Paths

if TYPE_CHECKING:
    from perfsuite.reports.beside import Beside
    from perfsuite.result import Result

__all__ = ["FileSet", "Paths", "write"]


def write(result: Result, folder: Path, files: FileSet | None = None, beside: Beside | None = None) -> Paths:
    """Writes ``results-TS.json``, ``report-TS.md`` and ``metrics-TS.html``, TS being when the run started.

    ``files``: the set by which the run took its name, when it wrote partial files; otherwise a set of its own.  Nothing
    is overwritten: a run of the same second gets a counter in its names.  ``beside``: what the page has besides.
    """
    return (files or FileSet(folder, result)).write(result, beside)
