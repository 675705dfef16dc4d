"""How far a command is, on the terminal."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from perfsuite.runner import Progress


class Meter:
    """One line on a terminal that says how far a command is, and is wiped at the end; nothing anywhere else."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._live = stream is not None and stream.isatty()
        self._width = 0
        self._last = ""

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
        filled = round(20 * min(1.0, max(0.0, progress.share)))
        bar = "█" * filled + "░" * (20 - filled)
        self.tell(f"{progress.phase} {progress.number}/{progress.phases} {bar} {progress.share:4.0%}, {left} left")

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
        import shutil

        line = line[: max(10, shutil.get_terminal_size().columns - 1)]
        self._write("\r" + line.ljust(self._width) + ("\r" if not line else ""))
        self._width = len(line)

    def _write(self, text: str) -> None:
        assert self._stream is not None
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._live = False  # nobody watches any more; the run goes on
