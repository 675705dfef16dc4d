"""What a memory system's answers are worth, held against what is known to be relevant.  Pure.

A hit counts for a memory when its text carries the memory's marker, so that a system which rewrites what it stores is
judged by what it would give a model to read.  Memories without markers (published sets) are recognised by their text,
or by the ids that the system itself gave for them.

One giant hit that holds everything wins nothing.  In a ranking it takes as many places as memories of the longest
stored length would, each with what that part of its text carries; and recall is also taken within a number of returned
tokens: the hits in their order, cut where the budget ends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from perfsuite.memory.base import Hit
from perfsuite.stats import Interval, cluster_mean_interval, cluster_share_interval
from perfsuite.workloads.memories import Memory, Question

BUDGETS = (500, 2_000)
FLOOR = 0.8
"""Recall on verbatim questions below which a latency says nothing: answers without the facts may take any time."""
LONGEST_TOKEN = 24
"""Characters, in text that is not made to mislead: it bounds how much of a giant hit is counted."""
_WORD = re.compile(r"\w+")
_FIRST = re.compile(r"\w+|.", re.DOTALL)


class Measure(NamedTuple):
    """A figure of the answers.  Reports show every one of them, in this order, with this title.

    ``better``: the end of its scale that is better.  ``kept``: whether the history keeps it, for later runs to be held
    against.  ``unit``: a ratio lies from 0 to 1.  ``pooled``: it is of questions of all kinds together, and there is
    none of one kind.
    """

    title: str
    meaning: str
    better: Literal["higher", "lower"]
    kept: bool
    unit: str = "ratio"
    pooled: bool = False

    @property
    def share(self) -> bool:
        """Whether it lies from 0 to 1."""
        return self.unit == "ratio"


HEADLINE = "recall_500"
MEASURES: Mapping[str, Measure] = {
    HEADLINE: Measure(
        "recall in 500 tokens", "relevant memories within 500 returned tokens / relevant memories", "higher", kept=True
    ),
    "recall_2000": Measure("recall in 2,000 tokens", "the same within 2,000 returned tokens", "higher", kept=False),
    "recall_1": Measure("recall@1", "relevant memories in the first place / relevant memories", "higher", kept=False),
    "recall_k": Measure("recall@k", "relevant memories in the first k places / relevant memories", "higher", kept=True),
    "precision_k": Measure(
        "precision@k",
        "places with a relevant memory / places taken, of k; 0 where nothing was returned",
        "higher",
        kept=False,
    ),
    "mrr": Measure("MRR", "1 / place of the first relevant memory; 0 where it is after k", "higher", kept=True),
    "ndcg_k": Measure("nDCG@k", "discounted gain of relevant places / the most there could be", "higher", kept=True),
    "noise": Measure("noise", "places with none of the planted facts / places taken, of k", "lower", kept=False),
    "stale": Measure("stale", "of updated facts that were found: the replaced value came first", "lower", kept=True),
    "abstention": Measure(
        "abstention",
        "unanswerable questions to which nothing was returned / unanswerable questions",
        "higher",
        kept=True,
    ),
    "separation": Measure(
        "separation",
        "how often the best score of an answerable question is above that of an unanswerable one of the same "
        "conversation; 0.5 is chance",
        "higher",
        kept=False,
        pooled=True,
    ),
    "tokens": Measure("tokens returned", "tokens returned for a question", "lower", kept=False, unit="tokens"),
}
"""By name, the headline first."""
PLACES = "A hit takes one place in a ranking; one that is longer than the longest memory takes as many as it fills."


class Recogniser:
    """Which of the stored memories a text carries."""

    def __init__(self, memories: Iterable[Memory]) -> None:
        self._marked: dict[str, str] = {}
        self._texts: dict[str, set[str]] = {}
        self._ids: dict[str, set[str]] = {}
        self._unmarked: set[str] = set()
        for memory in memories:
            if memory.marker is not None:
                self._marked[memory.marker.lower()] = memory.key
            elif not memory.off_topic:
                self._unmarked.add(memory.key)
                self._texts.setdefault(_plain(memory.text), set()).add(memory.key)

    @property
    def has_markers(self) -> bool:
        """Whether every memory that is asked for has one."""
        return bool(self._marked)

    def stored(self, key: str, identifiers: Iterable[str]) -> None:
        """The ids that the system gave for a memory."""
        if key in self._unmarked:
            for identifier in identifiers:
                self._ids.setdefault(identifier, set()).add(key)

    def in_text(self, text: str) -> set[str]:
        """By markers alone: of a part of a text too."""
        marked = self._marked
        return {marked[word] for word in _WORD.findall(text.lower()) if word in marked} if marked else set()

    def in_hit(self, hit: Hit) -> set[str]:
        """By markers, else by the whole text or the id."""
        found = self.in_text(hit.text)
        if self._unmarked:
            found |= self._ids.get(hit.id, set()) | self._texts.get(_plain(hit.text), set())
        return found


@dataclass(frozen=True, slots=True)
class Scored:
    """A question and the figures of its answer, by name of MEASURES; a figure that does not apply is missing.

    ``best``: the highest score of a hit, minus infinity where nothing was returned, None where scores are no numbers.
    """

    kind: str
    cluster: str
    values: dict[str, float]
    best: float | None


def longest(memories: Iterable[Memory], count: Callable[[str], int]) -> int:
    """Tokens of the longest memory: as much as one place of a ranking holds."""
    return max((count(memory.text) for memory in memories), default=0) or 1


def score(
    question: Question,
    hits: Sequence[Hit],
    recogniser: Recogniser,
    *,
    k: int,
    place: int,
    count: Callable[[str], int],
) -> Scored:
    """One answer.  ``count`` counts the tokens of a text; ``place``: those of the ``longest`` memory.  An answer that
    failed is one without hits."""
    hits = hits[:k]
    carried = [recogniser.in_hit(hit) for hit in hits]
    places = _places(hits, carried, recogniser, place, k, count)
    values: dict[str, float] = {"tokens": float(sum(count(hit.text) for hit in hits))}
    if hits and recogniser.has_markers:
        values["noise"] = sum(not keys for keys in places) / len(places)
    scores = [hit.score for hit in hits]
    best = None if any(math.isnan(one) for one in scores) else max(scores, default=-math.inf)
    if not question.relevant:
        values["abstention"] = float(not hits)
        return Scored(question.kind, question.cluster, values, best)
    relevant = set(question.relevant)
    new = _first_seen(places, relevant)
    values["recall_1"] = len(set().union(*places[:1]) & relevant) / len(relevant)
    values["recall_k"] = len(set().union(*places) & relevant) / len(relevant)
    values["precision_k"] = sum(bool(keys & relevant) for keys in places) / len(places) if places else 0.0
    values["mrr"] = next((1.0 / rank for rank, keys in enumerate(places, 1) if keys & relevant), 0.0)
    values["ndcg_k"] = _gain(new) / _gain([1] * min(len(relevant), k))
    for budget in BUDGETS:
        found = _within(hits, carried, recogniser, budget, count)
        values[f"recall_{budget}"] = len(found & relevant) / len(relevant)
    stale = _stale(places, relevant, set(question.stale))
    if stale is not None:
        values["stale"] = float(stale)
    return Scored(question.kind, question.cluster, values, best)


def _places(
    hits: Sequence[Hit],
    carried: Sequence[set[str]],
    recogniser: Recogniser,
    place: int,
    k: int,
    count: Callable[[str], int],
) -> list[set[str]]:
    """What the first k places of the ranking carry.  A hit of more tokens than a place holds goes on in the next ones;
    what only the whole of it is known to carry stands where it ends."""
    places: list[set[str]] = []
    for hit, keys in zip(hits, carried, strict=True):
        if _fits(hit.text, place, count):
            places.append(keys)
            continue
        rest = hit.text
        while rest and len(places) < k:
            piece = rest if _fits(rest, place, count) else _prefix(rest, place, count) or _first(rest)
            rest = rest[len(piece) :]
            places.append(recogniser.in_text(piece))
        if not rest:
            places[-1] |= keys - recogniser.in_text(hit.text)
    return places[:k]


def _fits(text: str, tokens: int, count: Callable[[str], int]) -> bool:
    return len(text) <= tokens * LONGEST_TOKEN and count(text) <= tokens


def _first(text: str) -> str:
    """Its first word, or first other character: more tokens than one place holds, and no sense in a part of it."""
    found = _FIRST.match(text)
    assert found is not None
    return found.group()


def _first_seen(places: Sequence[set[str]], relevant: set[str]) -> list[int]:
    """1 for each place that brings a relevant memory which no earlier one had: the same again earns nothing."""
    seen: set[str] = set()
    out = []
    for keys in places:
        fresh = (keys & relevant) - seen
        seen |= fresh
        out.append(int(bool(fresh)))
    return out


def _gain(relevance: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(relevance, 1))


def _within(
    hits: Sequence[Hit], carried: Sequence[set[str]], recogniser: Recogniser, budget: int, count: Callable[[str], int]
) -> set[str]:
    """What the hits carry until the budget ends.  Of the hit that it cuts, only markers in what is left of it count."""
    found: set[str] = set()
    left = budget
    for hit, keys in zip(hits, carried, strict=True):
        if _fits(hit.text, left, count):
            found |= keys
            left -= count(hit.text)
            continue
        return found | recogniser.in_text(_prefix(hit.text, left, count))
    return found


def _prefix(text: str, budget: int, count: Callable[[str], int]) -> str:
    """The longest beginning of a text of so many tokens, found by halving; it ends before a word that is cut."""
    low, high = 0, min(len(text), budget * LONGEST_TOKEN)
    while low < high:
        middle = (low + high + 1) // 2
        if count(text[:middle]) <= budget:
            low = middle
        else:
            high = middle - 1
    if low < len(text) and text[low].isalnum():
        while low and text[low - 1].isalnum():
            low -= 1
    return text[:low]


def _stale(places: Sequence[set[str]], relevant: set[str], stale: set[str]) -> bool | None:
    """Whether the replaced value comes before the current one; None where neither was found, or nothing was replaced.
    A place that has both says which is current."""
    if not stale:
        return None
    for keys in places:
        if keys & relevant:
            return False
        if keys & stale:
            return True
    return None


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


@dataclass(frozen=True, slots=True)
class Clusters:
    """A figure's sums and counts by cluster."""

    sums: dict[str, float]
    counts: dict[str, float]

    def interval(self, *, share: bool) -> Interval:
        """Its mean, in an interval that takes only clusters for independent."""
        names = sorted(self.counts)
        sums, counts = [self.sums[name] for name in names], [self.counts[name] for name in names]
        return cluster_share_interval(sums, counts) if share else cluster_mean_interval(sums, counts)

    def aligned(self, other: Clusters) -> tuple[tuple[list[float], list[float]], tuple[list[float], list[float]]]:
        """(sums, counts) of this and of the other by the same clusters, for ``stats.paired_difference``."""
        names = sorted(self.counts.keys() & other.counts.keys())
        return (
            ([self.sums[name] for name in names], [self.counts[name] for name in names]),
            ([other.sums[name] for name in names], [other.counts[name] for name in names]),
        )


