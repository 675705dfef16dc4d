"""``comparison_TS.json``, ``.md`` and ``.html``: memory systems side by side, in one table and one chart.

Nothing is computed here.  A latency that is void is not shown, but why; with a stand-in model there is no ranking: the
systems stand in the order in which they were named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.reports.figures import printable
from perfsuite.reports.files import numbered, write_atomically, write_first_free
from perfsuite.reports.markdown import escape
from perfsuite.suites.memory.compared import Comparison, Durability, Figure, Group, ModelUse, SystemResult, Timing, dump
from perfsuite.units import figure, number

VOID = "void"
NAMES = {
    "recall_500": "recall in 500 tokens",
    "recall_2000": "recall in 2,000 tokens",
    "recall_1": "recall@1",
    "recall_k": "recall@k",
    "precision_k": "precision@k",
    "mrr": "MRR",
    "ndcg_k": "nDCG@k",
    "noise": "noise",
    "stale": "stale",
    "abstention": "abstention",
    "separation": "separation",
    "tokens": "tokens returned",
}
KINDS = {
    "all": "all questions",
    "verbatim": "in the fact's words",
    "paraphrased": "paraphrased",
    "updated": "updated facts",
    "across": "across sessions",
    "asked": "the set's own",
    "unanswerable": "unanswerable",
}


class Files(NamedTuple):
    """Where a comparison is."""

    data: Path
    report: Path
    page: Path


class Column(NamedTuple):
    """A column of the one table."""

    title: str
    meaning: str


COLUMNS = (
    Column("system", "its name; * is a baseline"),
    Column("class", "raw: stores what it is given; extracting: a model decides what is stored"),
    Column(
        "recall in 500 tokens", "the headline: relevant memories within 500 returned tokens, with its 95 % interval"
    ),
    Column("recall@k", "relevant memories among the first k hits"),
    Column("paraphrased", "recall@k of questions that share no word with the fact but the name"),
    Column("MRR", "1 / rank of the first relevant hit"),
    Column("stale", "of updated facts that were found, the share whose replaced value came first"),
    Column("abstention", "unanswerable questions to which nothing was returned; void like the latencies"),
    Column("store p50 / p99", "one store, acknowledged"),
    Column("recall p50 / p99", "one recall"),
    Column("model per store", "calls to the model (chat / embedding), characters of prompts, time of waiting for it"),
    Column("model per recall", "the same of one recall"),
    Column("durable", "found after kill -9, of what was acknowledged: at once, and after flush"),
    Column("disk", "bytes on disk for all memories"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A system on one size or set, as text; ``why`` where something of it could not be shown."""

    system: SystemResult
    group: Group | None
    cells: tuple[str, ...]
    why: str


def rows(comparison: Comparison) -> Iterator[Row]:
    """The table: by size or set, then by class; the best first, unless nothing may be ranked."""
    for name in comparison.group_names:
        for kind in ("raw", "extracting", "client", ""):
            some = [(one, group) for one, group in _of(comparison, name) if _class(one) == kind]
            if not comparison.heading:
                some.sort(key=lambda pair: -(_value(pair[1], "all", "recall_500") or 0.0))
            for one, group in some:
                yield Row(one, group, _cells(one, group), _why(one, group))
    for one in comparison.systems:
        if not one.groups:
            cells = (_name(one), one.kind, *[""] * (len(COLUMNS) - 2))
            yield Row(one, None, cells, f"{one.status}: {one.reason}" if one.reason else one.status)


def _class(one: SystemResult) -> str:
    return one.kind if one.kind in ("raw", "extracting", "client") else ""


def _of(comparison: Comparison, name: str) -> Iterator[tuple[SystemResult, Group]]:
    for one in comparison.systems:
        for group in one.groups:
            if group.name == name:
                yield one, group


def _name(one: SystemResult) -> str:
    return f"{one.name}{'*' if one.baseline else ''}"


