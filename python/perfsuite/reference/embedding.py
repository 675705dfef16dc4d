"""Embeddings without a model: words and letter trigrams hashed into 384 signed buckets.

Feature hashing (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009): each feature adds
+1 or -1, by one bit of its hash, to the bucket that the other bits choose; the vector is then scaled to length 1.
CRC-32 makes it the same in every process.  It knows spelling, not meaning: it ranks, it does not understand.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from math import sqrt
from operator import mul
from zlib import crc32

DIMENSION = 384
WORD_WEIGHT = 2.0
_WORD = re.compile(r"\w+")


def embed(text: str, dimension: int = DIMENSION) -> array[float]:
    """The text's vector of so many floats, of length 1 (or 0 when there is no word in it)."""
    vector = [0.0] * dimension
    for word in _WORD.findall(text.lower()):
        data = f"^{word}$".encode("utf-8", "replace")
        hashed = crc32(data)
        vector[(hashed >> 1) % dimension] += WORD_WEIGHT if hashed & 1 else -WORD_WEIGHT
        for start in range(len(data) - 2):
            hashed = crc32(data[start : start + 3])
            vector[(hashed >> 1) % dimension] += 1.0 if hashed & 1 else -1.0
    norm = sqrt(sum(map(mul, vector, vector)))
    return array("f", [value / norm for value in vector] if norm else vector)


def similarity(a: Sequence[float], b: Sequence[float]) -> float:
    """The cosine of two vectors of length 1."""
    return float(sum(map(mul, a, b)))
