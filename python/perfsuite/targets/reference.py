"""The embedded reference chat system as a target."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.errors import UsageError, unknown
from perfsuite.reference.agents import MEMORY, PLANNER, RESPONDER
from perfsuite.reference.configuration import ReferenceConfig, describe_simulation
from perfsuite.reference.context import BudgetExceeded
from perfsuite.reference.model import PromptTooLong
from perfsuite.reference.system import ChatSystem, RateLimited
from perfsuite.reference.tokenizer import count_prompt, render
from perfsuite.targets.base import AgentCall, Assembled, Codec, Failure, Inspection, Message, Reply, Request, Target
from perfsuite.targets.memory import MemoryTarget

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from perfsuite._core import Row
    from perfsuite.chatloop.loop import ChatLoop
    from perfsuite.chatloop.monitor import PerformanceMonitor
    from perfsuite.memory.host import Hosted
    from perfsuite.plan import Plan


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The target ``reference``, its database in ``workdir``; ``--model`` chooses among its models and orders them."""
    if rest:
        raise UsageError(f"the target is reference, without {rest!r} after it")
    config = ReferenceConfig(path=workdir / "reference.sqlite")
    if plan.models:
        specs = {spec.name: spec for spec in config.models}
        for choice in plan.models:
            if choice.name not in specs:
                raise unknown("model", choice.name, specs, "the reference system")
            if choice.url is not None:
                raise UsageError(f"the reference system's models have no URL: say --model {choice.name}")
        config = replace(config, models=tuple(specs[choice.name] for choice in plan.models))
    return ReferenceTarget(config)


class ReferenceTarget:
    """The reference system behind the protocol of targets."""

    name = "reference"
    chats = True
    stamps = "monotonic clock, in the process, as each piece is given"

    def __init__(self, config: ReferenceConfig | None = None) -> None:
        self.system = ChatSystem(config)
        self.simulated: tuple[str, ...] = (describe_simulation(self.system.config),)
        self._inspection = ReferenceInspection(self.system)

    @property
    def inspection(self) -> Inspection | None:
        """Its inside."""
        return self._inspection

    @property
    def process_ids(self) -> Sequence[int]:
        """This process: the system is embedded."""
        return (os.getpid(),)

    @property
    def models(self) -> Sequence[str]:
        """The models that answer, the default first."""
        return tuple(spec.name for spec in self.system.config.models)

    async def open(self) -> None:
        """Opens the system."""
        await self.system.open()

    async def send(self, request: Request, row: Row) -> Reply:
        """One message; each piece of the answer is a token."""
        row.sent()
        try:
            answer = await self.system.chat(
                request.message,
                user_id=request.user_id,
                conversation_id=request.conversation_id,
                model=request.model,
                max_tokens=request.max_tokens,
                history=request.messages[:-1],
                on_token=lambda piece: row.token(),
            )
        except RateLimited as error:
            raise Failure("http_429", str(error)) from error
        except (BudgetExceeded, PromptTooLong) as error:
            raise Failure("target", str(error)) from error
        return Reply(
            text=answer.text,
            model=answer.model,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            counted_by="the simulated model's own tokenizer",
            context=answer.context.messages,
            extra={
                "agents": {one.agent: (one.model, one.prompt_tokens, one.completion_tokens) for one in answer.spent},
                "context_tokens": answer.context.tokens,
                "memories": answer.context.memories,
            },
        )

    def started(
        self,
        *,
        workdir: Path,
        model_url: str | None,
        dim: int,
        timeout_s: float,
        options: Mapping[str, object],
        meter: Callable[[], Mapping[str, float]] | None,
    ) -> AbstractAsyncContextManager[Hosted]:
        """Its memory alone, in a process of its own."""
        return MemoryTarget("reference").started(
            workdir=workdir, model_url=model_url, dim=dim, timeout_s=timeout_s, options=options, meter=meter
        )

    @property
    def loop_name(self) -> str:
        """The package's own loop."""
        return ""

    def new_loop(self, monitor: PerformanceMonitor | None = None) -> ChatLoop:
        """The chat loop beside the system: its model is simulated too, and answers at once."""
        from perfsuite.targets.chatloop import ChatLoopTarget

        return ChatLoopTarget().new_loop(monitor)

    def tier_options(self, count: int) -> Mapping[str, object]:
        """Of its memory."""
        return MemoryTarget("reference").tier_options(count)

    async def close(self) -> None:
        """Closes the system."""
        await self.system.close()


