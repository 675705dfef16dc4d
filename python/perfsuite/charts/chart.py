"""What a chart is: a figure, the sources that it is drawn from, and the same in words and as a table.

A canvas says nothing to a screen reader, and a hover nothing to paper: every chart comes with a label and a table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource
    from bokeh.plotting import figure as Figure

TABLE_ROWS = 30

Cell = float | str | None


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, what it shows in words, and its figures as a table.

    ``sources``: what is drawn, by the name of each line, bar or map: a live page streams to them.  ``timed``: x is
    seconds into the phase, so that it moves with the others of its phase.  ``notes``: what the marks in it mean.
    """

    title: str
    label: str
    figure: Figure
    header: list[str]
    rows: list[list[Cell]]
    sources: dict[str, ColumnDataSource] = field(default_factory=dict)
    timed: bool = False
    notes: tuple[str, ...] = ()


def plain(text: object) -> str:
    """Foreign text for a label: one printable line, without what would be markup or TeX."""
    line = " ".join(str(text).split())[:120]
    return "".join(c for c in line if c.isprintable()).translate(
        {ord("<"): "‹", ord(">"): "›", ord("&"): "+", ord("$"): "＄"}
    )


def array(values: Sequence[float | None]) -> Any:
    """Bokeh writes numpy arrays as base64, a third of the size of numbers in text.  None is NaN: a gap."""
    import numpy as np

    return np.asarray([math.nan if v is None else v for v in values], dtype=np.float64)


def tabled(columns: Sequence[Mapping[float, float]], most: int = TABLE_ROWS) -> list[list[Cell]]:
    """The values of all columns by x: at most so many rows, evenly taken, the first and the last among them, and those
    of each column's highest value."""
    every = sorted({x for column in columns for x in column})
    if len(every) > most:
        peaks = {x for column in columns if (x := _peak(column)) is not None}
        room = max(2, most - len(peaks))
        every = sorted({every[i * (len(every) - 1) // (room - 1)] for i in range(room)} | peaks)
    return [[x, *(column.get(x) for column in columns)] for x in every]


def _peak(column: Mapping[float, float]) -> float | None:
    known = [x for x, y in column.items() if not math.isnan(y)]
    return max(known, key=column.__getitem__) if known else None
