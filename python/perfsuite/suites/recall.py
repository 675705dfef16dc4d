"""Whether a system still knows what it was told: facts planted in conversations and asked for later."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from dataclasses import dataclass, field

from perfsuite.evidence import Evidence, NotMeasured, Share
from perfsuite.suites.course import Course
from perfsuite.targets.base import Reply, Request

CLUSTERS = 512
"""Conversations are told apart up to this many; beyond it they share a cluster, so that hours fit in bounded memory."""

AGES = (1, 2, 5, 10, 20, 50)
AGE_LABELS = ("1", "2–4", "5–9", "10–19", "20–49", "50 and more")
SAME_MESSAGE = 0
REPEATS = 0.5
"""A black box that repeats fewer of the facts stated in the very message that asks for them shows nothing."""


def recalled(request: Request, reply: Reply) -> bool:
    """Whether the fact asked for is in the context that the system assembled, or, of a black box, in its answer.

    The question never contains the value.  Of an assembled context the last message, the question, is not looked at
    when the fact is older than it.
    """
    assert request.expects is not None
    value = request.expects.value
    if reply.context is None:
        return value in reply.text
    return any(value in str(message.get("content", "")) for message in reply.context)


@dataclass(slots=True)
class Recall:
    """Counts facts asked for and found, by conversation and by age."""

    hits: int = 0
    trials: int = 0
    by_age: list[list[int]] = field(default_factory=lambda: [[0, 0] for _ in AGE_LABELS])
    clusters: dict[int, list[int]] = field(default_factory=dict)
    same_message: list[int] = field(default_factory=lambda: [0, 0])
    saw_context: bool = False
    course: Course = field(default_factory=Course)

    def add(self, request: Request, reply: Reply | None, t_s: float) -> None:
        """One question answered ``t_s`` seconds into the phase; a request that failed gave no answer and is counted
        among the errors instead."""
        if request.expects is None or reply is None:
            return
        found = recalled(request, reply)
        self.saw_context |= reply.context is not None
        if request.age == SAME_MESSAGE:
            self.same_message[0] += found
            self.same_message[1] += 1
            return
        self.hits += found
        self.trials += 1
        self.course.add(t_s, found)
        cluster = zlib.crc32(request.conversation_id.encode()) % CLUSTERS
        for row in (self.by_age[bisect_right(AGES, request.age) - 1], self.clusters.setdefault(cluster, [0, 0])):
            row[0] += found
            row[1] += 1

    def evidence(self) -> Evidence:
        """The share found, clustered by conversation."""
        repeated, asked = self.same_message
        if not self.saw_context and asked and repeated < REPEATS * asked:
            return NotMeasured(
                f"the target shows no prompt, and its answers repeat a fact stated in the same message in {repeated} "
                f"of {asked} cases only"
            )
        if not self.trials:
            return NotMeasured("no planted fact was asked for in the measured time")
        return Share(
            hits=self.hits,
            trials=self.trials,
            clusters=[(float(hits), float(trials)) for hits, trials in self.clusters.values()],
            series=self.course.series(),
            details={
                "judged_by": "context" if self.saw_context else "answer",
                "by_age": [
                    {"turns": label, "facts": trials, "share": hits / trials}
                    for label, (hits, trials) in zip(AGE_LABELS, self.by_age, strict=True)
                    if trials
                ],
            },
        )
