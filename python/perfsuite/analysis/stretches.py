"""A run as several short ones that follow each other: their medians, means, rates and shares.

The measured time of one process is cut into consecutive stretches of about as many samples each.  Their spread tells
how well the run knows its own figure, whatever its samples have to do with one another (batch means; 10 to 30 of them
are enough: Schmeiser, Operations Research 30, 1982).  It does not tell how far another process would lie from this
one: ``analysis.alone`` allows for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from perfsuite._core import Histogram

MOST = 10
FEWEST = 3
FEWEST_SAMPLES = 5
"""In a stretch."""


def of_blocks(blocks: Sequence[Histogram]) -> dict[str, list[float]]:
    """``p50`` and ``mean`` of each stretch, from histograms of consecutive slices of time (oldest first); empty where
    there are too few samples or slices for FEWEST stretches."""
    made: list[Histogram] = []
    for part in _cut([block.count for block in blocks]):
        merged = blocks[part[0]].copy()
        for index in part[1:]:
            merged.merge(blocks[index])
        made.append(merged)
    return {"p50": [one.quantile(0.5) for one in made], "mean": [one.mean for one in made]} if made else {}


def of_ratios(parts: Sequence[float], wholes: Sequence[float], samples: Sequence[float]) -> list[float]:
    """The sum of the parts over that of the wholes, in each stretch.

    All are of consecutive blocks: operations and the seconds that they took, hits and trials; ``samples``: how many
    each block stands for."""
    ratios = []
    for stretch in _cut([round(count) for count in samples]):
        whole = sum(wholes[index] for index in stretch)
        if not whole > 0.0:
            return []
        ratios.append(sum(parts[index] for index in stretch) / whole)
    return ratios


def of_highest(readings: Sequence[float]) -> list[float]:
    """The highest reading of each stretch; a reading is what it is, so that a stretch may have but one."""
    number = min(MOST, len(readings))
    if number < FEWEST:
        return []
    bounds = [index * len(readings) // number for index in range(number + 1)]
    return [max(readings[low:high]) for low, high in pairwise(bounds)]


def _cut(counts: Sequence[int]) -> list[list[int]]:
    """The indices of consecutive blocks, in stretches of about the same count; none where they would be too few."""
    total, filled = sum(counts), sum(count > 0 for count in counts)
    for number in range(min(MOST, filled, total // FEWEST_SAMPLES), FEWEST - 1, -1):
        parts: list[list[int]] = [[] for _ in range(number)]
        before = 0
        for index, count in enumerate(counts):
            if count > 0:
                # By the middle of the block, so that one that straddles a boundary goes where most of it is.
                parts[min(number - 1, int((before + count / 2) * number / total))].append(index)
                before += count
        if all(sum(counts[index] for index in part) >= FEWEST_SAMPLES for part in parts):
            return parts
    return []
