"""The file of raw rows: one line a request, as it ends."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite._core import ERROR_KINDS, RAW_COLUMNS
from perfsuite.errors import PerfsuiteError

if TYPE_CHECKING:
    from perfsuite._core import Events

ROW = struct.Struct("<" + "".join(form for _, form in RAW_COLUMNS))
ROWS_AT_ONCE = 64
NO_STAMP = -(2**63)
FLAG_WARMUP, FLAG_ESTIMATED = 1, 2
_PLAIN = [name for name, _ in RAW_COLUMNS if name not in ("status", "flags", "padding")]

COLUMNS = ("label", *_PLAIN, "status", "warmup", "estimated")
"""Columns of the file.  Times are nanoseconds from the start of the stretch of load that ``label`` names; what there
is none of is empty (null in NDJSON).  ``status`` is one of ``ERROR_KINDS``; ``estimated``: completion tokens were
counted as they came, because the server did not tell."""


def rows(data: bytes | memoryview) -> Iterator[tuple[object, ...]]:
    """The rows in what ``Events.drain_rows`` gave, in the order of COLUMNS without ``label``."""
    for record in ROW.iter_unpack(data):
        values = dict(zip((name for name, _ in RAW_COLUMNS), record, strict=True))
        plain = (
            None if values[name] == (NO_STAMP if name.endswith("_ns") else -1) and name != "tag" else values[name]
            for name in _PLAIN
        )
        flags = values["flags"]
        yield (*plain, ERROR_KINDS[values["status"]], bool(flags & FLAG_WARMUP), bool(flags & FLAG_ESTIMATED))


async def pour(events: Events, raw: RawWriter) -> None:
    """Writes the raw rows that have ended, a few at a time, so that no send and no token waits for it.

    A file that takes no more costs the rows, not what is measured: ``raw.trouble`` says so, and the load goes on.
    """
    data = memoryview(events.drain_rows())
    if raw.trouble is not None:
        return
    step = ROWS_AT_ONCE * raw.row_bytes
    try:
        for start in range(0, len(data), step):
            raw.write(data[start : start + step])
            await asyncio.sleep(0)
        raw.flush()
    except PerfsuiteError as error:
        raw.give_up(str(error))


class RawWriter:
    """Writes raw rows as CSV when the file's name ends in ``.csv``, else as NDJSON.

    Rows are appended as they come; after ``flush`` the file on disk ends with a whole line.  ``label`` goes with each
    row: set it to say which phase and stretch the rows are of.  Raises PerfsuiteError when the file cannot be written;
    who goes on then calls ``give_up``.
    """

    row_bytes = ROW.size

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.label = ""
        self.written = 0
        self.trouble: str | None = None
        """Why the file was given up, if it was."""
        self._whole = 0
        self._csv = self.path.suffix.lower() == ".csv"
        try:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._lines = csv.writer(self._file, lineterminator="\n")
            if self._csv:
                self._lines.writerow(COLUMNS)
            self._flush()
        except OSError as error:
            if hasattr(self, "_file"):
                self.give_up(str(error))
            raise self._unwritable(error) from error

    def write(self, data: bytes | memoryview) -> None:
        """Adds the rows of ``Events.drain_rows``."""
        try:
            for row in rows(data):
                if self._csv:
                    self._lines.writerow((self.label, *(int(v) if isinstance(v, bool) else v for v in row)))
                else:
                    line = dict(zip(COLUMNS, (self.label, *row), strict=True))
                    self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self.written += 1
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Puts on disk what was written so far."""
        try:
            self._flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _flush(self) -> None:
        self._file.flush()
        self._whole = os.fstat(self._file.fileno()).st_size

    def give_up(self, trouble: str) -> None:
        """Closes the file as it was after the last ``flush`` that succeeded, so that it ends with a whole line."""
        self.trouble = trouble
        with contextlib.suppress(OSError):
            self._file.close()  # it tries to write once more
        with contextlib.suppress(OSError):  # a device has no length
            os.truncate(self.path, self._whole)

    def close(self) -> None:
        """Writes what is left; may be called again."""
        try:
            self._file.close()
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> RawWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _unwritable(self, error: OSError) -> PerfsuiteError:
        reason = error.strerror or error
        return PerfsuiteError(
            f"cannot write raw rows to {self.path}: {reason}; name another file with --raw, or leave it out"
        )
