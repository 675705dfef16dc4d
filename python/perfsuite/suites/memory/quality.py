"""What one system finds of one case, and how long that takes: a fresh state, everything stored, everything asked.

Rounds of this are added up in ``Tally``, which the figures are made from.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from perfsuite import stats
from perfsuite.analysis.retrieval import FLOOR, MEASURES, Recogniser, Scored, by_cluster, longest, score
from perfsuite.memory.base import Hit
from perfsuite.memory.operations import Item, Outcome, Overhead
from perfsuite.memory.usage import Usage
from perfsuite.stats.intervals import nearest_rank
from perfsuite.suites.memory.comparison_result import Figure, Group, ModelUse, Timing
from perfsuite.suites.memory.running import batches, item_of
from perfsuite.workloads.memories import Case

CHUNK = 1000
"""Memories that are sent to a system at once; each is a call of its own."""
BLOCKS = 20
"""Of calls that follow one another, in a round, for the interval of their mean."""
KEPT_ERRORS = 3
FLOOR_MEASURE = "recall_k"
FLOOR_KIND = "verbatim"


class System(Protocol):
    """A running system: ``memory.host.Hosted``, or one that stands in for it."""

    @property
    def offers(self) -> frozenset[str]:
        """The optional methods that it has."""

    async def info(self) -> Mapping[str, Any]: ...
    async def store(self, items: Sequence[Item]) -> Outcome: ...
    async def recall(self, queries: Sequence[str], k: int = 5) -> Outcome: ...
    async def flush(self) -> float: ...
    async def kill(self) -> None: ...
    async def overhead(self, method: str, *, count: int = 2000) -> Overhead: ...
    def rusage(self) -> Usage: ...


@dataclass(slots=True)
class Calls:
    """The calls of one kind in one round."""

    samples_ms: list[float] = field(default_factory=list)
    failed: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    model: dict[str, float] = field(default_factory=dict)
    measuring_ms: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """The next batch."""
        at = len(self.samples_ms)
        self.samples_ms += outcome.samples_ms
        self.failed |= {at + index for index in outcome.failed}
        self.errors += [text for _, text in outcome.errors]
        for name, value in outcome.model.items():
            self.model[name] = self.model.get(name, 0.0) + value


@dataclass(slots=True, kw_only=True)
class Taken:
    """One round of one case."""

    store: Calls
    recall: Calls
    scored: list[Scored]
    answers: str
    flush_ms: float
    memories: int
    usage: Usage


async def take(system: System, case: Case, *, k: int, count: Callable[[str], int]) -> Taken:
    """Stores a case in a system whose state is fresh, flushes, and asks.  Raises SystemFailed as ``system`` does."""
    store, recall = Calls(), Calls()
    recogniser = Recogniser(case.memories())
    stored = 0
    for chunk in batches(case.memories(), CHUNK):
        outcome = await system.store([item_of(memory) for memory in chunk])
        store.add(outcome)
        for memory, identifiers in zip(chunk, outcome.results, strict=True):
            recogniser.stored(memory.key, identifiers or ())
        stored += len(chunk)
    flush_ms = await system.flush()
    usage = system.rusage()
    questions = case.questions()
    place = longest(case.memories(), count)
    outcome = await system.recall([question.text for question in questions], k)
    recall.add(outcome)
    scored = [
        score(question, hits or (), recogniser, k=k, place=place, count=count)
        for question, hits in zip(questions, outcome.results, strict=True)
    ]
    store.measuring_ms = (await system.overhead("store", count=500)).sample_ms
    recall.measuring_ms = (await system.overhead("recall", count=500)).sample_ms
    return Taken(
        store=store,
        recall=recall,
        scored=scored,
        answers=_digest(outcome.results),
        flush_ms=flush_ms,
        memories=stored,
        usage=usage,
    )


def _digest(answers: Iterable[Sequence[Hit] | None]) -> str:
    """Of the texts that were returned, in order: whether another round's are the same."""
    hashed = hashlib.blake2b(digest_size=16)
    for hits in answers:
        for hit in hits or ():
            hashed.update(hit.text.encode("utf-8", "surrogatepass") + b"\0")
        hashed.update(b"\1")
    return hashed.hexdigest()


