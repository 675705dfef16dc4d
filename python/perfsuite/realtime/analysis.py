"""What is said of a session's logs: the document's figures, issues and report.

Pure, and the same as monitor.js says of the same logs: README.md in this folder is the contract of both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from perfsuite.realtime.logs import Logs, Sample
from perfsuite.realtime.rules import Form, Rise, Rule, rules

Figure: TypeAlias = float | Sequence[float] | None
"""A number, a row of recent ones, or None for what was not measured."""

NOT_MEASURED = "not measured"
_NAME = re.compile(r"\{(\w+)\}")


class Issue(NamedTuple):
    """What is wrong, and what to do."""

    id: str
    text: str
    recommendation: str


def figures(logs: Logs) -> dict[str, Figure]:
    """Every figure that the rules name."""
    totals = logs.totals
    last = logs.samples[-1] if logs.samples else Sample()
    found: dict[str, Figure] = {
        "averageProcessingMs": totals.processing_ms.mean,
        "maximumProcessingMs": totals.processing_ms.longest,
        "audioLatencies": _recent([one.processing_ms for one in logs.audio]),
        "messageLatencies": _recent([one.processing_ms for one in logs.messages if one.direction == "received"]),
        "audioChunksCount": last.audioChunksCount,
        "wsBufferedAmount": last.wsBufferedAmount,
        "eventQueueSize": last.eventQueueSize,
        "timeToFirstResponseMs": totals.time_to_first_response_ms.mean,
        "interruptions": totals.interruptions,
        "errors": totals.errors,
        "slowEvents": totals.slow_events,
        "responseTimeouts": totals.response_timeouts,
        "uncleanCloses": totals.unclean_closes,
        "audioChunksPeak": totals.peaks.audio_chunks,
        "wsBufferedPeak": totals.peaks.ws_buffered,
        "eventQueuePeak": totals.peaks.event_queue,
        "heapPeak": totals.peaks.heap,
        "audioGapMs": totals.audio_gap_ms.longest,
        "longTaskShare": _share(totals.long_task_ms, logs.session.duration_ms),
        "costShare": logs.cost.share,
    }
    found |= {name: growth(logs.samples, rise) for name, rise in rules().growth.figures.items()}
    return found


def _share(part: float | None, duration_ms: float | None) -> float | None:
    """Of the session's time; None of a session too short to tell."""
    if part is None or duration_ms is None or duration_ms < rules().sharesFromMs:
        return None
    return part / duration_ms


def _recent(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None][-rules().recent :]


def growth(samples: Sequence[Sample], rise: Rise) -> float | None:
    """By how much a field of the samples rises steadily: 0 where it does not, None for too few."""
    values: list[float] = [value for value in (getattr(one, rise.field) for one in samples) if value is not None]
    count = len(values)
    if count < rules().growth.samples:
        return None
    cuts = (0, count // 3, 2 * count // 3, count)
    first, second, third = (_centre(values[cuts[at] : cuts[at + 1]], rise) for at in range(3))
    return third - first if first < second < third and third >= rise.ratio * first else 0.0


def _centre(values: Sequence[float], rise: Rise) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    if rise.of == "min":
        return ordered[0]
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def issues(logs: Logs, found: Mapping[str, Figure]) -> list[Issue]:
    """What is over its limit, in the rules' order."""
    named = []
    for rule in rules().issues:
        value = found[rule.figure]
        over = limit(logs, rule.over) if isinstance(rule.over, str) else rule.over
        if isinstance(value, float) and value > over:
            named.append(Issue(rule.id, _said(rule, value, logs), rule.recommendation))
    return named


def limit(logs: Logs, name: str) -> float:
    """A threshold as it was in force, else as the rules have it."""
    own = logs.thresholds.get(name)
    return rules().thresholds[name].value if own is None else own


def _said(rule: Rule, value: float, logs: Logs) -> str:
    def filled(match: re.Match[str]) -> str:
        if match[1] == "value":
            return written(rule.form, value)
        name = str(rule.over) if match[1] == "limit" else match[1]
        return written(rules().thresholds[name].form, limit(logs, name))

    return _NAME.sub(filled, rule.text)


def written(form: Form, value: Figure) -> str:
    """A figure as the report has it."""
    if value is None:
        return NOT_MEASURED
    if not isinstance(value, float | int):
        return f"{', '.join(map(_tenths, value))}ms" if value else NOT_MEASURED
    match form:
        case "ms":
            return f"{_tenths(value)}ms"
        case "s":
            return f"{_tenths(value / 1000)} s"
        case "mb":
            return f"{_tenths(value / 1048576)} MB"
        case "percent":
            return f"{_tenths(value * 100)} %"
        case _:
            return str(math.floor(value + 0.5))


def _tenths(value: float) -> str:
    """One decimal, halves up, as the monitor rounds."""
    whole, tenth = divmod(math.floor(value * 10 + 0.5), 10)
    return f"{whole}.{tenth}"


def report(logs: Logs) -> str:
    """The document's report, line for line."""
    found = figures(logs)
    named = issues(logs, found)
    return "\n".join(
        [
            "Performance Analysis Report",
            logs.session.ended,
            "",
            "Metrics:",
            *(f"- {line.label}: {written(line.form, found[line.figure])}" for line in rules().metrics),
            "",
            "Issues Detected:",
            *_listed([one.text for one in named]),
            "",
            "Recommendations:",
            *_listed([one.recommendation for one in named]),
        ]
    )


def _listed(lines: Sequence[str]) -> list[str]:
    return [f"- {line}" for line in lines] or ["- None"]
