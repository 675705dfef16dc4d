"""Zipf's law: the item of rank r is drawn with a probability proportional to r ** -exponent."""

from __future__ import annotations

import random
from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate


@lru_cache(maxsize=256)
def _running_sums(n: int, exponent: float) -> tuple[float, ...]:
    return tuple(accumulate((rank + 1) ** -exponent for rank in range(n)))


class Zipf:
    """Draws ranks 0 … n - 1, the lower the likelier.  ``exponent`` 0 is uniform.

    All of one size and exponent share their running sums; a draw is one random number and one bisection.
    """

    def __init__(self, n: int, exponent: float, rng: random.Random) -> None:
        if n < 1:
            raise ValueError(f"Zipf needs 1 item or more, not {n}")
        if not 0 <= exponent < 100:
            raise ValueError(f"Zipf's exponent must be in 0…100, not {exponent}")
        self.exponent = exponent
        self._sums = _running_sums(n, exponent)
        self._random = rng.random

    def __len__(self) -> int:
        return len(self._sums)

    def draw(self) -> int:
        """A rank."""
        sums = self._sums
        return min(bisect_left(sums, self._random() * sums[-1]), len(sums) - 1)
