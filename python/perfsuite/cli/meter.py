"""How far a command is, on the terminal: a line, and while a load is driven what comes of it below."""

from __future__ import annotations

import time

from perfsuite.cli.screen import coloured, holds, steerable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from perfsuite.runner import Progress
    from perfsuite.suites.session import Stretch

LONGEST_BAR, SHORTEST_BAR = 20, 4
REST_S = 0.5
"""Between two drawings of how far a run is."""
DOWN, REST_OF_LINE, BELOW = "\n", "\x1b[K", "\x1b[J"


class Meter:
    """A line on a terminal that says how far a command is, a load's figures below it while one is driven; all of it is
    wiped at the end.  Nothing anywhere else."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._live = steerable(stream)
        self._coloured = coloured(stream)
        self._bars = holds(stream, "█░▁")
        self._full, self._empty = "█░" if self._bars else "#."
        self._width = 0
        self._block = False
        self._last: Sequence[str] = ()
        self._drawn_at: float | None = None
        self._stretch: Stretch | None = None

    @property
    def live(self) -> bool:
        """Whether anybody watches."""
        return self._live

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Wipes what is there."""
        self._draw([""])
        self._last, self._drawn_at = (), None

    def show(self, progress: Progress) -> None:
        """How far a run is, and the load that ``watch`` was told of; drawn every REST_S at most."""
        now = time.monotonic()
        if not self._live or (self._drawn_at is not None and now - self._drawn_at < REST_S):
            return
        lines = [self._bar(progress), *self._figures()]
        if lines != self._last:
            self._draw(lines)
            self._last = lines
        self._drawn_at = now

    def watch(self, stretch: Stretch) -> None:
        """What is being driven."""
        self._stretch = stretch

    def tell(self, line: str) -> None:
        """Puts that in place of what is there, where it reads differently."""
        if [line] != self._last:
            self._draw([line])
            self._last = [line]

    def say(self, text: str) -> None:
        """A line of its own, on a terminal or not."""
        if self._stream is None:
            return
        self.clear()
        self._write(f"perfsuite: {text}\n")

    def _bar(self, progress: Progress) -> str:
        from perfsuite.units import figure

        left = figure(float(round(progress.remaining_s)), "s", 2)
        before, after = f"{progress.phase} {progress.number}/{progress.phases} ", f"{progress.share:4.0%}, {left} left"
        room = min(LONGEST_BAR, self._room() - len(before) - len(after) - 1)
        if room < SHORTEST_BAR:
            return before + after.lstrip()
        filled = round(room * min(1.0, max(0.0, progress.share)))
        return f"{before}{self._full * filled}{self._empty * (room - filled)} {after}"

    def _figures(self) -> list[str]:
        """Of the load that goes on, if one does and there is room below the line."""
        import shutil

        from perfsuite.cli.load_view import lines  # here, so that it is loaded before the first load begins

        if self._stretch is None or self._stretch.delivered is not None:
            return []
        found = lines(self._stretch, self._room(), coloured=self._coloured, bars=self._bars)
        return found if len(found) + 2 <= shutil.get_terminal_size().lines else []

    def _draw(self, lines: Sequence[str]) -> None:
        """One line is drawn without steering codes.  Below several the cursor goes back to the first: what a target
        prints meanwhile is written over it and stays, with the next drawing below."""
        bare = lines == [""]
        if not self._live or (bare and not self._width):
            return
        head = lines[0][: self._room()]
        if self._block or len(lines) > 1:
            text = DOWN.join(line + REST_OF_LINE for line in [head, *lines[1:]]) + BELOW
            up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
            self._write(f"\r{text}{up}\r")
        else:
            self._write("\r" + head.ljust(min(self._width, self._room())) + ("\r" if bare else ""))
        self._width = len(head)
        self._block = len(lines) > 1

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
