"""Real English prose that every Python has: the sentences of ``pydoc_data.topics``, its language reference.

The text differs a little between versions of Python; ``corpus_id`` tells one from another, so that two runs can say
whether they spoke the same sentences.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from functools import cache

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_RULE = re.compile(r"[*=\-~^\"'+. ]+")
SHORTEST, LONGEST = 40, 300


@cache
def corpus() -> tuple[str, ...]:
    """Every sentence once, in the order of the topics' names.  About a thousand, 120 characters on average."""
    from pydoc_data.topics import topics

    found: dict[str, None] = {}
    for name in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            lines = paragraph.split("\n")
            if any(line.startswith(("   ", "|")) for line in lines) or _RULE.fullmatch(lines[-1]):
                continue  # code, grammar, tables, headings
            for sentence in _SENTENCE_END.split(" ".join(line.strip() for line in lines)):
                if SHORTEST <= len(sentence) <= LONGEST and sentence[0].isupper() and sentence.endswith("."):
                    found[sentence] = None
    return tuple(found)


@cache
def corpus_id() -> str:
    """A digest of the corpus."""
    return hashlib.blake2b("\n".join(corpus()).encode(), digest_size=8).hexdigest()


def sentences(seed: int) -> Iterator[str]:
    """Sentences without end: the corpus in an order of the seed's, then in another, and so on."""
    rng = random.Random(f"prose {seed}")
    order = list(corpus())
    while True:
        rng.shuffle(order)
        yield from order


@cache
def passages(count: int) -> tuple[str, ...]:
    """``count`` passages of two to four consecutive sentences, spread over the corpus; the same for every seed, because
    what a user says again is said in the same words."""
    lines = corpus()
    found = []
    for number in range(count):
        start = number * len(lines) // count
        found.append(" ".join(lines[start : start + 2 + number % 3]))
    return tuple(found)
