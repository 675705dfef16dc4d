"""Latency of storing, recalling and synthesizing, by the tier that the system itself says a memory is in.

A sample belongs to a tier only by ``tier_of``: of the memory that was stored, right after the store; of the memory that
answers the question, right before the recall.  A system that claims a tier for a memory that does not exist is not
believed.  Recall is void below a floor of what it finds, and that fails it: a fast answer that is wrong has no latency.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfsuite.evidence import Evidence, NotMeasured
from perfsuite.memory.host import Hosted, Operation, Overhead, SystemFailed
from perfsuite.suites.memory.running import K, Timed, batches, item_of, running, tell, within
from perfsuite.workloads.memories import SeededCase

if TYPE_CHECKING:
    from perfsuite.suites.session import Session
    from perfsuite.workloads.memories import Memory

TIERS = ("hot", "warm", "cold")
CALLS = ("store", "recall", "synthesize")
SAMPLES = {"quick": 500, "standard": 2000, "full": 5000}
"""Of each call, by profile."""
STORED = 3
"""So many memories are stored for each sample, so that there is something in every tier."""
FEWEST = 500
"""Samples that can show a p99 to be below its target at all, and some to spare."""
BLOCK = 50
FLOOR = 0.8
"""recall@5 on verbatim questions below which the latency of recall is void."""
NOBODY = "perfsuite-no-such-memory"


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for ``store_latency``, ``recall_latency``, ``synthesize_latency`` and each of them by tier."""
    study = _Study(session)
    try:
        async with running(session, session.tiered(study.stored)) as system:
            await study.make(system)
    except SystemFailed as error:
        tell(session, error)
    return study.evidence()


@dataclass(slots=True)
class _Known:
    """A memory that was stored, and the question that is to find it."""

    id: str
    memory: Memory
    question: str


@dataclass(slots=True)
class _Found:
    """How many verbatim questions were answered."""

    asked: int = 0
    answered: int = 0

    @property
    def share(self) -> float:
        return self.answered / self.asked if self.asked else 0.0