def _cells(one: SystemResult, group: Group) -> tuple[str, ...]:
    quality = group.quality
    return (
        _name(one),
        one.kind,
        with_interval(_figure(quality, "all", "recall_500")),
        value(_figure(quality, "all", "recall_k")),
        value(_figure(quality, "paraphrased", "recall_k")),
        value(_figure(quality, "all", "mrr")),
        value(_figure(quality, "updated", "stale")),
        VOID if group.recall.void else value(_figure(quality, "unanswerable", "abstention")),
        took(group.store),
        took(group.recall),
        asked(group.store_model),
        asked(group.recall_model),
        lasting(one.durability),
        figure(float(group.disk_bytes), "bytes"),
    )


def title(text: str, comparison: Comparison) -> str:
    """A column's title, with the number of hits that were asked for."""
    return text.replace("@k", f"@{comparison.settings.get('k', 'k')}")


def _figure(quality: dict[str, dict[str, Figure]], kind: str, measure: str) -> Figure:
    return quality.get(kind, {}).get(measure, Figure(reason="not asked"))


def _value(group: Group, kind: str, measure: str) -> float | None:
    return _figure(group.quality, kind, measure).value


def value(one: Figure) -> str:
    """Two digits: more than the questions can show."""
    return "–" if one.value is None else f"{one.value:.2f}"


def with_interval(one: Figure) -> str:
    """The value and what it may be."""
    if one.value is None or one.low is None or one.high is None:
        return value(one)
    return f"{one.value:.2f} [{one.low:.2f}–{one.high:.2f}]"


def took(timing: Timing) -> str:
    """Median and p99, or that they are void."""
    if timing.void:
        return VOID
    failed = f", {timing.failed:,} failed" if timing.failed else ""
    p99 = "> all" if timing.p99 is None else figure(timing.p99, "ms")
    return f"{figure(timing.p50, 'ms')} / {p99}{failed}"


def asked(use: ModelUse) -> str:
    """Calls to the model (chat / embedding), characters of prompts, time of waiting."""
    if not use.chat_calls and not use.embedding_calls:
        return "none"
    return (
        f"{number(use.chat_calls)} / {number(use.embedding_calls)}, "
        f"{number(use.prompt_characters + use.embedded_characters)} characters, {figure(use.wait_ms, 'ms')}"
    )


def lasting(durability: Durability | None) -> str:
    """At once, and after flush."""
    if durability is None:
        return "–"
    if durability.durable.value is None:
        return "not measured"
    return f"{durability.durable.value:.0%} / {value_share(durability.flushed)}"


def value_share(one: Figure) -> str:
    """As per cent."""
    return "–" if one.value is None else f"{one.value:.0%}"


def _why(one: SystemResult, group: Group) -> str:
    reasons = []
    if one.status == "failed":
        reasons.append(f"it failed, and these are the rounds before: {one.reason}")
    if group.recall.void:
        reasons.append(f"latencies void: {group.recall.void}")
    for name, timing in (("store", group.store), ("recall", group.recall)):
        if timing.failed:
            reasons.append(f"{timing.failed:,} of {timing.samples:,} calls of {name} failed: {timing.first_errors[0]}")
    if group.same_answers is False:
        reasons.append("its answers differ from round to round")
    if one.durability is not None:
        for figure_ in (one.durability.durable, one.durability.flushed):
            if figure_.reason and figure_.reason not in reasons:
                reasons.append(figure_.reason)
    return "; ".join([*reasons, *one.trouble])


def headline(comparison: Comparison) -> str:
    """What stands above everything."""
    count = sum(one.status == "measured" for one in comparison.systems)
    what = f"{count} memory system{'s' if count != 1 else ''} compared"
    if comparison.interrupted:
        what += ", interrupted"
    return f"{comparison.heading.capitalize()}: {what}" if comparison.heading else what[0].upper() + what[1:]


def warning(comparison: Comparison) -> str:
    """What the heading means; empty where there is none."""
    if not comparison.heading:
        return ""
    names = ", ".join(one.name for one in comparison.systems if one.rests_on_stand_in)
    return (
        f"A stand-in answered in place of a model for {names}. Calls, times, durability and plumbing are real; what is "
        "found is not what these systems find with a model, so that nothing is ranked by it. Give --llm MODEL@URL and "
        "--embed MODEL@URL for that."
    )


