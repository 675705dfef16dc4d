"""The checkpoint's summary and its four lines, in the form of its document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perfsuite.reports.database import index_line, index_rows
from perfsuite.reports.figures import printable, row_of
from perfsuite.result import MetricResult, PhaseResult, Requirement, Stats
from perfsuite.units import figure, number, scale, with_unit

WIDTH = 70
SHOWN_MS, LEAST_MS = 1.0, 0.1
"""Means, and the least of what they are of, that are shown in seconds."""
MARKS = {"passed": "✓", "failed": "✗", "undecided": "?", "not measured": "–"}
ENDS = {
    "passed": "✓ All checkpoint 7.4 requirements met!",
    "failed": "✗ Checkpoint 7.4 is not met: {}",
    "undecided": "? Checkpoint 7.4 is not decided: {}",
    "not measured": "– Nothing of checkpoint 7.4 was missed, and not all of it could be measured: {}",
}
SUMMARY = (
    (
        "Response Times",
        (
            ("Simple queries (avg)", "simple_response_time"),
            ("Large memory context (avg)", "large_memory_response_time"),
            ("Long conversations (avg)", "long_conversation_response_time"),
        ),
    ),
    (
        "Token Usage",
        (
            ("Average tokens per message", "tokens_per_message"),
            ("Tokens of all messages", "tokens_total"),
            ("Messages over the budget refused", "budget_refusals"),
        ),
    ),
    (
        "Memory Scaling",
        (
            ("Total memories created", "memories_created"),
            ("Average retrieval time", "memory_retrieval_time"),
            ("Average search time", "memory_search_time"),
        ),
    ),
    (
        "Database Performance",
        (
            ("Average session creation", "session_create_time"),
            ("Average message creation", "message_create_time"),
            ("Average query time", "query_time"),
        ),
    ),
)
"""The document's sections, and the metric of each of their lines."""


def summary(phase: PhaseResult) -> list[str]:
    """The lines of the summary, of the verification, and the last word."""
    return [
        *_heading("PERFORMANCE TEST SUMMARY"),
        "",
        *_sections(phase),
        *_heading("CHECKPOINT 7.4 VERIFICATION"),
        *(text for one in phase.requirements for text in _verified(phase, one)),
        "",
        _end(phase.requirements),
    ]


def _heading(text: str) -> list[str]:
    return ["=" * WIDTH, text.center(WIDTH).rstrip(), "=" * WIDTH]


def _sections(phase: PhaseResult) -> Iterator[str]:
    for title, rows in SUMMARY:
        yield f"{title}:"
        for text, name in rows:
            metric = phase.metric(name)
            if metric is not None:
                yield f"  • {text}: {_figure(metric)}"
        if title == "Token Usage":
            yield from _agents(phase)
        if title == "Database Performance":
            yield from (f"    – {index_line(row)}" for row in index_rows(phase))
        yield ""


def _figure(metric: MetricResult) -> str:
    if metric.verdict == "not measured":
        return f"not measured, because {printable(metric.reason)}"
    mean = metric.value if metric.stats is None else metric.stats.mean
    mark = f" {MARKS[metric.verdict]}" if metric.verdict in MARKS else ""
    if metric.unit == "ms":
        return f"{_times(mean, metric.stats)}{mark}"
    if metric.unit == "tokens":
        largest = f" (at most {number(metric.value)})" if metric.stat == "max" else ""
        return f"{number(mean)} tokens{largest}{mark}"
    return f"{number(mean)}{mark}"


def _times(mean: float | None, stats: Stats | None) -> str:
    """The mean and the range around it, in seconds, as the document has it; where that would be a small part of one,
    both in the mean's own unit."""
    if mean is None:
        return figure(mean, "ms")
    least = mean if stats is None or stats.min is None else stats.min
    divisor, name = scale(mean, "ms") if mean < SHOWN_MS or least < LEAST_MS else (1000.0, "seconds")
    text = with_unit(number(mean / divisor), name)
    if stats is None or stats.min is None:
        return text
    high = "–" if stats.max is None else number(stats.max / divisor)
    return f"{text} ({number(stats.min / divisor)} to {high})"


def _agents(phase: PhaseResult) -> Iterator[str]:
    metric = phase.metric("tokens_per_message")
    for row in metric.details.get("by_agent", []) if metric is not None else []:
        models = ", ".join(row["models"])
        meant = row["meant"]
        judged = "" if meant is None else " ✓" if row["models"] == [meant] else f" ✗ meant for {meant}"
        text = f"{row['agent']}: {number(row['tokens_per_message'])} tokens per message on {models}{judged}"
        yield f"    – {printable(text)}"


def _verified(phase: PhaseResult, line: Requirement) -> Iterator[str]:
    figures = {f"{one.name}.{one.stat}": one for one in phase.metrics}
    rests_on = [figures[name] for name in line.rests_on if name in figures]
    limit = ""
    if line.text.startswith("Response") and rests_on:
        limit = f" ({row_of(rests_on[0]).target})"
    yield f"  {MARKS[line.verdict]} {printable(line.text)}{limit}"
    for why in line.why:
        yield f"      {printable(why)}"
    if line.text.startswith("Performance") and line.verdict == "passed":
        yield f"      {len(rests_on)} figures held against a target, each measured"
        return
    for metric in rests_on:
        row = row_of(metric)
        if metric.verdict == "not measured":
            yield f"      {row.name}: not measured, because {printable(metric.reason)}"
        else:
            reason = f": {printable(metric.reason)}" if metric.reason else ""
            yield f"      {row.name} {row.value} {row.interval}".rstrip() + f" {row.target} {metric.verdict}{reason}"


def _end(found: Sequence[Requirement]) -> str:
    for verdict in ("failed", "undecided", "not measured"):
        short = [one.text for one in found if one.verdict == verdict]
        if short:
            return ENDS[verdict].format(printable(", ".join(text.lower() for text in short)))
    return ENDS["passed"]
