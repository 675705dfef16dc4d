"""Rows of data for other programs: the table of the forms that they can have.

``perfsuite history export --format`` takes a form by its name, ``--raw FILE`` by the ending of the file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TextIO

from perfsuite.errors import unknown

FORMULA = ("=", "+", "-", "@")
"""A cell that begins like this is a formula to a spreadsheet."""


class Rows(Protocol):
    """Writes rows to a stream that stays the caller's."""

    def write(self, values: Sequence[object]) -> None:
        """One row, in the order of the columns: text, numbers, truth values, None."""


class Form(NamedTuple):
    """How rows are written: the endings of its files, and what writes to a stream, the names of the columns known."""

    suffixes: tuple[str, ...]
    rows: Callable[[TextIO, Sequence[str]], Rows]


class CsvRows:
    """A header and a line each; None is an empty cell, a truth value 0 or 1, and text never a formula."""

    def __init__(self, out: TextIO, columns: Sequence[str]) -> None:
        self._row = csv.writer(out, lineterminator="\n").writerow
        self._row(columns)

    def write(self, values: Sequence[object]) -> None:
        """One line."""
        self._row([_cell(value) if type(value) in _ODD else value for value in values])


class JsonRows:
    """An object a line, which names its columns."""

    def __init__(self, out: TextIO, columns: Sequence[str]) -> None:
        self._write = out.write
        self._columns = columns

    def write(self, values: Sequence[object]) -> None:
        """One line."""
        self._write(json.dumps(dict(zip(self._columns, values, strict=True)), ensure_ascii=False) + "\n")


_ODD = (str, bool)


def _cell(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return int(value is True)


FORMS: dict[str, Form] = {
    "csv": Form((".csv",), CsvRows),
    "jsonl": Form((".jsonl", ".ndjson"), JsonRows),
}
USUAL = "jsonl"
"""The form of a file whose ending says nothing."""


def form(name: str, where: str) -> Form:
    """The form of that name.  Raises UsageError with the names there are."""
    if name not in FORMS:
        raise unknown("format", name, FORMS, where)
    return FORMS[name]


def form_of(path: Path) -> Form:
    """The form that the ending of a file asks for."""
    ending = path.suffix.lower()
    return next((one for one in FORMS.values() if ending in one.suffixes), FORMS[USUAL])


def write_rows(rows: Iterable[Mapping[str, object]], form: Form, out: TextIO) -> None:
    """All of some rows, which have the same columns; where there is none, nothing."""
    writer: Rows | None = None
    for row in rows:
        if writer is None:
            writer = form.rows(out, list(row))
        writer.write(list(row.values()))
