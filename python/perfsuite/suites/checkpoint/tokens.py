"""The tokens of each message over all agents, whose they are, and whether each agent used the model meant for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from perfsuite._core import Histogram
from perfsuite.evidence import Evidence, Exact, NotMeasured, Samples
from perfsuite.targets.base import AgentCall, Reply, Request

if TYPE_CHECKING:
    from perfsuite.targets.base import Target

LATEST_S = 5.0
"""An agent that works after the answer (what is worth remembering?) has so long to be through."""


class Tokens:
    """Counts, message by message.  ``meant``: the model that each agent is to use."""

    def __init__(self, target: Target, meant: Mapping[str, str]) -> None:
        self._target = target
        self._meant = meant
        self._answered: dict[str, list[Reply]] = {}
        self._messages: list[list[AgentCall]] = []
        self._counted_by: set[str] = set()
        self.uncounted = 0
        self.shown = target.inspection is not None

    def heard(self, request: Request, reply: Reply | None) -> None:
        """A message has ended."""
        if reply is not None:
            self._answered.setdefault(request.conversation_id, []).append(reply)

    async def settle(self) -> None:
        """When all messages are answered: what each agent spent, as far as the target shows it."""
        for conversation, replies in self._answered.items():
            if self._target.inspection is not None:
                self._messages += await self._inside(conversation, len(replies))
                continue
            for reply in replies:
                calls = _told(reply)
                if calls is None:
                    self.uncounted += 1
                    continue
                self.shown = self.shown or "agents" in reply.extra
                self._counted_by.add(reply.counted_by)
                self._messages.append(calls)

    async def _inside(self, conversation: str, messages: int) -> list[list[AgentCall]]:
        """The calls of each message: the first of every agent belong to the first message, and so on.  An agent that
        works after the answer is waited for."""
        inspection = self._target.inspection
        assert inspection is not None
        deadline = time.monotonic() + LATEST_S
        while True:
            by_agent: dict[str, list[AgentCall]] = {}
            for call in inspection.agent_calls(conversation):
                by_agent.setdefault(call.agent, []).append(call)
            if all(len(calls) >= messages for calls in by_agent.values()) and set(self._meant) <= set(by_agent):
                break
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
        return [[calls[number] for calls in by_agent.values() if number < len(calls)] for number in range(messages)]

    def evidence(self) -> dict[str, Evidence]:
        """tokens_per_message, tokens_total and agents_on_model."""
        if not self._messages:
            reason = NotMeasured(f"{self._target.name} does not tell how many tokens a message took")
            return {"tokens_per_message": reason, "tokens_total": reason, "agents_on_model": self._unseen()}
        totals = [sum(call.tokens for call in calls) for calls in self._messages]
        times = Histogram(precision=10)
        times.record_many([float(total) for total in totals])
        table = self._table()
        details: dict[str, object] = {"messages": len(totals), "largest": max(totals), "by_agent": table}
        if self._counted_by:
            details["counted_by"] = ", ".join(sorted(self._counted_by))
        if self.uncounted:
            details["not_counted"] = self.uncounted
        return {
            "tokens_per_message": Samples(histogram=times, details=details),
            "tokens_total": Exact(value=float(sum(totals)), samples=len(totals)),
            "agents_on_model": self._on_model(table),
        }

    def _table(self) -> list[dict[str, object]]:
        calls = [call for message in self._messages for call in message]
        rows: list[dict[str, object]] = []
        for agent in dict.fromkeys(call.agent for call in calls):
            own = [call for call in calls if call.agent == agent]
            models = list(dict.fromkeys(call.model or "not told" for call in own))
            rows.append(
                {
                    "agent": agent,
                    "calls": len(own),
                    "models": models,
                    "meant": self._meant.get(agent),
                    "prompt_tokens": sum(call.prompt_tokens for call in own),
                    "completion_tokens": sum(call.completion_tokens for call in own),
                    "tokens_per_message": sum(call.tokens for call in own) / len(self._messages),
                }
            )
        return rows

    def _on_model(self, table: Sequence[Mapping[str, object]]) -> Evidence:
        if not self.shown:
            return self._unseen()
        judged = [call for call in self._calls() if call.agent in self._meant]
        if not judged:
            return NotMeasured("nothing says which model each agent is to use: --agent-model AGENT=MODEL does")
        right = sum(call.model == self._meant[call.agent] for call in judged)
        wrong = [f"{call.agent} on {call.model}" for call in judged if call.model != self._meant[call.agent]]
        details: dict[str, object] = {"wrong": list(dict.fromkeys(wrong))} if wrong else {}
        return Exact(value=right / len(judged), samples=len(judged), details=details)

    def _calls(self) -> Iterable[AgentCall]:
        return (call for message in self._messages for call in message)

    def _unseen(self) -> NotMeasured:
        return NotMeasured(f"{self._target.name} tells the tokens of a message as a whole, not which agent used them")


def _told(reply: Reply) -> list[AgentCall] | None:
    """What a reply tells: each agent's calls, or one sum, or nothing."""
    agents = reply.extra.get("agents")
    if isinstance(agents, Sequence) and agents and all(isinstance(one, AgentCall) for one in agents):
        return list(agents)
    if reply.prompt_tokens is None or reply.completion_tokens is None:
        return None
    return [AgentCall("the service", reply.model, reply.prompt_tokens, reply.completion_tokens)]


def total_of(reply: Reply) -> int | None:
    """The tokens of a reply as it tells them."""
    calls = _told(reply)
    return None if calls is None else sum(call.tokens for call in calls)