def about(one: SystemResult) -> str:
    """Version, configuration, and what was done to it, in a line."""
    parts = [one.version or "version unknown"]
    parts += [f"{name} {text}" for name, text in one.configuration.items()]
    if one.disabled:
        parts.append(f"disabled: {', '.join(one.disabled)}")
    if one.patches:
        parts.append(f"patched: {', '.join(one.patches)}")
    return "; ".join([*parts, *one.notes])


def pairs_said(comparison: Comparison) -> list[str]:
    """Every two systems, in words."""
    several = len(comparison.group_names) > 1
    return [
        f"{f'{one.group}: ' if several else ''}{one.a} − {one.b} = {one.difference:+.2f} "
        f"[{one.low:+.2f} to {one.high:+.2f}], p = {number(one.p_value, 2)}: {one.verdict}"
        for one in comparison.pairs
    ]


def visibility_said(one: SystemResult) -> list[str]:
    """When what is stored, or replaced, is found."""
    said = []
    for what, seen in (("a new fact", one.stored), ("an update", one.updated)):
        if seen is not None:
            late = (
                ""
                if seen.delay_ms is None
                else (
                    f"; after {figure(seen.delay_ms, 'ms')} in the median and {figure(seen.longest_ms, 'ms')} at most"
                )
            )
            said.append(
                f"{what} is found by the first look in {value_share(seen.at_once)} of {seen.at_once.n}, within "
                f"{figure(seen.waited_s, 's')} in {value_share(seen.found)}{late}"
            )
    return said


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
    header = ["system", "questions", "n", *(title(name, comparison) for name in NAMES.values())]
    cells = []
    for row in some:
        assert row.group is not None
        for kind, quality in row.group.quality.items():
            n = max((one.n for name, one in quality.items() if name != "separation"), default=0)
            figures = [_measure(name, quality.get(name)) for name in NAMES]
            cells.append((_name(row.system), KINDS.get(kind, kind), f"{n:,}", *figures))
    yield from _table(header, cells)


def _measure(name: str, one: Figure | None) -> str:
    if one is None or one.value is None:
        return "–"
    return number(one.value) if name == "tokens" else with_interval(one)


def _table(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *[[escape(cell) for cell in row] for row in cells]]
    return [f"| {' | '.join(line)} |" for line in lines] + [""]


TERMINAL = (0, 1, 2, 4, 6, 8, 9, 12)
"""The columns for which a screen is wide enough."""


LONGEST_ON_SCREEN = 400
"""Characters of a line; the files have all of it."""


def terminal(comparison: Comparison, files: Files | None = None) -> str:
    """One screen."""
    lines = [headline(comparison).upper() if comparison.heading else headline(comparison)]
    every = list(rows(comparison))
    for name in comparison.group_names:
        some = [row for row in every if row.group is not None and row.group.name == name]
        titles = [title(COLUMNS[at].title, comparison) for at in TERMINAL]
        table = [titles, *[[printable(row.cells[at]) for at in TERMINAL] for row in some]]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines.append(printable(name))
        lines += [
            ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
            for row in table
        ]
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
    from perfsuite.reports.comparison_page import page

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"the output folder {folder} is a file or lies in one: name a folder with --output") from error
    except OSError as error:
        raise PerfsuiteError(f"cannot make {folder}: {error.strerror or error}; choose another --output") from error
    when = datetime.fromisoformat(comparison.started).astimezone()
    data = write_first_free(numbered(folder / f"comparison_{when:%Y%m%d_%H%M%S}.json"), dump(comparison))
    report = write_atomically(data.with_suffix(".md"), markdown(comparison).encode("utf-8", "replace"))
    return Files(data, report, write_atomically(data.with_suffix(".html"), page(comparison).encode("utf-8", "replace")))
