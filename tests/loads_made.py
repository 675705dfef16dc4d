"""Loads on systems of so many slots, by arithmetic: no time passes, and what the systems bear is known."""

from __future__ import annotations

import heapq
import random

from perfsuite.analysis.levels import Flow


def flow(seed: object, rate: float, seconds: float, slots: int, takes: str, *, regular: bool = False) -> Flow:
    """``round(rate * seconds)`` requests, at random times, at a system with ``slots`` that each take one at a time.

    ``takes``: "always S", "evenly S" (half to one and a half of S seconds) or "at random S" (exponential, mean S).
    """
    rng = random.Random(f"{seed} {rate} {seconds}")
    kind, _, mean = takes.rpartition(" ")
    number, of = max(1, round(rate * seconds)), float(mean)
    if regular:
        due = [index / rate for index in range(number)]
    else:
        due = sorted(rng.uniform(0.0, seconds) for _ in range(number))
    draw = {
        "always": lambda: of,
        "evenly": lambda: of * rng.uniform(0.5, 1.5),
        "at random": lambda: rng.expovariate(1 / of),
    }
    free = [0.0] * slots
    ended = []
    for at in due:
        ended.append(max(at, heapq.heappop(free)) + draw[kind]())
        heapq.heappush(free, ended[-1])
    return Flow(seconds, due, ended, regular)
