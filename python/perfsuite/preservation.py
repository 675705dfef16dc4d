"""How much of a text survives compression, summarising or a round trip through a memory."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from perfsuite import _core


class Preservation(NamedTuple):
    """F1 scores, 0 to 1, of a recovered text against its original."""

    rouge1: float
    """Single words in common (ROUGE-1; C.-Y. Lin, "ROUGE", 2004)."""
    rouge2: float
    """Pairs of neighbouring words in common (ROUGE-2)."""
    rouge_l: float
    """The longest common subsequence of words (ROUGE-L)."""
    token_f1: float
    """Words in common in any script, as SQuAD counts them; 1 where neither text has a word."""


def text_preservation(original: str, recovered: str) -> Preservation:
    """Scores `recovered` against `original`.

    The ROUGE scores are those of Google's ``rouge_score.RougeScorer(use_stemmer=False)``, to the last bit; as there,
    words are runs of a-z and 0-9 in lower case, so a text in another script scores 0.  `token_f1` is of Unicode words
    (NFKC, case-folded; each character by itself in scripts without spaces), so that such a text is measured too; for
    plain ASCII it equals `rouge1`.

    Long texts take time in proportion to the product of their lengths / 64: 0.1 ms for 10 KB, about a second for 1 MB;
    the GIL is released meanwhile.
    """
    for name, text in (("original", original), ("recovered", recovered)):
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a str, not {type(text).__name__}")
    if original.isascii() and recovered.isascii():
        return Preservation(*_core.text_overlap(original, recovered, original, recovered))
    return Preservation(*_core.text_overlap(original.lower(), recovered.lower(), _fold(original), _fold(recovered)))


def surviving(facts: Iterable[str], text: str) -> tuple[bool, ...]:
    """Which of the planted facts are still in the text, in order; their sum is the number of hits.

    A fact survives when its words stand in the text one after the other, whatever their case and what is between them
    ("Flat 7-B" is in "flat 7 b"; "art" is not in "party").  A fact without a word (an emoji) must be there as it is.
    """
    folded = _fold(text)
    line = _core.word_line(folded)
    found = []
    for fact in facts:
        wanted = _fold(fact)
        if not wanted:
            raise ValueError("an empty fact cannot survive or be lost: give the planted value")
        words = _core.word_line(wanted)
        found.append(words in line if words != " " else wanted in folded)
    return tuple(found)


def _fold(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
