"""How a probe's figure went over the time of its phase: its mean in slices of time, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 0.125
MOST = 512
"""Slices; when a later one is needed, neighbours become one in pairs, of twice the width."""


@dataclass(slots=True)
class Slice:
    """``part`` of ``whole``, of all that was seen from ``t_s`` on."""

    t_s: float
    part: float
    whole: float


class Course:
    """A sum of parts and of wholes for each slice of time: readings are parts of 1, ratios parts of what they are of.

    What is added is kept exactly, whatever its time; only how finely times are told apart becomes coarser.
    """

    def __init__(self) -> None:
        self._width_s = FIRST_S
        self._slices: dict[int, Slice] = {}

    def add(self, t_s: float, part: float, whole: float = 1.0) -> None:
        """One more, ``t_s`` seconds into the phase."""
        while t_s >= self._width_s * MOST:
            self._halve()
        self._put(int(max(0.0, t_s) / self._width_s), Slice(t_s, part, whole))

    def series(self, *, complement: bool = False) -> list[tuple[float, float]]:
        """The ratio of each slice, by when the first of it came; ``complement``: 1 less the ratio.  Slices of nothing
        are left out."""
        ordered = (self._slices[number] for number in sorted(self._slices))
        ratios = [(one.t_s, one.part / one.whole) for one in ordered if one.whole > 0.0]
        return [(t_s, 1.0 - ratio) for t_s, ratio in ratios] if complement else ratios

    def _put(self, number: int, one: Slice) -> None:
        there = self._slices.setdefault(number, one)
        if there is not one:
            there.t_s = min(there.t_s, one.t_s)
            there.part += one.part
            there.whole += one.whole

    def _halve(self) -> None:
        self._width_s *= 2.0
        before, self._slices = self._slices, {}
        for number in sorted(before):
            self._put(number // 2, before[number])
