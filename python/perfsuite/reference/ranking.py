"""Which of the memories that full text found are about a question, and which of them hold."""

from __future__ import annotations

from collections.abc import Sequence

from perfsuite.reference.retrieval import Found, words_of

SAME = 0.75
"""Of its words: a memory that has more of another's is about the same."""
BEHIND = 0.99
"""Of the least similarity of those that the question's words do not tell from it: what was corrected has that."""


def covers(text: str, words: list[str]) -> bool:
    """Whether most of the words are in a text, the endings of plain words aside."""
    said = " ".join(["", *words_of(text), ""])
    stems = (f" {word[: max(4, len(word) - 2)]}" if word.isalpha() else f" {word} " for word in words)
    return 2 * sum(stem in said for stem in stems) > len(words)


def without_stale(known: Sequence[tuple[Found, str]], nearness: Sequence[float]) -> list[float]:
    """The nearness of each, less where a newer one seems to correct it: behind all that the question's words do not
    tell from it."""
    found = list(nearness)
    for index in _superseded(known):
        share = known[index][0].share
        found[index] = BEHIND * min(near for (one, _), near in zip(known, found, strict=True) if one.share == share)
    return found


def _superseded(known: Sequence[tuple[Found, str]]) -> list[int]:
    """Indexes of those that a newer one seems to correct: it has the same of the question's words, and most of the
    others too, one aside for what is new."""
    stale = []
    words = [set(words_of(text)) for _, text in known]
    for index, ((old, _), said) in enumerate(zip(known, words, strict=True)):
        for (new, _), again in zip(known, words, strict=True):
            if new.row <= old.row or new.share != old.share or said <= again or again <= said:
                continue
            if len(said & again) > SAME * (min(len(said), len(again)) - 1):
                stale.append(index)
                break
    return stale
