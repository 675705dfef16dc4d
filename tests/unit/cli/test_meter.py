"""What stands on a terminal while a load is driven, seen through a small terminal of the test's own."""

from __future__ import annotations

import io
import os
import re
import time
from types import SimpleNamespace
from typing import Any

import pytest

from perfsuite._core import ERROR_KINDS, Events
from perfsuite.cli import meter as metering
from perfsuite.cli.load_view import lines, shape
from perfsuite.cli.meter import REST_S, Meter
from perfsuite.reports.tables import columns
from perfsuite.runner import Progress

SECOND = 10**9
HOUR = 3600 * SECOND
PIECES = re.compile(r"\x1b\[(\d*)([A-Za-z])|([^\x1b])", re.DOTALL)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Ascii(Terminal):
    encoding = "ascii"  # type: ignore[assignment]


def screen(written: str) -> list[str]:
    """The lines that stand on a terminal after all that was written to it."""
    rows: list[list[str]] = [[]]
    at = column = 0
    for number, command, character in PIECES.findall(written):
        row = rows[at]
        if command == "A":
            at -= int(number)
            assert at >= 0, "above the first line"
        elif command == "K":
            del row[column:]
        elif command == "J":
            del row[column:], rows[at + 1 :]
        elif command:
            assert command == "m", command
        elif character == "\r":
            column = 0
        elif character == "\n":
            at, column = at + 1, 0
            rows += [[]] * (at == len(rows))
            rows[at] = list(rows[at])
        else:
            row += " " * (column + 1 - len(row))
            row[column] = character
            column += 1
    return ["".join(row).rstrip() for row in rows]


def stretch(seconds: int = 20, failed: int = 3, **given: Any) -> Any:
    """A load of ten requests a second, the first of which failed."""
    start = time.monotonic_ns() + HOUR  # the recorder's own clock adds no windows then
    events = Events(10, 0, 5000.0, None, 64, False, start)
    for i in range(seconds * 10):
        due = start + i * SECOND // 10
        row = events.begin(due)
        row.sent(due)
        row.token(at_ns=due + 30_000_000)
        row.end(ERROR_KINDS.index("timeout") if i < failed else 0, at_ns=due + 80_000_000)
    return SimpleNamespace(**{"name": "held", "spec": "1 in flight", "events": events, "delivered": None} | given)


def far(share: float = 0.5) -> Progress:
    return Progress(phase="load", number=3, phases=5, share=share, remaining_s=42.4)


