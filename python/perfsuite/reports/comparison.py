"""Memory systems side by side: one screen, and the files ``comparison_TS.json``, ``.md`` and ``.html``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from perfsuite.exports.files import numbered, write_atomically, write_first_free
from perfsuite.exports.places import make_folder
from perfsuite.reports import tables
from perfsuite.reports.comparison_rows import COLUMNS, headline, pairs_said, rows, title, warning
from perfsuite.reports.figures import printable
from perfsuite.suites.memory.comparison_result import Comparison, dump

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
    from perfsuite.reports.comparison_markdown import markdown
    from perfsuite.reports.comparison_page import page

    make_folder(folder)
    when = datetime.fromisoformat(comparison.started).astimezone()
    data = write_first_free(numbered(folder / f"comparison_{when:%Y%m%d_%H%M%S}.json"), dump(comparison))
    report = write_atomically(data.with_suffix(".md"), markdown(comparison).encode("utf-8", "replace"))
    return Files(data, report, write_atomically(data.with_suffix(".html"), page(comparison).encode("utf-8", "replace")))
