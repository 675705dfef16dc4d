"""Lengths in tokens, drawn from a seed."""

from __future__ import annotations

import math
import random

from perfsuite.units import TokenLength


def draw(length: TokenLength, rng: random.Random) -> int:
    """One length of 1 token or more: the mean itself, or log-normal with that mean and standard deviation, as the
    lengths of real prompts and answers are about."""
    if not length.sd:
        return length.mean
    # The two parameters that give the logarithm's normal law this mean and spread.
    variance = math.log1p((length.sd / length.mean) ** 2)
    return max(1, round(rng.lognormvariate(math.log(length.mean) - variance / 2, math.sqrt(variance))))
