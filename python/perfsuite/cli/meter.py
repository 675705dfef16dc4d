"""How far a command is, on the terminal."""

from __future__ import annotations

import time
from typing import NamedTuple

from perfsuite.cli.screen import holds, steerable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from perfsuite.runner import Progress
    from perfsuite.suites.session import Stretch

LONGEST_BAR, SHORTEST_BAR = 20, 4
LOOK_S = 1.0
"""A rate is of so many seconds at least."""


class _Seen(NamedTuple):
    stretch: Stretch
    at: float
    ended: int


class Meter:
    """One line on a terminal that says how far a command is, and is wiped at the end; nothing anywhere else."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._live = steerable(stream)
        self._full, self._empty = "█░" if holds(stream, "█░") else "#."
        self._width = 0
        self._last = ""
        self._seen: _Seen | None = None
        self._rate: tuple[str, float] | None = None

    @property
    def live(self) -> bool:
        """Whether anybody watches."""
        return self._live

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Wipes the line."""
        self._draw("")

    def show(self, progress: Progress) -> None:
        """How far a run is."""
        from perfsuite.units import figure

        left = figure(float(round(progress.remaining_s)), "s", 2)
        before, after = f"{progress.phase} {progress.number}/{progress.phases} ", f"{progress.share:4.0%}, {left} left"
        if self._rate is not None and progress.phase == self._rate[0]:
            after += f", {figure(self._rate[1], '1/s', 2)}"
        room = min(LONGEST_BAR, self._room() - len(before) - len(after) - 1)
        if room < SHORTEST_BAR:
            self.tell(before + after.lstrip())
            return
        filled = round(room * min(1.0, max(0.0, progress.share)))
        self.tell(f"{before}{self._full * filled}{self._empty * (room - filled)} {after}")

    def watch(self, phase: str, stretch: Stretch) -> None:
        """What is being driven: how many requests a second came to an end since it was last looked at."""
        now, ended = time.monotonic(), stretch.events.completed + stretch.events.failed
        seen = self._seen
        if seen is None or seen.stretch is not stretch:
            self._seen, self._rate = _Seen(stretch, now, ended), None
        elif now - seen.at >= LOOK_S:
            self._rate = (phase, (ended - seen.ended) / (now - seen.at))
            self._seen = _Seen(stretch, now, ended)

    def tell(self, line: str) -> None:
        """Puts that in place of the line, where it reads differently."""
        if line != self._last:
            self._draw(line)
            self._last = line

    def say(self, text: str) -> None:
        """A line of its own, on a terminal or not."""
        if self._stream is None:
            return
        self.clear()
        self._write(f"perfsuite: {text}\n")

    def _draw(self, line: str) -> None:
        if not self._live or (not line and not self._width):
            return
        line = line[: self._room()]
        self._write("\r" + line.ljust(min(self._width, self._room())) + ("\r" if not line else ""))
        self._width = len(line)

    def _room(self) -> int:
        """Columns of a line; the last one stays free, since some terminals go on to the next line after it."""
        import shutil

        return max(10, shutil.get_terminal_size().columns - 1)

    def _write(self, text: str) -> None:
        assert self._stream is not None
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._live = False  # nobody watches any more; the run goes on
