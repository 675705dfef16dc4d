"""A load as it is now, in a few lines for a terminal: requests, times, errors, each with how it went lately.

It is read from the load's own histograms and windows: some twenty microseconds, however long the load lasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perfsuite.live.picture import SECONDS, rate
from perfsuite.reports.past import BARS
from perfsuite.units import figure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.loadgen import Recording
    from perfsuite.suites.session import Stretch

LABEL = 9
LONGEST_COURSE, SHORTEST_COURSE = 40, 6
"""Columns of what shows how a figure went."""
GAP = 2
TIMES = {"ttft": "ttft", "response_time": "response"}
DIM, BAD, PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[0m"


def lines(stretch: Stretch, width: int, *, coloured: bool, bars: bool = True) -> list[str]:
    """What is to be said of a load, no line wider than ``width`` columns; ``bars``: whether the stream has them."""
    events = stretch.events
    made = _row("load", [f"{stretch.name}: {stretch.spec}"], (), width)
    made += _row("requests", *_requests(events), width)
    for name, label in TIMES.items():
        histogram = events.histogram(name)
        if histogram.count:
            p50, p99 = histogram.quantiles((0.5, 0.99))
            course = [block.mean for block in events.blocks(name) if block.count]
            made += _row(label, [f"p50 {figure(p50, 'ms')}", f"p99 {figure(p99, 'ms')}"], course, width)
    wrong = _row("errors", _errors(events.errors, events.failed, events.completed), (), width)
    if not bars:
        made = [(label, text, "") for label, text, _ in made]
    told = [_told(row, DIM if coloured else "") for row in made]
    return told + [_told(row, BAD if coloured and events.failed else DIM if coloured else "") for row in wrong]


def _requests(events: Recording) -> tuple[list[str], Sequence[float]]:
    """What became of them, and how many came to an end by second."""
    if not events.started and events.warmup:
        return [f"{events.warmup:,} sent to warm up"], ()
    finished = events.windows(SECONDS)["finished"]
    now = rate(finished, events.window_s)
    parts = [] if now is None else [figure(now, "1/s", 3)]
    parts += [f"{events.completed + events.failed:,} done", f"{events.in_flight:,} in flight"]
    parts += [f"{events.waiting:,} waiting"] if events.waiting else []
    return parts, finished[:-1]


def _errors(kinds: Mapping[str, int], failed: int, completed: int) -> list[str]:
    if not failed:
        return ["none"]
    share = figure(failed / (failed + completed), "ratio", 2)
    some = sorted(kinds.items(), key=lambda kind: -kind[1])
    return [f"{failed:,} ({share})", *(f"{kind} {count:,}" for kind, count in some if count)]


Row = tuple[str, str, str]


def _row(label: str, parts: Sequence[str], course: Sequence[float], width: int) -> list[Row]:
    """Label, text and course; parts that have no room in a line are in the next."""
    room = max(1, width - LABEL)
    texts = [""]
    for part in parts:
        longer = f"{texts[-1]}, {part}" if texts[-1] else part
        if len(longer) <= room or not texts[-1]:
            texts[-1] = longer[:room]
        else:
            texts.append(part[:room])
    rows = [(label if at == 0 else "", text, "") for at, text in enumerate(texts)]
    free = min(LONGEST_COURSE, room - len(texts[0]) - GAP)
    if len(course) > 2 and free >= SHORTEST_COURSE:
        rows[0] = (label, texts[0], shape(course[-free:]))
    return rows


def _told(row: Row, look: str) -> str:
    label, text, course = row
    end = PLAIN if look else ""
    if look == BAD:
        return f"{look}{label.ljust(LABEL)}{text}{end}"
    return f"{look}{label.ljust(LABEL)}{end}{text}" + (f"{' ' * GAP}{course}" if course else "")


def shape(values: Sequence[float]) -> str:
    """A character for each value, as high as it is beside the highest of them: nothing is at the bottom."""
    most = max(values)
    if most <= 0.0:
        return BARS[0] * len(values)
    return "".join(BARS[min(len(BARS) - 1, int(max(0.0, value) / most * len(BARS)))] for value in values)