@dataclass(slots=True, kw_only=True)
class Tally:
    """Rounds of the cases of one group.  Quality is the first round's: the later ones ask the same of the same."""

    name: str
    digest: str = ""
    cases: int = 0
    memories: int = 0
    scored: list[Scored] = field(default_factory=list)
    stores: dict[int, list[Calls]] = field(default_factory=dict)
    recalls: dict[int, list[Calls]] = field(default_factory=dict)
    flush_ms: list[float] = field(default_factory=list)
    resident_bytes: int = 0
    disk_bytes: int = 0
    same_answers: bool | None = None
    _answers: dict[str, str] = field(default_factory=dict)

    def add(self, case: str, round_number: int, taken: Taken) -> None:
        """One round of one of the group's cases."""
        self.stores.setdefault(round_number, []).append(taken.store)
        self.recalls.setdefault(round_number, []).append(taken.recall)
        self.flush_ms.append(taken.flush_ms)
        self.resident_bytes = max(self.resident_bytes, taken.usage.memory_bytes)
        self.disk_bytes = max(self.disk_bytes, taken.usage.disk_bytes)
        first = self._answers.setdefault(case, taken.answers)
        if round_number == 0:
            self.cases += 1
            self.memories += taken.memories
            self.scored += taken.scored
        else:
            self.same_answers = self.same_answers is not False and first == taken.answers

    def failure(self) -> str:
        """Why there is nothing to judge: every call of one kind failed; empty where some did not."""
        for name, rounds in (("store", self.stores), ("recall", self.recalls)):
            every = [calls for one in rounds.values() for calls in one]
            made = sum(len(calls.samples_ms) for calls in every)
            if made and made == sum(len(calls.failed) for calls in every):
                first = next(text for calls in every for text in calls.errors)
                return f"every one of {made:,} calls of {name} failed: {first}"
        return ""

    def group(self) -> Group:
        """The figures."""
        quality = qualities(self.scored)
        void = voided(quality)
        return Group(
            name=self.name,
            memories=self.memories,
            questions=len(self.scored),
            cases=self.cases,
            rounds=len(self.recalls),
            digest=self.digest,
            quality=quality,
            store=timing(list(self.stores.values()), void),
            recall=timing(list(self.recalls.values()), void),
            store_model=model_use([calls for one in self.stores.values() for calls in one]),
            recall_model=model_use([calls for one in self.recalls.values() for calls in one]),
            flush_ms=sorted(self.flush_ms)[len(self.flush_ms) // 2] if self.flush_ms else None,
            resident_bytes=self.resident_bytes,
            disk_bytes=self.disk_bytes,
            same_answers=self.same_answers,
        )


def qualities(scored: Sequence[Scored]) -> dict[str, dict[str, Figure]]:
    """Every measure over all questions that it applies to, and over each kind of question."""
    kinds: list[str | None] = [None, *dict.fromkeys(one.kind for one in scored)]
    found: dict[str, dict[str, Figure]] = {}
    for kind in kinds:
        measures = {}
        for name, measure in MEASURES.items():
            clusters = by_cluster(scored, name, kind) if kind is None or not measure.pooled else None
            if clusters is not None and clusters.counts:
                estimate, low, high = clusters.interval(share=measure.share)
                measures[name] = Figure(
                    value=estimate,
                    low=low if math.isfinite(low) else None,
                    high=high if math.isfinite(high) else None,
                    n=round(sum(clusters.counts.values())),
                    clusters=len(clusters.counts),
                )
        found[kind or "all"] = measures
    return found


def voided(quality: Mapping[str, Mapping[str, Figure]]) -> str:
    """Why a latency of this quality says nothing; empty where it says something."""
    figure = quality.get(FLOOR_KIND, {}).get(FLOOR_MEASURE)
    if figure is None or figure.value is None:
        return "no verbatim question was asked that would show that anything is found"
    if figure.value < FLOOR:
        return (
            f"recall@k on verbatim questions is {figure.value:.2f}, below the floor of {FLOOR:g}: answers without the "
            "facts may take any time"
        )
    return ""


def timing(rounds: Sequence[Sequence[Calls]], void: str = "") -> Timing:
    """Of the calls of several rounds."""
    every = [calls for one in rounds for calls in one]
    samples = [
        math.inf if index in calls.failed else sample
        for calls in every
        for index, sample in enumerate(calls.samples_ms)
    ]
    good = [sample for sample in samples if math.isfinite(sample)]
    failed = len(samples) - len(good)
    errors = list(dict.fromkeys(text for calls in every for text in calls.errors))[:KEPT_ERRORS]
    found = Timing(samples=len(samples), failed=failed, first_errors=errors, void=void)
    if not good:
        found.void = "every call failed" if samples else "no call was made"
        return found
    sums, counts = _blocks(rounds)
    interval = stats.block_interval(sums, counts)
    found.mean = interval.estimate
    found.low = max(0.0, interval.low) if math.isfinite(interval.low) else None
    found.high = interval.high if math.isfinite(interval.high) else None
    quantiles = _quantiles(samples, (0.5, 0.95, 0.99))
    found.p50, found.p95, found.p99 = quantiles
    medians = [_quantiles([s for calls in one for s in _good(calls)], (0.5,))[0] for one in rounds]
    found.rounds = [median for median in medians if median is not None]
    found.measuring_ms = max(calls.measuring_ms for calls in every)
    return found


def _quantiles(samples: Iterable[float], qs: Sequence[float]) -> list[float | None]:
    """By nearest rank; None where it falls among calls that failed, or there is no call."""
    ordered = sorted(samples)
    if not ordered:
        return [None] * len(qs)
    found = [ordered[nearest_rank(len(ordered), q) - 1] for q in qs]
    return [value if math.isfinite(value) else None for value in found]


def _good(calls: Calls) -> list[float]:
    return [sample for index, sample in enumerate(calls.samples_ms) if index not in calls.failed]


def _blocks(rounds: Sequence[Sequence[Calls]]) -> tuple[list[float], list[float]]:
    """Sums and counts of blocks of calls that followed one another: what is near in time is alike."""
    sums: list[float] = []
    counts: list[float] = []
    for one in rounds:
        samples = [sample for calls in one for sample in _good(calls)]
        size = max(1, math.ceil(len(samples) / BLOCKS))
        for start in range(0, len(samples), size):
            block = samples[start : start + size]
            sums.append(math.fsum(block))
            counts.append(float(len(block)))
    return sums, counts


def model_use(every: Sequence[Calls]) -> ModelUse:
    """What a call asked of the model on average."""
    calls = sum(len(one.samples_ms) for one in every)
    if not calls:
        return ModelUse()
    return ModelUse(
        **{name: sum(one.model.get(name, 0.0) for one in every) / calls for name in ModelUse.__struct_fields__}
    )