def by_cluster(scored: Iterable[Scored], measure: str, kind: str | None = None) -> Clusters:
    """A figure over the questions of a kind (None: of all to which it applies)."""
    if measure == "separation":
        return _separation(list(scored))
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for one in scored:
        if measure in one.values and kind in (None, one.kind):
            sums[one.cluster] = sums.get(one.cluster, 0.0) + one.values[measure]
            counts[one.cluster] = counts.get(one.cluster, 0.0) + 1.0
    return Clusters(sums, counts)


def _separation(scored: Sequence[Scored]) -> Clusters:
    """The area under the ROC curve of the best scores, from the pairs of questions within each conversation."""
    answerable: dict[str, list[float]] = {}
    unanswerable: dict[str, list[float]] = {}
    for one in scored:
        if one.best is None:
            return Clusters({}, {})
        side = unanswerable if one.kind == "unanswerable" else answerable
        side.setdefault(one.cluster, []).append(one.best)
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for cluster in answerable.keys() & unanswerable.keys():
        pairs = [(a, b) for a in answerable[cluster] for b in unanswerable[cluster]]
        sums[cluster] = math.fsum((a > b) + 0.5 * (a == b) for a, b in pairs)
        counts[cluster] = float(len(pairs))
    return Clusters(sums, counts)
