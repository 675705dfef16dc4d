"""The probe ``checkpoint``: the three response-time scenarios, the tokens of each message, a hundred memories."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from perfsuite._core import Histogram
from perfsuite.errors import UsageError
from perfsuite.evidence import Evidence, NotMeasured, Samples, Share
from perfsuite.suites.checkpoint.enforcing import measure_budget
from perfsuite.suites.checkpoint.remembering import measure_memories, unseen
from perfsuite.suites.checkpoint.scenarios import BUDGET, COUNTS, MEMORIES, OVERSIZED, TOLD, TURNS_BEFORE, Scenarios
from perfsuite.suites.checkpoint.tokens import Tokens
from perfsuite.suites.streaming import samples, streaming_evidence
from perfsuite.targets.http.failures import UNAUTHORIZED, HttpFailure

if TYPE_CHECKING:
    from perfsuite.loadgen import Times
    from perfsuite.suites.session import Session, Stretch
    from perfsuite.targets.base import Failure, Reply, Request

FEWEST_BLOCKS = 4
"""Answers that fall into fewer slices of time tell nothing of how they depend on one another (``effective_size`` takes
so few for independent as well): a handful of quick ones, asked one after another, are taken as they come."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for all that its row in ``suites/probes`` lists."""
    return await _Study(session).make()


class _Study:
    def __init__(self, session: Session) -> None:
        self.session = session
        target = session.target
        self.inside = target.inspection
        memories = TOLD if self.inside is None else MEMORIES
        self.scenarios = Scenarios(session.seed, secrets.token_hex(4), target.models, memories)
        self.count = COUNTS[session.plan.profile]
        meant = dict(self.inside.models_meant()) if self.inside is not None else {}
        self.tokens = Tokens(target, {**meant, **session.plan.agent_models})
        self.driven: list[Stretch] = []
        self.right = self.asked = 0
        self.answered = False

    async def make(self) -> dict[str, Evidence]:
        """Everything, one after the other."""
        if self.session.load.concurrency is not None or self.session.load.due_rate is not None:
            self.session.note("the scenarios send one message after another, whatever load is asked for")
        scenarios, inside = self.scenarios, self.inside
        memories = unseen(self.session.target.name)
        if inside is not None:
            import sqlalchemy  # noqa: F401 - for the database's part; later it would be taken for the system's growth

            memories = await measure_memories(self.session, scenarios, inside)
        found: dict[str, Evidence] = {}
        found["simple_response_time"] = await self._timed("simple queries", scenarios.simple(self.count), {})
        if inside is None:
            told = await self._drive("telling memories", scenarios.told())
            if told is None:
                return found
        details: dict[str, object] = {"memories": len(scenarios.memories)}
        asked = scenarios.asked(self.count, told=inside is None)
        found["large_memory_response_time"] = await self._timed("large memory context", asked, details)
        long = scenarios.long(self.count)
        found["long_conversation_response_time"] = await self._timed(
            "long conversations", long, {"messages_before": TURNS_BEFORE}
        )
        await self.tokens.settle()
        if inside is None:
            memories["memories_found"] = self._by_answers()
        budget = await measure_budget(self.session, scenarios.oversized(BUDGET, OVERSIZED), BUDGET)
        return {**found, **memories, **self.tokens.evidence(), **budget, **merged(self.driven)}

    async def _timed(self, name: str, requests: Iterator[Request], details: Mapping[str, object]) -> Evidence:
        stretch = await self._drive(name, requests)
        if stretch is None:
            return NotMeasured(self.session.budget.reached or "the run was stopped before")
        found = samples(stretch, "response_time")
        if isinstance(found, Samples):
            found.details = {**found.details, **details}
            if sum(block.count > 0 for block in found.blocks) < FEWEST_BLOCKS:
                found.blocks = found.block_times = ()
        return found

    async def _drive(self, name: str, requests: Iterator[Request]) -> Stretch | None:
        """Sends them, one after another; None where nothing more may be sent."""
        session = self.session
        if session.stop.is_set() or session.budget.reached is not None:
            return None
        wanted = {one.text: one for one in self.scenarios.questions}
        markers = {memory.key: memory.marker or memory.text for memory in self.scenarios.memories}

        def heard(request: Request, reply: Reply | None, failure: Failure | None, times: Times) -> None:
            if isinstance(failure, HttpFailure) and failure.status in UNAUTHORIZED and not self.answered:
                raise UsageError(str(failure))  # as all that follow would be
            self.answered = self.answered or reply is not None
            self.tokens.heard(request, reply)
            self.scenarios.answered(request, reply)
            question = wanted.get(request.message)
            if question is not None and reply is not None:
                self.asked += 1
                self.right += any(markers[key] in reply.text for key in question.relevant)

        stretch = await session.drive(
            name,
            requests,
            duration_s=session.plan.request_timeout_s * (self.count + len(self.scenarios.memories)),
            concurrency=1,
            few=True,
            on_reply=heard,
        )
        self.driven.append(stretch)
        return stretch

    def _by_answers(self) -> Evidence:
        if not self.asked:
            return NotMeasured("no question about a memory was answered")
        return Share(hits=self.right, trials=self.asked, details={"by": "the answers that have what was asked for"})


def merged(stretches: list[Stretch]) -> dict[str, Evidence]:
    """The streamed metrics of all scenarios together: what is a distribution, and the share that failed."""
    found = [streaming_evidence(stretch) for stretch in stretches]
    together: dict[str, Evidence] = {}
    for name in found[0] if found else ():
        parts = [one[name] for one in found]
        several = [part for part in parts if isinstance(part, Samples)]
        shares = [part for part in parts if isinstance(part, Share)]
        if several:
            histogram = Histogram(precision=10)
            for part in several:
                histogram.merge(part.histogram)
            together[name] = Samples(
                histogram=histogram,
                blocks=[block for part in several for block in part.blocks],
                failed=sum(part.failed for part in several),
                longest_wait=max(part.longest_wait for part in several),
            )
        elif shares:
            together[name] = Share(hits=sum(one.hits for one in shares), trials=sum(one.trials for one in shares))
    return together
