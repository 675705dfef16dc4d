"""Token windows: what a system puts into a context of limited size, and how well it counts.

Memories about many topics are stored; each question asks for all that is known of one topic.  What was relevant is
known, so no judge is needed.  A question's fixed part (system prompt, the question, the template) is what the same
system assembles for a user who has no memories.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from perfsuite._core import Histogram, Stopwatch
from perfsuite.evidence import Evidence, Exact, NotMeasured, RatioOfSums, Samples, Share
from perfsuite.suites.session import Session
from perfsuite.targets.base import Inspection, Message
from perfsuite.workloads.prose import sentences
from perfsuite.workloads.topics import Topic, topics

SMALLEST_WINDOW = 512
TOPICS = 40
FILLERS = 200
HISTORY_LENGTHS = (10, 50, 100, 500, 1000)


@dataclass(slots=True)
class Tally:
    """Sums over the questions asked so far; one entry a question in each list."""

    placed: list[float] = field(default_factory=list)
    possible: list[float] = field(default_factory=list)
    prompt: list[float] = field(default_factory=list)
    miscounted: list[float] = field(default_factory=list)
    relevant_placed: list[int] = field(default_factory=list)
    memories_placed: list[int] = field(default_factory=list)
    relevant: list[int] = field(default_factory=list)
    within: int = 0
    by_window: dict[int, tuple[float, float]] = field(default_factory=dict)


def window_sizes(largest: int) -> list[int]:
    """Doubling from 512 tokens up to and including ``largest``."""
    sizes = []
    size = SMALLEST_WINDOW
    while size < largest:
        sizes.append(size)
        size *= 2
    return [*sizes, largest]


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Asks questions within windows of every size until the probe's time is over, at least once around."""
    inside = session.target.inspection
    assert inside is not None, "the registry lets only targets with an inside come here"
    asker = Asker(inside, session.target.models[0], session.seed, f"window-{session.phase.name}-{session.seed}")
    tally = Tally()
    truncation = Histogram(10)
    sizes = window_sizes(session.tuning.max_window_size)
    histories = {length: history(length, session.seed) for length in HISTORY_LENGTHS}
    for turn in count():
        if turn >= len(sizes) * 2 and session.remaining_s() == 0.0:
            break
        size = sizes[turn % len(sizes)]
        topic = asker.topics[(turn // len(sizes)) % len(asker.topics)]
        asker.ask(topic, size, tally)
        for _ in range(3):
            truncate_once(inside, histories[HISTORY_LENGTHS[turn % len(HISTORY_LENGTHS)]], size, truncation)
        await asyncio.sleep(0)
        session.progress(1.0 - session.remaining_s() / max(session.duration_s, 1e-9))
    return evidence(tally, truncation)


class Asker:
    """Stores the memories, asks for them, and compares what was placed with what was relevant."""

    def __init__(self, inside: Inspection, model: str, seed: int, user: str) -> None:
        self._inside = inside
        self._model = model
        self._user = user
        self.topics = topics(seed, TOPICS)
        self._topic_of: dict[str, str] = {}
        self._tokens: dict[str, int] = {}
        self._empty = inside.true_tokens([{"role": "user", "content": ""}], model)
        rows: list[tuple[str | None, str]] = [(topic.name, text) for topic in self.topics for text in topic.statements]
        prose = sentences(seed)
        rows += [(None, next(prose)) for _ in range(FILLERS)]
        random.Random(f"window {seed}").shuffle(rows)
        for name, text in rows:  # a user of its own for each phase: what another stored must not be found again
            memory = inside.remember(text, user_id=self._user)
            if name is not None:
                self._topic_of[memory] = name
                self._tokens[memory] = inside.true_tokens([{"role": "user", "content": text}], model) - self._empty
        self._total = dict.fromkeys((topic.name for topic in self.topics), 0)
        for memory, name in self._topic_of.items():
            self._total[name] += self._tokens[memory]

    def ask(self, topic: Topic, budget: int, tally: Tally) -> None:
        """One question within one window; adds its figures to the tally."""
        got = self._inside.assemble(
            topic.question, user_id=self._user, conversation_id=f"{self._user}-{topic.name}", budget_tokens=budget
        )
        bare = self._inside.assemble(
            topic.question, user_id="window-nobody", conversation_id="window-nobody", budget_tokens=budget
        )
        true = self._inside.true_tokens(got.messages, self._model)
        counted = self._inside.count_tokens(got.messages, self._model)
        fixed = self._inside.true_tokens(bare.messages, self._model)
        relevant = [memory for memory in got.memories if self._topic_of.get(memory) == topic.name]
        placed = sum(self._tokens[memory] for memory in relevant) if true <= budget else 0
        possible = min(max(0, budget - fixed), self._total[topic.name])
        tally.placed.append(placed)
        tally.possible.append(possible)
        tally.prompt.append(true)
        tally.miscounted.append(abs(counted - true))
        tally.relevant_placed.append(len(relevant))
        tally.memories_placed.append(len(got.memories))
        tally.relevant.append(len(topic.statements))
        tally.within += true <= budget
        before = tally.by_window.get(budget, (0.0, 0.0))
        tally.by_window[budget] = (before[0] + placed, before[1] + possible)


def history(length: int, seed: int) -> list[Message]:
    """A conversation of that many messages of English prose."""
    prose = sentences(seed + length)
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": f"{next(prose)} {next(prose)}"} for i in range(length)]


def truncate_once(inside: Inspection, messages: list[Message], budget: int, into: Histogram) -> None:
    """Times one truncation of a copy of the history."""
    copy = [dict(message) for message in messages]
    watch = Stopwatch(into)
    watch.start()
    inside.truncate(copy, budget)
    watch.stop()


def evidence(tally: Tally, truncation: Histogram) -> dict[str, Evidence]:
    """The probe's metrics from its tally."""
    asked = len(tally.prompt)
    by_window = [
        {"window_tokens": size, "relevant_possible": possible, "relevant_placed": placed}
        for size, (placed, possible) in sorted(tally.by_window.items())
    ]
    found: dict[str, Evidence] = {
        "window_optimization": RatioOfSums(parts=tally.placed, wholes=tally.possible, details={"by_window": by_window}),
        "token_counting_accuracy": RatioOfSums(parts=tally.miscounted, wholes=tally.prompt, complement=True),
        "truncation_time": Samples(histogram=truncation, details={"history_messages": list(HISTORY_LENGTHS)}),
        # A census of this run's requests, not a sample: one request over its budget fails it.
        "budget_compliance": Exact(value=tally.within / asked, samples=asked),
        "context_recall": share(tally.relevant_placed, tally.relevant),
        "token_efficiency": RatioOfSums(parts=tally.placed, wholes=tally.prompt),
    }
    if any(tally.memories_placed):
        found["context_relevance"] = share(tally.relevant_placed, tally.memories_placed)
    else:
        found["context_relevance"] = NotMeasured("the system placed no memory in any context")
    return found


def share(hits: list[int], trials: list[int]) -> Share:
    """A share over questions, each a cluster."""
    pairs: Iterator[tuple[int, int]] = zip(hits, trials, strict=True)
    return Share(hits=sum(hits), trials=sum(trials), clusters=[pair for pair in pairs if pair[1]])
