"""Two sessions side by side: which figures got worse, and by how much.

Less is better for every figure.  Each session is one sample of what its page does: a change counts from a tenth on, and
from a least size on, which keeps the noise of figures near zero out.  Counts of a whole session are held against each
other by the minute, for sessions differ in length.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal, NamedTuple, TypeAlias

from perfsuite.realtime.analysis import Figure, Issue, figures, issues, written
from perfsuite.realtime.logs import Logs
from perfsuite.realtime.rules import Form, Line, rules

Verdict: TypeAlias = Literal["worse", "better", ""]

BESIDE = (
    Line("Audio Chunks Peak", "audioChunksPeak", "count"),
    Line("Longest Audio Gap", "audioGapMs", "ms"),
    Line("WebSocket Buffered Peak", "wsBufferedPeak", "bytes"),
    Line("Event Queue Peak", "eventQueuePeak", "count"),
    Line("Heap Peak", "heapPeak", "mb"),
    Line("Slow Events", "slowEvents", "count"),
    Line("Response Timeouts", "responseTimeouts", "count"),
    Line("Unclean Closes", "uncleanCloses", "count"),
    Line("Audio Chunks Growth", "audioGrowth", "count"),
    Line("Processing Time Growth", "processingGrowthMs", "ms"),
    Line("WebSocket Buffer Growth", "wsBufferedGrowth", "bytes"),
    Line("Heap Growth", "heapGrowth", "mb"),
    Line("Long Tasks, share of time", "longTaskShare", "percent"),
)
"""What the issues rest on, beside the document's ten lines."""

OF_SESSION = frozenset({"interruptions", "errors", "slowEvents", "responseTimeouts", "uncleanCloses"})
"""Counts that grow with the session's length."""
NOTABLE = 0.1
"""Share by which a figure has to differ."""
LEAST: dict[Form, float] = {"ms": 1.0, "s": 1.0, "trend": 1.0, "count": 2.0, "bytes": 1024.0, "mb": 1048576.0}
"""… and the least difference, by form; of counts of the session any."""
LEAST_SHARE = 0.001
MINUTE_MS = 60_000.0
MANY_TIMES = 10.0
"""From here on a change is so many times, not so many percent."""


class Row(NamedTuple):
    """One figure of both sessions, as written; ``change`` is empty where one was not measured, or nothing changed."""

    label: str
    before: str
    after: str
    change: str
    verdict: Verdict


class Compared(NamedTuple):
    """Two sessions.  Issues: those of the later one alone, of the earlier one alone, and of both, as the later has
    them."""

    before: Logs
    after: Logs
    rows: Sequence[Row]
    new: Sequence[Issue]
    gone: Sequence[Issue]
    both: Sequence[Issue]

    @property
    def worse(self) -> list[Row]:
        """What got worse."""
        return [row for row in self.rows if row.verdict == "worse"]

    @property
    def better(self) -> list[Row]:
        """What got better."""
        return [row for row in self.rows if row.verdict == "better"]


def compare(before: Logs, after: Logs) -> Compared:
    """The figures of two sessions, and what is wrong in which."""
    earlier, later = figures(before), figures(after)
    minutes = _minutes(before), _minutes(after)
    rows = [_row(line, earlier[line.figure], later[line.figure], minutes) for line in (*rules().metrics, *BESIDE)]
    was = {one.id: one for one in issues(before, earlier)}
    now = {one.id: one for one in issues(after, later)}
    return Compared(
        before,
        after,
        rows,
        new=[one for name, one in now.items() if name not in was],
        gone=[one for name, one in was.items() if name not in now],
        both=[one for name, one in now.items() if name in was],
    )


def _minutes(logs: Logs) -> float:
    return (logs.session.duration_ms or 0.0) / MINUTE_MS


def _row(line: Line, earlier: Figure, later: Figure, minutes: tuple[float, float]) -> Row:
    form: Form = "ms" if line.form == "trend" else line.form
    label = f"{line.label} (median)" if line.form == "trend" else line.label
    before, after = _single(earlier), _single(later)
    if before is None or after is None:
        return Row(label, written(form, before), written(form, after), "", "")
    rates = before, after
    least = LEAST.get(line.form, LEAST_SHARE)
    if line.figure in OF_SESSION:
        least = 0.0
        if minutes[0] > 0 and minutes[1] > 0:
            rates = before / minutes[0], after / minutes[1]
    return Row(
        label, written(form, before), written(form, after), _change(form, before, after), _verdict(*rates, least)
    )


def _single(figure: Figure) -> float | None:
    if figure is None or isinstance(figure, float | int):
        return figure
    return median(figure) if figure else None


def _verdict(before: float, after: float, least: float) -> Verdict:
    more = after - before
    if more == 0.0 or abs(more) < least or abs(more) <= NOTABLE * before:
        return ""
    return "worse" if more > 0 else "better"


def _change(form: Form, before: float, after: float) -> str:
    if before == after:
        return ""
    more = after - before
    text = f"{'+' if more > 0 else '-'}{written(form, abs(more))}"
    if not before:
        return text
    ratio = after / before
    return f"{text} (×{ratio:.0f})" if ratio >= MANY_TIMES else f"{text} ({ratio - 1.0:+.0%})"