class _Study:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.samples = session.memory.samples or SAMPLES[session.plan.profile]
        self.stored = self.samples * STORED
        self.case = SeededCase(session.seed, max(20, self.stored), max(20, self.stored))
        self.timed = {call: Timed(session) for call in CALLS}
        self.by_tier = {(call, tier): Timed(session) for call in CALLS for tier in TIERS}
        self.costs = {call: Overhead(0.0, 0.0) for call in CALLS}
        self.known: dict[str, _Known] = {}
        self.found = _Found()
        self.offers: frozenset[str] = frozenset()
        self.name = session.target.name
        self.disbelief: str | None = None
        self.information: dict[str, object] = {}
        self.begun = False

    async def make(self, system: Hosted) -> None:
        """Everything, each part for its share of the time."""
        self.begun = True
        self.information = await system.info()
        self.offers = system.offers
        if "tier_of" in self.offers:
            await self._probe_tier_of(system)
        await self._store(system)
        await system.flush()
        self.session.progress(0.5)
        await self._recall(system)
        self.session.progress(0.7)
        if "synthesize" in self.offers:
            await self._synthesize(system)
        self.session.progress(0.75)
        if "tier_of" in self.offers and self.disbelief is None:
            await self._by_tier(system)
        for call in CALLS:
            if call == "store" or call == "recall" or call in self.offers:
                self.costs[call] = await system.overhead(call)

    async def _probe_tier_of(self, system: Hosted) -> None:
        """A memory that does not exist is in no tier; an error says so as well as None does."""
        (claimed,) = (await system.tier_of([NOBODY])).results
        if claimed is not None:
            self.disbelief = f"{self.name} says {claimed} of a memory that does not exist: its tiers are not believed"

    async def _store(self, system: Hosted) -> None:
        questions = _questions(self.case)
        for batch in batches(self.case.memories(), BLOCK):
            if self.known and self._over(0.5):
                break
            outcome = await system.store([item_of(memory) for memory in batch])
            self.timed["store"].take(outcome)
            first = []
            for index, memory in enumerate(batch):
                ids = outcome.results[index]
                if ids:
                    self.known[memory.key] = _Known(ids[0], memory, questions.get(memory.key, memory.text))
                    first.append((index, ids[0]))
            if "tier_of" in self.offers and self.disbelief is None:
                tiers = (await system.tier_of([identifier for _, identifier in first])).results
                self._attribute(
                    "store", [(outcome.samples_ms[index], tier) for (index, _), tier in zip(first, tiers, strict=True)]
                )

    async def _recall(self, system: Hosted) -> None:
        """Questions of every kind, in turn; those that are verbatim tell whether it finds anything."""
        known = self.known
        questions = [one for one in self.case.questions() if all(key in known for key in one.relevant)]
        for batch in batches(questions[: self.samples], BLOCK):
            if self.timed["recall"].count and self._over(0.7):
                break
            outcome = await system.recall([question.text for question in batch], K)
            self.timed["recall"].take(outcome)
            for question, hits in zip(batch, outcome.results, strict=True):
                if question.kind == "verbatim":
                    self.found.asked += 1
                    self.found.answered += _answers(hits or (), [known[key].memory for key in question.relevant])

    async def _synthesize(self, system: Hosted) -> None:
        questions = [one.text for one in self.case.questions() if all(key in self.known for key in one.relevant)]
        for batch in batches(questions[: self.samples], BLOCK):
            if self.timed["synthesize"].count and self._over(0.75):
                break
            self.timed["synthesize"].take(await system.synthesize(batch))

    async def _by_tier(self, system: Hosted) -> None:
        """Each memory is asked for once, and its tier right before: being asked for may move it."""
        order = list(self.known.values())
        random.Random(f"tiers {self.session.seed}").shuffle(order)
        calls = ["recall", *(["synthesize"] if "synthesize" in self.offers else [])]
        wanted = {(call, tier): self.samples for call in calls for tier in TIERS}
        for number, batch in enumerate(batches(order, BLOCK)):
            if self._over(1.0) and number:
                break
            call = calls[number % len(calls)]
            mix = []
            for one in batch:
                asked = (one.question, K) if call == "recall" else (one.question,)
                mix += [Operation("tier_of", (one.id,)), Operation(call, asked)]
            outcome = await system.mixed(mix, 1)
            samples = []
            for index, one in enumerate(batch):
                tier, result = outcome.results[2 * index], outcome.results[2 * index + 1]
                right = call != "recall" or _answers(result or (), [one.memory])
                if tier is not None and result is not None and right and wanted[call, tier] > 0:
                    wanted[call, tier] -= 1
                    samples.append((outcome.samples_ms[2 * index + 1], tier))
            self._attribute(call, samples)
            if not any(wanted.values()):
                break

    def _attribute(self, call: str, samples: Sequence[tuple[float, str | None]]) -> None:
        for tier in TIERS:
            self.by_tier[call, tier].add([sample for sample, there in samples if there == tier])

    def _over(self, share: float) -> bool:
        """Whether the time for what comes before that share of the probe is over, or the run is to stop."""
        session = self.session
        return session.stop.is_set() or session.remaining_s() <= session.duration_s * (1.0 - share)

    def evidence(self) -> Mapping[str, Evidence]:
        """What is known by now."""
        found: dict[str, Evidence] = {}
        details: dict[str, object] = {"memories": len(self.known)}
        for call in CALLS:
            name = f"{call}_latency"
            void = self._void() if call == "recall" else None
            reason = void or self._missing(call)
            more = dict(details)
            if self.timed[call].histogram.count:
                more |= within(self.session, name, self.timed[call].histogram.quantile(0.99))
            if self.timed[call].count >= self.samples:
                more["to_decide"] = f"take more samples: --samples {max(FEWEST, 4 * self.samples)}"
            if call == "store" and self.information:
                more["system"] = self.information
            if call == "recall":
                more["recall_at_5"] = self.found.share
                more["verbatim_questions"] = self.found.asked
            found[name] = (
                self.timed[call].evidence(self.costs[call], more)
                if reason is None
                else NotMeasured(reason, more, void=void is not None)
            )
            for tier in TIERS:
                timed = self.by_tier[call, tier]
                why = reason or self._untold(call, tier, timed)
                found[f"{name}_{tier}"] = timed.evidence(self.costs[call], {}) if why is None else NotMeasured(why)
        return found

    def _missing(self, call: str) -> str | None:
        """Why there is no latency of a call at all."""
        if not self.begun:
            return f"{self.name} could not be started"
        if call == "synthesize" and call not in self.offers:
            return f"{self.name} does not synthesize"
        if not self.timed[call].count:
            return f"no {call} was made"
        return None

    def _void(self) -> str | None:
        """Why the latency of recall is worth nothing, where it is."""
        if not self.found.asked or self.found.share >= FLOOR:
            return None
        return (
            f"void: {self.name} found {self.found.answered} of {self.found.asked} memories that were asked for in "
            f"their own words, fewer than {FLOOR:.0%}: a fast answer that is wrong has no latency"
        )

    def _untold(self, call: str, tier: str, timed: Timed) -> str | None:
        if "tier_of" not in self.offers:
            return f"{self.name} does not say which tier a memory is in (it has no tier_of)"
        if self.disbelief is not None:
            return self.disbelief
        if not timed.count:
            what = "stored into the" if call == "store" else "asked for in the"
            return f"of {len(self.known):,} memories none was {what} {tier} tier, by the system's own word"
        return None


def _questions(case: SeededCase) -> dict[str, str]:
    """For memories that are asked for in their own words, that question."""
    return {one.relevant[0]: one.text for one in case.questions() if one.kind == "verbatim"}


def _answers(hits: Sequence[object], relevant: Sequence[Memory]) -> bool:
    """Whether one of the hits is a relevant memory: it has its marker, or its words where it has none."""
    texts = [getattr(hit, "text", "") for hit in hits]
    return any((memory.marker or memory.text) in text for memory in relevant for text in texts)
