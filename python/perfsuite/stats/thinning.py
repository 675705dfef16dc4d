"""Fewer points of a series, for files and charts: what stands out stays."""

from __future__ import annotations

import math
from collections.abc import Sequence


def extremes(values: Sequence[float], most: int) -> Sequence[int]:
    """The indices of at most ``most`` (3 or more) of the values, in order: all of them where they are no more, else the
    first, the last, and of each stretch the lowest and the highest.  NaN stands out nowhere."""
    n = len(values)
    if n <= most:
        return range(n)
    kept = {0, n - 1}
    stretches = max(1, (most - 2) // 2)
    for i in range(stretches):
        stretch = [k for k in range(i * n // stretches, (i + 1) * n // stretches) if not math.isnan(values[k])]
        if stretch:
            kept |= {min(stretch, key=values.__getitem__), max(stretch, key=values.__getitem__)}
    return sorted(kept)
