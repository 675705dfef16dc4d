"""A result's rows as tables of pandas, polars and Arrow, whichever of them is installed (``perfsuite[notebook]``).

What is in the rows: ``Result.rows``, of which this knows the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from perfsuite.errors import MissingExtra, unknown

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Row = tuple[object, ...]

COLUMNS: dict[str, dict[str, type]] = {
    "metrics": {
        "phase": str,
        "metric": str,
        "unit": str,
        "value": float,
        "target": float,
        "verdict": str,
        "samples": int,
        "mean": float,
        "p50": float,
        "p95": float,
        "p99": float,
    },
    "series": {"phase": str, "metric": str, "t_s": float, "value": float},
}
"""The tables by name, and the type of each of their columns; a number that is not there is missing, never zero."""


def columns(what: str) -> dict[str, type]:
    """The columns of a table.  Raises UsageError for a name that is none."""
    if what not in COLUMNS:
        raise unknown("table", what, COLUMNS, "a result")
    return COLUMNS[what]


class Tables:
    """What has rows, as tables of other libraries."""

    __slots__ = ()

    def rows(self, what: str = "metrics") -> Sequence[Row]:
        """The rows of a table, in the order of its ``columns``."""
        raise NotImplementedError

    def to_pandas(self, what: str = "metrics") -> pandas.DataFrame:
        """A table, ``metrics`` or ``series``, as a DataFrame of pandas, with NaN for what is missing.

        Raises MissingExtra without pandas, UsageError for another table; so do the other two.
        """
        pd = _library("pandas")
        made = {name: pd.Series(values, dtype=kind) for name, kind, values in _by_column(what, self.rows(what))}
        return pd.DataFrame(made, columns=list(made))

    def to_polars(self, what: str = "metrics") -> polars.DataFrame:
        """The table as a DataFrame of polars, with nulls for what is missing."""
        pl = _library("polars")
        kinds = {str: pl.String, int: pl.Int64, float: pl.Float64}
        made = _by_column(what, self.rows(what))
        return pl.DataFrame([pl.Series(name, values, dtype=kinds[kind]) for name, kind, values in made])

    def to_arrow(self, what: str = "metrics") -> pyarrow.Table:
        """The table as one of Arrow, with nulls for what is missing."""
        pa = _library("pyarrow")
        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        made = _by_column(what, self.rows(what))
        return pa.table({name: pa.array(values, type=kinds[kind]) for name, kind, values in made})


def _by_column(what: str, rows: Sequence[Row]) -> list[tuple[str, type, list[object]]]:
    names = columns(what)
    return [(name, kind, [row[i] for row in rows]) for i, (name, kind) in enumerate(names.items())]


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise MissingExtra(name, "notebook", f"a table of {name}") from None
