"""Token windows: what a system puts into a context of limited size, and how well it counts.

Memories about many topics are stored; each question asks for all that is known of one topic.  What was relevant is
known, so no judge is needed.  A question's fixed part (system prompt, the question, the template) is what the same
system assembles for a user who has no memories.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count, cycle

from perfsuite._core import Histogram, Stopwatch
from perfsuite.evidence import Evidence, Exact, NotMeasured, RatioOfSums, Samples, Series, Share
from perfsuite.suites.course import Course
from perfsuite.suites.session import Session
from perfsuite.targets.base import Inspection, Message
from perfsuite.workloads.prose import sentences
from perfsuite.workloads.topics import topics

SMALLEST_WINDOW = 512
TOPICS = 40
FILLERS = 200
HISTORY_LENGTHS = (10, 50, 100, 500, 1000)


CLUSTERS = 512
"""Topics told apart; beyond them two share a row, so that hours fit in bounded memory."""


@dataclass(slots=True)
class Sums:
    """Figures of all questions about a topic, added up.  They are one cluster: what a system makes of a topic in one
    window says what it will make of it in another."""

    placed: float = 0.0
    possible: float = 0.0
    prompt: float = 0.0
    miscounted: float = 0.0
    relevant_placed: int = 0
    memories_placed: int = 0
    relevant: int = 0


@dataclass(slots=True)
class Questions:
    """What all questions gave so far."""

    topics: dict[int, Sums] = field(default_factory=dict)
    asked: int = 0
    within: int = 0
    by_window: dict[int, tuple[float, float]] = field(default_factory=dict)
    courses: dict[str, Course] = field(default_factory=dict)
    """How each metric went; of token_counting_accuracy, what was counted wrongly."""

    def went(self, t_s: float, **ratios: tuple[float, float]) -> None:
        """What a question asked at ``t_s`` added to the parts and wholes of metrics."""
        for name, (part, whole) in ratios.items():
            self.courses.setdefault(name, Course()).add(t_s, part, whole)


def window_sizes(largest: int) -> list[int]:
    """Doubling from 512 tokens up to and including ``largest``."""
    sizes = []
    size = SMALLEST_WINDOW
    while size < largest:
        sizes.append(size)
        size *= 2
    return [*sizes, largest]


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Asks about topic after topic, in windows of every size, until the probe's time is over; one topic at least.

    When every topic of a set was asked about, a new set is stored for a new user: asking again would give the same
    answers, and no more information.
    """
    inside = session.target.inspection
    assert inside is not None, "the registry lets only targets with an inside come here"
    given = session.workload.conversations
    if given is not None:
        session.note(f"memories, questions and histories are generated here: what is relevant in {given} is not known")
    questions = Questions()
    truncation = Histogram(10)
    sizes = window_sizes(session.tuning.max_window_size)
    histories = {length: history(length, session.seed) for length in HISTORY_LENGTHS}
    lengths = cycle(HISTORY_LENGTHS)
    for number in count():
        if number and session.remaining_s() == 0.0:
            break
        if number % TOPICS == 0:
            turn = number // TOPICS
            user = f"window-{session.phase.name}-{session.seed}-{turn}"
            asker = Asker(inside, session.target.models[0], session.seed * 1_000_003 + turn, user)
        for size in sizes:
            sums = questions.topics.setdefault(number % CLUSTERS, Sums())
            asker.ask(number % TOPICS, size, questions, sums, session.now_s)
            for _ in range(3):
                took_ms = truncate_once(inside, histories[next(lengths)], size, truncation)
                questions.went(session.now_s, truncation_time=(took_ms, 1.0))
            await asyncio.sleep(0)
        session.progress(1.0 - session.remaining_s() / max(session.duration_s, 1e-9))
    return evidence(questions, truncation)


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
        for name, text in rows:
            memory = inside.remember(text, user_id=self._user)
            if name is not None:
                self._topic_of[memory] = name
                self._tokens[memory] = inside.true_tokens([{"role": "user", "content": text}], model) - self._empty
        self._total = dict.fromkeys((topic.name for topic in self.topics), 0)
        for memory, name in self._topic_of.items():
            self._total[name] += self._tokens[memory]

    def ask(self, number: int, budget: int, questions: Questions, sums: Sums, t_s: float) -> None:
        """One question within one window, ``t_s`` seconds into the phase; adds its figures to all questions' and to its
        topic's sums."""
        topic = self.topics[number]
        got = self._inside.assemble(
            topic.question, user_id=self._user, conversation_id=f"{self._user}-{topic.name}", budget_tokens=budget
        )
        bare = self._inside.assemble(
            topic.question, user_id="window-nobody", conversation_id="window-nobody", budget_tokens=budget
        )
        true = self._inside.true_tokens(got.messages, self._model)
        fixed = self._inside.true_tokens(bare.messages, self._model)
        relevant = [memory for memory in got.memories if self._topic_of.get(memory) == topic.name]
        placed = sum(self._tokens[memory] for memory in relevant) if true <= budget else 0
        possible = min(max(0, budget - fixed), self._total[topic.name])
        sums.placed += placed
        sums.possible += possible
        sums.prompt += true
        miscounted = abs(self._inside.count_tokens(got.messages, self._model) - true)
        sums.miscounted += miscounted
        sums.relevant_placed += len(relevant)
        sums.memories_placed += len(got.memories)
        sums.relevant += len(topic.statements)
        questions.asked += 1
        questions.within += true <= budget
        before = questions.by_window.get(budget, (0.0, 0.0))
        questions.by_window[budget] = (before[0] + placed, before[1] + possible)
        questions.went(
            t_s,
            window_optimization=(placed, possible),
            token_counting_accuracy=(miscounted, true),
            budget_compliance=(true <= budget, 1.0),
            context_relevance=(len(relevant), len(got.memories)),
            context_recall=(len(relevant), len(topic.statements)),
            token_efficiency=(placed, true),
        )


