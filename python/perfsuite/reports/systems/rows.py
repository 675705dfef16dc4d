"""What a comparison of memory systems says, as text: the rows of its one table, and its sentences.

Nothing is computed here.  A latency that is void is not shown, but why; with a stand-in model there is no ranking: the
systems stand in the order in which they were named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from perfsuite.analysis.retrieval import HEADLINE, MEASURES
from perfsuite.suites.memory.comparison_result import (
    Comparison,
    Durability,
    Figure,
    Group,
    ModelUse,
    SystemResult,
    Timing,
)
from perfsuite.units import figure, number

VOID = "void"
KINDS = {
    "all": "all questions",
    "verbatim": "in the fact's words",
    "paraphrased": "paraphrased",
    "updated": "updated facts",
    "across": "across sessions",
    "asked": "the set's own",
    "unanswerable": "unanswerable",
}


class Column(NamedTuple):
    """A column of the one table.  ``cell``: what stands in it; ``on_screen``: whether a screen has room for it."""

    title: str
    meaning: str
    cell: Callable[[SystemResult, Group], str]
    on_screen: bool = False


def name_of(one: SystemResult) -> str:
    """Its name, marked where it is a baseline."""
    return f"{one.name}{'*' if one.baseline else ''}"


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


def measured(name: str, one: Figure | None) -> str:
    """A measure of MEASURES with its interval, or a mean that is no share."""
    if one is None or one.value is None:
        return "–"
    return with_interval(one) if MEASURES[name].share else number(one.value)


def value_share(one: Figure) -> str:
    """As per cent."""
    return "–" if one.value is None else f"{one.value:.0%}"


COLUMNS = (
    Column("system", "its name; * is a baseline", lambda one, _: name_of(one), on_screen=True),
    Column(
        "class",
        "raw: stores what it is given; extracting: a model decides what is stored",
        lambda one, _: one.kind,
        on_screen=True,
    ),
    Column(
        MEASURES[HEADLINE].title,
        "the headline: relevant memories within 500 returned tokens, with its 95 % interval",
        lambda _, group: with_interval(_figure(group.quality, "all", HEADLINE)),
        on_screen=True,
    ),
    Column(
        MEASURES["recall_k"].title,
        "relevant memories in the first k places of the ranking",
        lambda _, group: value(_figure(group.quality, "all", "recall_k")),
    ),
    Column(
        KINDS["paraphrased"],
        "recall@k of questions that share no word with the fact but the name",
        lambda _, group: value(_figure(group.quality, "paraphrased", "recall_k")),
        on_screen=True,
    ),
    Column(
        MEASURES["mrr"].title,
        "1 / place of the first relevant memory",
        lambda _, group: value(_figure(group.quality, "all", "mrr")),
    ),
    Column(
        MEASURES["stale"].title,
        "of updated facts that were found, the share whose replaced value came first",
        lambda _, group: value(_figure(group.quality, "updated", "stale")),
        on_screen=True,
    ),
    Column(
        MEASURES["abstention"].title,
        "unanswerable questions to which nothing was returned; void like the latencies",
        lambda _, group: VOID if group.recall.void else value(_figure(group.quality, "unanswerable", "abstention")),
    ),
    Column("store p50 / p99", "one store, acknowledged", lambda _, group: took(group.store), on_screen=True),
    Column("recall p50 / p99", "one recall", lambda _, group: took(group.recall), on_screen=True),
    Column(
        "model per store",
        "calls to the model (chat / embedding), characters of prompts, time of waiting for it",
        lambda _, group: asked(group.store_model),
    ),
    Column("model per recall", "the same of one recall", lambda _, group: asked(group.recall_model)),
    Column(
        "durable",
        "found after kill -9, of what was acknowledged: at once, and after flush",
        lambda one, _: lasting(one.durability),
        on_screen=True,
    ),
    Column("disk", "bytes on disk for all memories", lambda _, group: figure(float(group.disk_bytes), "bytes")),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A system on one size or set, as text: a cell for each of COLUMNS, none without a group; ``why`` where something
    of it could not be shown."""

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
                some.sort(key=lambda pair: -(_value(pair[1], "all", HEADLINE) or 0.0))
            for one, group in some:
                yield Row(one, group, tuple(column.cell(one, group) for column in COLUMNS), _why(one, group))
    for one in comparison.systems:
        if not one.groups:
            yield Row(one, None, (), f"{one.status}: {one.reason}" if one.reason else one.status)


def _class(one: SystemResult) -> str:
    return one.kind if one.kind in ("raw", "extracting", "client") else ""


def _of(comparison: Comparison, name: str) -> Iterator[tuple[SystemResult, Group]]:
    for one in comparison.systems:
        for group in one.groups:
            if group.name == name:
                yield one, group


def _why(one: SystemResult, group: Group) -> str:
    reasons = []
    if one.status == "failed":
        reasons.append(f"it failed, and these are the rounds that it came through: {one.reason}")
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
