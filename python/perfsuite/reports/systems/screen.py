"""Memory systems side by side: one screen, and the files ``comparison_TS.json``, ``.md`` and ``.html``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from perfsuite.reports import tables
from perfsuite.reports.figures import printable
from perfsuite.reports.fileset import write_together
from perfsuite.reports.formats import COMPARISON
from perfsuite.reports.systems.rows import COLUMNS, headline, pairs_said, rows, title, warning
from perfsuite.suites.memory.comparison_result import Comparison

LONGEST_ON_SCREEN = 400
"""Characters of a line; the files have all of it."""


class Files(NamedTuple):
    """Where a comparison is."""

    data: Path
    report: Path
    page: Path


def terminal(comparison: Comparison, files: Files | None = None) -> str:
    """One screen."""
    lines = [headline(comparison).upper() if comparison.heading else headline(comparison)]
    every = list(rows(comparison))
    for name in comparison.group_names:
        some = [row for row in every if row.group is not None and row.group.name == name]
        shown = [at for at, column in enumerate(COLUMNS) if column.on_screen]
        titles = [title(COLUMNS[at].title, comparison) for at in shown]
        table = [titles, *[[printable(row.cells[at]) for at in shown] for row in some]]
        lines += [printable(name), *tables.lines(table, before="  ")]
    said = [f"{row.system.name}: {row.why}" for row in every if row.why]
    said += pairs_said(comparison)
    if comparison.damaged:
        said.append(f"{len(comparison.damaged)} parts of the file were left out: {comparison.damaged[0]}")
    lines += [f"  {printable(text, LONGEST_ON_SCREEN)}" for text in said]
    lines += [f"  {printable(warning(comparison), 4096)}"] if comparison.heading else []
    lines += [printable(str(path), 4096) for path in files or ()]
    return "\n".join(lines) + "\n"


def write(comparison: Comparison, folder: Path) -> Files:
    """The three files, the data first; nothing is overwritten."""
    started = datetime.fromisoformat(comparison.started).astimezone()
    return Files(*write_together(comparison, COMPARISON, folder, started))
