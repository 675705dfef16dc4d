"""``comparison_TS.md``: memory systems side by side, with what every figure means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perfsuite.analysis.retrieval import MEASURES
from perfsuite.reports.markdown import escape
from perfsuite.reports.systems.rows import (
    COLUMNS,
    KINDS,
    Row,
    about,
    headline,
    measured,
    name_of,
    pairs_said,
    rows,
    title,
    visibility_said,
    warning,
)
from perfsuite.suites.memory.comparison_result import Comparison


def markdown(comparison: Comparison) -> str:
    """The report."""
    out = [f"# {headline(comparison)}", ""]
    if comparison.heading:
        out += [f"**{comparison.heading.upper()}.** {escape(warning(comparison))}", ""]
    settings = comparison.settings
    out += [
        f"{escape(comparison.data)}.",
        "",
        f"k = {settings.get('k')}, dimension {settings.get('dim')}, {settings.get('rounds')} rounds in turn; model: "
        f"{escape(comparison.model)}; tokens by {escape(comparison.tokenizer)}. "
        f"{escape(comparison.environment.cpu)}, {comparison.environment.cores} cores, "
        f"{escape(comparison.environment.os)}, {escape(comparison.environment.python)}.",
        "",
    ]
    every = list(rows(comparison))
    for name in comparison.group_names:
        some = [row for row in every if row.group is not None and row.group.name == name]
        group = some[0].group
        assert group is not None
        out += [f"## {escape(name)}", ""]
        out += [f"{group.memories:,} memories, {group.questions:,} questions, data {group.digest}.", ""]
        out += _table([title(column.title, comparison) for column in COLUMNS], [row.cells for row in some])
        out += [f"- {escape(row.system.name)}: {escape(row.why)}" for row in some if row.why]
        out += [""]
        out += ["### By kind of question", ""]
        out += _by_kind(comparison, some)
    absent = [row for row in every if row.group is None]
    if absent:
        out += ["## Not in the table", ""]
        out += [f"- {escape(row.system.name)}: {escape(row.why)}" for row in absent]
        out += [""]
    if comparison.pairs:
        out += ["## Differences, paired by conversation", ""]
        out += [f"- {escape(text)}" for text in pairs_said(comparison)]
        out += ["", "p values are adjusted for there being several pairs (Holm).", ""]
    out += ["## Visible and durable", ""]
    for one in comparison.systems:
        out += [f"- {escape(one.name)}: {escape(text)}" for text in visibility_said(one)]
    out += ["", "## What was measured", ""]
    out += [f"- {escape(one.name)}: {escape(about(one))}" for one in comparison.systems if one.groups]
    if comparison.damaged:
        out += ["", "## Left out of the file", "", *[f"- {escape(text)}" for text in comparison.damaged]]
    out += ["", "## Rules", "", *[f"- {escape(text)}" for text in comparison.rules], "", "## Columns", ""]
    out += [f"- {column.title}: {escape(column.meaning)}" for column in COLUMNS]
    return "\n".join(out) + "\n"


def _by_kind(comparison: Comparison, some: Sequence[Row]) -> Iterator[str]:
    header = ["system", "questions", "n", *(title(measure.title, comparison) for measure in MEASURES.values())]
    cells = []
    for row in some:
        assert row.group is not None
        for kind, quality in row.group.quality.items():
            n = max(
                (quality[name].n for name, one in MEASURES.items() if name in quality and not one.pooled), default=0
            )
            figures = [measured(name, quality.get(name)) for name in MEASURES]
            cells.append((name_of(row.system), KINDS.get(kind, kind), f"{n:,}", *figures))
    yield from _table(header, cells)


def _table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *[[escape(cell) for cell in row] for row in cells]]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]
