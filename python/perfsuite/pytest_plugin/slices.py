"""The samples of a test by consecutive slices, which tell how much they depend on one another."""

from __future__ import annotations

from perfsuite._core import Histogram

MOST = 64


class Slices:
    """Every sample once more, in at most MOST slices of equally many; when there are more, two become one."""

    def __init__(self) -> None:
        self.made: list[Histogram] = []
        self.count = 0
        self._each = 1

    def record(self, ms: float) -> None:
        """The next sample, in milliseconds."""
        if not self.made or self.made[-1].count >= self._each:
            if len(self.made) == MOST:
                self.made = [first + second for first, second in zip(self.made[::2], self.made[1::2], strict=True)]
                self._each *= 2
            self.made.append(Histogram())
        self.made[-1].record(ms)
        self.count += 1
