"""Which memories a question's words point to, by full text, without reading more of the index than an answer needs.

A plain OR over the words of a question ranks every memory that has any of them: tens of thousands of rows for a handful
of results.  Here common words never choose, they only confirm:

1. Each word's newest memories are read, COMMON of them at most.  A word with fewer is *rare*, and its list is whole;
   of a common one, how densely its newest lie estimates how many there are.
2. The memories of the rare words are the candidates; what common words are in them is asked of the index by
   conjunctions, which skip through the long lists from candidate to candidate.
3. A memory that is no candidate can have common words only.  While that would be enough to be among the best, the
   conjunctions of the common words are looked at too, one word less each time.

So the rows read are bounded by the question's words and COMMON, not by how many memories there are.  The weight of a
word is BM25's inverse document frequency (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
Beyond", 2009); the reason that step 3 may stop is that of MaxScore (Turtle and Flood, 1995).

A memory's row is its owner's number and its own: one owner's are a range of rows, and the index reads only the range.
(A column for the owner made each conjunction walk the list of all that the owner has: four times the time.)
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from math import log
from typing import NamedTuple

from perfsuite.reference.model import STOP_WORDS

OWNER_BITS = 32
"""Low bits of a row: the number of the memory; above them the owner's."""
COMMON = 128
"""Memories of one word beyond which it is common."""
CANDIDATES = 1024
"""Memories that the rare words of a question bring in, the rarest word's first."""
WORDS = 32
"""Words of a question that are looked for; of a longer one the first."""
_WORD = re.compile(r"[^\W_]+")


class Found(NamedTuple):
    """A memory's row, and the share of the question's weight that its words carry, 0…1."""

    row: int
    share: float


def words_of(text: str) -> list[str]:
    """The words that carry a text's meaning, of any alphabet, in order, each once."""
    return list(dict.fromkeys(word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS))


def rows_of(owner: int) -> tuple[int, int]:
    """The first and the last row that an owner's memories can have."""
    return owner << OWNER_BITS, (owner + 1 << OWNER_BITS) - 1


class Index:
    """The full-text index of the memories of all users."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def having_all(self, owner: int, words: Sequence[str], limit: int) -> list[int]:
        """Rows of the owner's memories with all the words, the newest first."""
        return self._rows(owner, " AND ".join(map(_quoted, words[:WORDS])), limit)

    def nearest(self, owner: int, words: Sequence[str], limit: int) -> list[Found]:
        """The owner's memories whose words carry the most of the question's weight, the newest of equals first."""
        first, last = rows_of(owner)
        newest = self._connection.execute(
            "SELECT coalesce(max(id), ?) FROM memories WHERE id BETWEEN ? AND ?", (first, first, last)
        ).fetchone()[0]
        count = newest - first
        rare: dict[str, list[int]] = {}
        common: dict[str, float] = {}
        for word in words[:WORDS]:
            rows = self._rows(owner, _quoted(word), COMMON)
            if len(rows) < COMMON:
                rare[word] = rows
            else:
                common[word] = _weight(COMMON * count / (newest - rows[-1] + 1), count)
        scores: dict[int, float] = {}
        weights = {word: _weight(len(rows), count) for word, rows in rare.items()}
        for word, rows in sorted(rare.items(), key=lambda item: len(item[1])):
            for row in rows:
                if row in scores or len(scores) < CANDIDATES:
                    scores[row] = scores.get(row, 0.0) + weights[word]
        if scores:
            some = " OR ".join(_quoted(word) for word, rows in rare.items() if rows)
            for word in common:
                for row in self._rows(owner, f"{_quoted(word)} AND ({some})", CANDIDATES):
                    if row in scores:
                        scores[row] += common[word]
        self._add_without_rare(owner, common, scores, limit)
        whole = sum(weights.values()) + sum(common.values())
        best = sorted(scores.items(), key=lambda item: (-item[1], -item[0]))[:limit]
        return [Found(row, round(score / whole, 9)) for row, score in best]  # the same words, whatever their order

    def _add_without_rare(self, owner: int, common: dict[str, float], scores: dict[int, float], limit: int) -> None:
        words = sorted(common, key=lambda word: (-common[word], word))
        while words:
            weight = sum(common[word] for word in words)
            enough = sorted(scores.values(), reverse=True)[:limit]
            if len(enough) == limit and enough[-1] >= weight:
                return
            for row in self._rows(owner, " AND ".join(map(_quoted, words)), limit):
                scores[row] = max(weight, scores.get(row, 0.0))
            words.pop()

    def _rows(self, owner: int, terms: str, limit: int) -> list[int]:
        found = self._connection.execute(
            "SELECT rowid FROM memory_index WHERE memory_index MATCH ? AND rowid BETWEEN ? AND ? "
            "ORDER BY rowid DESC LIMIT ?",
            (terms, *rows_of(owner), limit),
        )
        return [row for (row,) in found]


def _quoted(word: str) -> str:
    return f'"{word}"'


def _weight(having: float, of: int) -> float:
    return log(1 + (of - min(having, of) + 0.5) / (min(having, of) + 0.5))
