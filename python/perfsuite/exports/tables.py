"""A result's tables as files for other programs: CSV, and Parquet where pyarrow is (``perfsuite[notebook]``)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from perfsuite.errors import MissingExtra
from perfsuite.exports.forms import CsvRows
from perfsuite.frames import columns

if TYPE_CHECKING:
    from perfsuite.result import Result


def csv(result: Result, what: str) -> bytes:
    """The table ``metrics`` or ``series`` as UTF-8 CSV: a header, then a line each; what is missing is empty."""
    out = io.StringIO(newline="")
    rows = CsvRows(out, list(columns(what)))
    for row in result.rows(what):
        rows.write(row)
    return out.getvalue().encode("utf-8", "replace")


def parquet(result: Result, what: str) -> bytes:
    """The table as a Parquet file.  Raises MissingExtra without pyarrow."""
    try:
        from pyarrow import BufferOutputStream
        from pyarrow.parquet import write_table
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise MissingExtra("pyarrow", "notebook", "a Parquet file") from None

    out = BufferOutputStream()
    write_table(result.to_arrow(what), out)
    return bytes(out.getvalue().to_pybytes())
