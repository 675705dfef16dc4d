"""Keeps what was measured: the partial file during a run, the three files at its end."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.errors import PerfsuiteError

if TYPE_CHECKING:
    from perfsuite.reports import FileSet, Paths
    from perfsuite.reports.beside import Beside
    from perfsuite.result import Result


class Saver:
    """The files of one run in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: FileSet | None = None

    def save(self, result: Result) -> None:
        """Renews the partial file.  Raises OSError when it cannot: the run goes on, and says so in its notes."""
        from perfsuite.reports import FileSet

        try:
            if self._files is None:
                self._files = FileSet(self._folder, result)
            self._files.write_partial(result)
        except PerfsuiteError as error:
            raise OSError(str(error)) from error

    def finish(self, result: Result, beside: Beside | None = None) -> tuple[Paths | None, str | None]:
        """Writes the three files.  Where the folder takes them no longer they go to a temporary one, and what is wrong
        is the second value: nothing that was measured is lost to a full disk."""
        from perfsuite.reports import write

        try:
            return write(result, self._folder, self._files, beside), None
        except PerfsuiteError as error:
            trouble = str(error)
        try:
            refuge = Path(tempfile.mkdtemp(prefix="perfsuite-results-"))
            paths = write(result, refuge, beside=beside)
        except (PerfsuiteError, OSError) as error:
            left = f"; the last state saved is {self._files.partial}" if self._files is not None else ""
            return None, f"{trouble}; nor in a temporary folder: {error}{left}"
        return paths, f"{trouble}; the files are in {refuge} instead"


@contextlib.contextmanager
def reader_left() -> Iterator[None]:
    """A reader of stdout that goes away (``| head``) does not change what a finished run says by its exit code."""
    try:
        yield
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