@pytest.fixture(autouse=True)
def sized(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COLUMNS", "80"), ("LINES", "24"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, which goes on when the test says so."""
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(metering, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


def test_a_load_s_figures_stand_below_the_line_and_are_wiped() -> None:
    stream = Terminal()
    with Meter(stream) as meter:
        meter.watch(stretch())
        meter.show(far())
        seen = screen(stream.getvalue())
        assert seen[0].startswith("load 3/5 ██████████░░░░░░░░░░  50%, 42 s left")
        assert seen[1] == "load     held: 1 in flight"
        assert seen[2].startswith("requests 10/s, 200 done, 0 in flight  █")
        assert seen[3].startswith("ttft     p50 30 ms, p99 30 ms  █")
        assert seen[4].startswith("response p50 80 ms, p99 80 ms  █")
        assert seen[5:] == ["errors   3 (1.5 %), timeout 3"]
    assert screen(stream.getvalue()) == [""]


def test_they_are_the_engine_s_own() -> None:
    one = stretch()
    events = one.events
    assert (events.completed, events.failed, events.in_flight) == (197, 3, 0)
    p50, p99 = events.histogram("ttft").quantiles((0.5, 0.99))
    assert f"p50 {p50:.3g} ms, p99 {p99:.3g} ms" in "\n".join(lines(one, 79, coloured=False))


def test_it_is_drawn_no_more_often_than_it_rests(clock: SimpleNamespace) -> None:
    stream = Terminal()
    with Meter(stream) as meter:
        for tick in range(40):  # ten seconds
            meter.watch(stretch(seconds=tick + 1))
            meter.show(far(tick / 40))
            clock.s += 0.25
        drawn = stream.getvalue().count("load 3/5")
    assert drawn == 10.0 / REST_S == 20


def test_it_takes_nothing_of_a_load_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    untouchable = SimpleNamespace()
    for stream, term in ((io.StringIO(), "xterm"), (Terminal(), "dumb"), (None, "xterm")):
        monkeypatch.setenv("TERM", term)
        with Meter(stream) as meter:
            meter.watch(untouchable)  # type: ignore[arg-type]
            meter.show(far())
        assert stream is None or stream.getvalue() == ""


def test_what_a_target_prints_meanwhile_stays(clock: SimpleNamespace) -> None:
    stream = Terminal()
    with Meter(stream) as meter:
        meter.watch(stretch())
        meter.show(far())
        stream.write("a target's own words, longer than the line that stands there at that time of the run\n")
        clock.s += 1.0
        meter.show(far(0.6))
        meter.say("a word")
        clock.s += 1.0
        meter.show(far(0.7))
        seen = screen(stream.getvalue())
        assert seen[0].startswith("a target's own words")
        assert seen[1] == "perfsuite: a word"
        assert seen[2].startswith("load 3/5")
        assert sum(line.startswith("load 3/5") for line in seen) == 1
    assert len(screen(stream.getvalue())) == 3


def test_no_load_no_figures(clock: SimpleNamespace) -> None:
    stream = Terminal()
    with Meter(stream) as meter:
        meter.watch(stretch())
        meter.show(far())
        meter.watch(stretch(delivered=object()))
        clock.s += 1.0
        meter.show(far(0.7))
        assert len(screen(stream.getvalue())) == 1
        assert "errors" not in screen(stream.getvalue())[0]


def test_a_terminal_without_room_has_the_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "6")
    stream = Terminal()
    with Meter(stream) as meter:
        meter.watch(stretch())
        meter.show(far())
        assert len(screen(stream.getvalue())) == 1
        assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("width", [40, 60, 200])
def test_no_line_is_wider_and_every_figure_is_there(width: int) -> None:
    one = stretch(spec="1,234,567 users, a request every 12.5 s each")
    told = lines(one, width - 1, coloured=False)
    assert max(map(columns, told)) < width
    text = re.sub(r"\s+", " ", " ".join(told))
    for figure in ("10/s", "200 done", "0 in flight", "p50 30 ms, p99 30 ms", "p50 80 ms", "3 (1.5 %)", "timeout 3"):
        assert figure in text


def test_colours_are_for_those_who_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [line.startswith("\x1b[31merrors") for line in lines(stretch(), 79, coloured=True)][-1]
    assert not any("\x1b[31m" in line for line in lines(stretch(failed=0), 79, coloured=True))
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with Meter(stream) as meter:
        meter.watch(stretch())
        meter.show(far())
    assert re.search(r"\x1b\[[\d;]*m", stream.getvalue()) is None
    assert os.environ["NO_COLOR"] == "1"


def test_a_stream_without_bars_gets_none() -> None:
    stream = Ascii()
    with Meter(stream) as meter:
        meter.watch(stretch())
        meter.show(far())
    assert stream.getvalue().isascii()
    assert "p50 30 ms, p99 30 ms" in stream.getvalue()


def test_a_warm_up_says_so() -> None:
    events = Events(10, 60 * SECOND, 5000.0, None, 64, False, 0)
    row = events.begin(0)
    row.sent(0)
    row.end(0, at_ns=SECOND)
    assert "requests 1 sent to warm up" in "\n".join(lines(stretch(events=events), 79, coloured=False))


def test_the_shape_of_what_came_begins_at_nothing() -> None:
    assert shape([0.0, 1.0, 2.0]) == "▁▅█"
    assert shape([0.0, 0.0]) == "▁▁"
    assert shape([10.0, 10.1]) == "██"  # beside nothing, they are alike