def history(length: int, seed: int) -> list[Message]:
    """A conversation of that many messages of English prose."""
    prose = sentences(seed + length)
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": f"{next(prose)} {next(prose)}"} for i in range(length)]


def truncate_once(inside: Inspection, messages: list[Message], budget: int, into: Histogram) -> float:
    """Times one truncation of a copy of the history, in ms."""
    copy = [dict(message) for message in messages]
    watch = Stopwatch(into)
    watch.start()
    inside.truncate(copy, budget)
    return watch.stop()


def evidence(questions: Questions, truncation: Histogram) -> dict[str, Evidence]:
    """The probe's metrics from what all questions gave."""
    rows = list(questions.topics.values())
    by_window = [
        {"window_tokens": size, "relevant_possible": possible, "relevant_placed": placed}
        for size, (placed, possible) in sorted(questions.by_window.items())
    ]
    series = {name: course.series() for name, course in questions.courses.items()}
    placed, prompt = [row.placed for row in rows], [row.prompt for row in rows]
    details = {"questions": questions.asked, "by_window": by_window}
    found: dict[str, Evidence] = {
        "window_optimization": RatioOfSums(
            parts=placed,
            wholes=[row.possible for row in rows],
            series=series["window_optimization"],
            details=details,
        ),
        "token_counting_accuracy": RatioOfSums(
            parts=[row.miscounted for row in rows],
            wholes=prompt,
            complement=True,
            series=[(t_s, 1.0 - wrong) for t_s, wrong in series["token_counting_accuracy"]],
            details={"requests": questions.asked},
        ),
        "truncation_time": Samples(
            histogram=truncation,
            series=series["truncation_time"],
            details={"history_messages": list(HISTORY_LENGTHS)},
        ),
        # A census of this run's requests, not a sample: one request over its budget fails it.
        "budget_compliance": Exact(
            value=questions.within / questions.asked, samples=questions.asked, series=series["budget_compliance"]
        ),
        "context_recall": share(((row.relevant_placed, row.relevant) for row in rows), series["context_recall"]),
        "token_efficiency": RatioOfSums(parts=placed, wholes=prompt, series=series["token_efficiency"]),
    }
    if any(row.memories_placed for row in rows):
        found["context_relevance"] = share(
            ((row.relevant_placed, row.memories_placed) for row in rows), series["context_relevance"]
        )
    else:
        found["context_relevance"] = NotMeasured("the system placed no memory in any context")
    return found


def share(pairs: Iterable[tuple[int, int]], series: Series) -> Share:
    """A share over topics, each a cluster of (hits, trials)."""
    clusters = [pair for pair in pairs if pair[1]]
    hits, trials = sum(hits for hits, _ in clusters), sum(of for _, of in clusters)
    return Share(hits=hits, trials=trials, clusters=clusters, series=series)
