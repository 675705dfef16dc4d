"""The values of a run in pieces of its time, however many there will be: what stretches are made of."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from perfsuite._core import Histogram

MOST = 40
SMALLEST = 5
"""Values in a piece, until there are MOST pieces; then every two become one, of twice as many."""


class Pieces:
    """Histograms of consecutive values, oldest first; at most MOST of them."""

    def __init__(self) -> None:
        self.histograms: list[Histogram] = []
        self._size = SMALLEST

    def add(self, values: Iterable[float]) -> None:
        """Further values, in their order."""
        for value in values:
            if not self.histograms or self.histograms[-1].count >= self._size:
                if len(self.histograms) >= MOST:
                    self._halve()
                self.histograms.append(Histogram(precision=10))
            self.histograms[-1].record(value)

    def _halve(self) -> None:
        self._size *= 2
        pairs = zip_longest(self.histograms[::2], self.histograms[1::2])
        self.histograms = [one if other is None else one + other for one, other in pairs]