class ReferenceInspection:
    """The inside of the reference system."""

    def __init__(self, system: ChatSystem) -> None:
        self._system = system

    def cache_counts(self) -> tuple[int, int]:
        """(hits, misses) of the embedding cache."""
        cache = self._system.memories.cache
        return cache.hits, cache.misses

    def codec(self) -> Codec:
        """The codec of what is cold."""
        return self._system.codec

    def strongest_codec(self) -> Codec:
        """The same codec at its strongest setting."""
        return self._system.strongest_codec

    def stored_conversations(self, minimum_bytes: int = 0) -> Iterator[tuple[bytes, bytes]]:
        """(original, stored) bytes of each archive, newest first."""
        return self._system.store.archives(minimum_bytes)

    def store_conversation(self, messages: Sequence[Message], *, user_id: str, conversation_id: str) -> None:
        """Puts a whole finished conversation into compressed storage."""
        self._system.store_conversation(messages, user_id, conversation_id)

    def transcript(self, conversation_id: str) -> Sequence[Message]:
        """A conversation as it comes out of storage."""
        return self._system.store.transcript(conversation_id)

    def footprint_command(self, *, compressed: bool) -> Sequence[str]:
        """Measures stored conversations in a process of its own."""
        codec = self._system.config.codec if compressed else "none"
        return (sys.executable, "-m", "perfsuite.reference.footprint", codec)

    def remember(self, text: str, *, user_id: str) -> str:
        """Stores one memory; returns its id."""
        return self._system.remember(text, user_id)

    def assemble(self, question: str, *, user_id: str, conversation_id: str, budget_tokens: int) -> Assembled:
        """The context for a question; an empty one where the question alone is more than the budget."""
        try:
            context = self._system.assemble(question, user_id, conversation_id, budget_tokens)
        except BudgetExceeded:
            return Assembled(messages=(), tokens=0, memories=(), dropped=0)
        return Assembled(
            messages=context.messages, tokens=context.tokens, memories=context.memories, dropped=context.dropped
        )

    def search(self, question: str, *, user_id: str, k: int) -> Sequence[str]:
        """The ids of the nearest memories."""
        return [one.id for one in self._system.memories.recall(user_id, question, k)]

    def agent_calls(self, conversation_id: str) -> Sequence[AgentCall]:
        """By the log of its agents."""
        return [
            AgentCall(one.agent, one.model, one.prompt_tokens, one.completion_tokens)
            for one in self._system.store.spent_in(conversation_id)
        ]

    def models_meant(self) -> Mapping[str, str]:
        """The utility model for what is done beside the answer, the first of the models for that."""
        config = self._system.config
        return {PLANNER: config.utility.name, MEMORY: config.utility.name, RESPONDER: config.models[0].name}

    def truncate(self, messages: Sequence[Message], budget_tokens: int) -> Sequence[Message]:
        """The history cut to a budget of tokens."""
        return self._system.truncate(messages, budget_tokens)

    def count_tokens(self, messages: Sequence[Message], model: str) -> int:
        """The memory system's counter."""
        self._system.pool.get(model)
        return self._system.counter.prompt(messages)

    def true_tokens(self, messages: Sequence[Message], model: str) -> int:
        """The model's tokenizer over the rendered prompt."""
        self._system.pool.get(model)
        return count_prompt(render(messages))

    def resident_bytes(self) -> int:
        """Bytes of weights held."""
        return self._system.pool.resident_bytes
