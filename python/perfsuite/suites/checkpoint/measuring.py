"""The probe ``checkpoint``: the three response-time scenarios, the tokens of each message, a hundred memories."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from perfsuite._core import Histogram
from perfsuite.evidence import Evidence, Exact, NotMeasured, Samples, Share
from perfsuite.suites.checkpoint.remembering import measure_memories, unseen
from perfsuite.suites.checkpoint.scenarios import BUDGET, COUNTS, MEMORIES, OVERSIZED, TOLD, TURNS_BEFORE, Scenarios
from perfsuite.suites.checkpoint.tokens import Tokens, total_of
from perfsuite.suites.probes.counting import ask
from perfsuite.suites.streaming import samples, streaming_evidence
from perfsuite.targets.base import Reply

if TYPE_CHECKING:
    from perfsuite.loadgen import Times
    from perfsuite.suites.session import Session, Stretch
    from perfsuite.targets.base import Failure, Request

FEWEST_BLOCKS = 4
"""Answers that fall into fewer slices of time tell nothing of how they depend on one another (``effective_size`` takes
so few for independent as well): a handful of quick ones, asked one after another, are taken as they come."""

TOLD_APART = 2
REFUSALS = ("target", "http_4xx", "http_429", "too_large")
"""Kinds of failures by which a service may refuse a message that is too large."""


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
        self.apart = False

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
        if inside is None:
            await self._tell_agents_apart()
        await self.tokens.settle()
        if inside is None:
            memories["memories_found"] = self._by_answers()
        return {**found, **memories, **self.tokens.evidence(), **await self._budget(), **merged(self.driven)}

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

    async def _tell_agents_apart(self) -> None:
        """The engines that drive a load keep two counts of each answer.  Where a service tells more, its tokens are
        those of some further messages, a few of each scenario, which are read whole."""
        scenarios = self.scenarios
        for requests in (scenarios.simple(1), scenarios.asked(TOLD_APART, told=True), scenarios.longer(TOLD_APART)):
            for request in requests:
                if self.session.stop.is_set() or self.session.budget.reached is not None:
                    return
                reply = await ask(self.session, request)
                if isinstance(reply, str) or "agents" not in reply.extra:
                    return
                if not self.apart:
                    self.apart = True
                    self.tokens.start_anew()
                self.tokens.heard(request, reply)
                scenarios.answered(request, reply)

    def _by_answers(self) -> Evidence:
        if not self.asked:
            return NotMeasured("no question about a memory was answered")
        return Share(hits=self.right, trials=self.asked, details={"by": "the answers that have what was asked for"})

    async def _budget(self) -> dict[str, Evidence]:
        """Messages that are too large on purpose: refused, or answered within the budget, else it is not enforced."""
        kept = tried = refused = 0
        largest = 0
        texts: list[str] = []
        for request in self.scenarios.oversized(BUDGET, OVERSIZED):
            if self.session.stop.is_set() or self.session.budget.reached is not None:
                break
            reply = await ask(self.session, request)
            if isinstance(reply, str):
                refusal = reply.partition(":")[0] in REFUSALS
                texts.append(reply)
                refused += refusal
                kept += refusal
                tried += refusal
                continue
            total = total_of(reply)
            if total is not None:
                tried += 1
                kept += total <= BUDGET
                largest = max(largest, total)
        details: dict[str, object] = {"budget_tokens": BUDGET, "oversized_messages": tried, "refused": refused}
        if largest:
            details["largest_answered"] = largest
        if texts:
            details["said"] = list(dict.fromkeys(texts))
        if not tried:
            return {
                "budget_enforced": NotMeasured("no oversized message was refused, or answered with a count", details)
            }
        return {
            "budget_enforced": Exact(value=kept / tried, samples=tried, details=details),
            "budget_refusals": Exact(value=float(refused), samples=tried),
        }


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
