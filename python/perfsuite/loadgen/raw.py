"""The file of raw rows: one line a request, as it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite._core import ERROR_KINDS, RAW_COLUMNS
from perfsuite.errors import PerfsuiteError
from perfsuite.exports.forms import form_of

if TYPE_CHECKING:
    from perfsuite._core import Events

ROW = struct.Struct("<" + "".join(form for _, form in RAW_COLUMNS))
ROWS_AT_ONCE = 64
NO_STAMP = -(2**63)
FLAG_WARMUP, FLAG_ESTIMATED = 1, 2
_NAMES = [name for name, _ in RAW_COLUMNS]
_PLAIN = [name for name in _NAMES if name not in ("status", "flags", "padding")]
_STATUS, _FLAGS = _NAMES.index("status"), _NAMES.index("flags")
_plain_of = itemgetter(*map(_NAMES.index, _PLAIN))
_NONES = [None if name == "tag" else NO_STAMP if name.endswith("_ns") else -1 for name in _PLAIN]
"""What stands for none of each: a tag there always is."""

COLUMNS = ("label", *_PLAIN, "status", "warmup", "estimated")
"""Columns of the file.  Times are nanoseconds from the start of the stretch of load that ``label`` names; what there
is none of is empty (null in NDJSON).  ``status`` is one of ``ERROR_KINDS``; ``estimated``: completion tokens were
counted by the client, because the server did not tell."""


def rows(data: bytes | memoryview) -> Iterator[tuple[object, ...]]:
    """The rows in what ``Events.drain_rows`` gave, in the order of COLUMNS without ``label``."""
    for record in ROW.iter_unpack(data):
        plain = [None if value == none else value for value, none in zip(_plain_of(record), _NONES, strict=True)]
        flags = record[_FLAGS]
        yield (*plain, ERROR_KINDS[record[_STATUS]], bool(flags & FLAG_WARMUP), bool(flags & FLAG_ESTIMATED))


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
    """Writes raw rows in the form that the file's ending names (``perfsuite.exports.forms``).

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
        try:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._rows = form_of(self.path).rows(self._file, COLUMNS)
            self._flush()
        except OSError as error:
            if hasattr(self, "_file"):
                self.give_up(str(error))
            raise self._unwritable(error) from error

    def write(self, data: bytes | memoryview) -> None:
        """Adds the rows of ``Events.drain_rows``."""
        try:
            for row in rows(data):
                self._rows.write((self.label, *row))
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
