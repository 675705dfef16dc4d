"""The reference chat system's answers: with memory, context and budgets, by models of stated delays.

A conversation is known by the id that the request gives, or by what was said before: the messages up to the last
answer, as this server gave it.  One that is known by neither is new, and begins with the history in the request.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

from perfsuite.errors import UsageError
from perfsuite.reference.configuration import LARGE, SMALL, ModelSpec, ReferenceConfig
from perfsuite.reference.context import BudgetExceeded
from perfsuite.reference.model import PromptTooLong
from perfsuite.reference.system import ChatSystem, RateLimited
from perfsuite.reference.tokenizer import render
from perfsuite.serve.http import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfsuite.reference.system import Answer as ChatAnswer
    from perfsuite.serve.dialect import Message
    from perfsuite.serve.exchange import Exchange
    from perfsuite.serve.options import ModelDelays

MOST_CONVERSATIONS = 20_000
SYSTEM = ("system", "developer")


def configuration(models: Sequence[ModelDelays], tokens: int) -> ReferenceConfig:
    """The reference system with these models; the built-in ones keep their windows and weights."""
    known = {spec.name: spec for spec in (SMALL, LARGE)}
    specs = []
    for model in models:
        like = known.get(model.name, SMALL)
        specs.append(
            ModelSpec(
                name=model.name,
                ttft_ms=model.ttft_ms,
                token_ms=model.token_ms,
                window_tokens=like.window_tokens,
                weights_bytes=like.weights_bytes,
                load_ms=like.load_ms,
            )
        )
    return ReferenceConfig(models=tuple(specs), answer_tokens=tokens)


def _digest(messages: Sequence[Message]) -> bytes:
    return blake2b(render(messages).encode("utf-8", "replace"), digest_size=16).digest()


class Chats:
    """The system, and which conversation a request belongs to."""

    def __init__(self, config: ReferenceConfig) -> None:
        self.system = ChatSystem(config)
        self._said: OrderedDict[bytes, tuple[str, str]] = OrderedDict()

    async def open(self) -> None:
        """Opens the system."""
        await self.system.open()

    async def close(self) -> None:
        """Closes it."""
        await self.system.close()

    def place(self, exchange: Exchange) -> tuple[str, str]:
        """(conversation, user) of a request."""
        asked, headers = exchange.asked, exchange.request.headers
        user = asked.user or headers.get("x-user-id")
        conversation = asked.conversation or headers.get("x-conversation-id")
        if conversation is None:
            said = self._said.get(_digest(asked.messages[:-1])) if len(asked.messages) > 1 else None
            if said is not None and user in (None, said[1]):
                return said
            conversation = f"conversation-{exchange.answer.ident}"
        return conversation, user or f"user of {conversation}"

    def answered(self, messages: Sequence[Message], text: str, place: tuple[str, str]) -> None:
        """What was said so far names the conversation."""
        key = _digest([*messages, {"role": "assistant", "content": text}])
        self._said[key] = place
        self._said.move_to_end(key)
        while len(self._said) > MOST_CONVERSATIONS:
            self._said.popitem(last=False)


class ChatSource:
    """The tokens of one answer of the system's."""

    at_once = False

    def __init__(self, exchange: Exchange, chats: Chats, per_chunk: int) -> None:
        self.usage = exchange.answer.usage
        self._exchange = exchange
        self._chats = chats
        self._per_chunk = per_chunk
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._chat())
        self._over = False
        self._said: list[str] = []
        self._again = 0

    async def _chat(self) -> None:
        exchange = self._exchange
        asked = exchange.asked
        try:
            place = self._chats.place(exchange)
            answer = await self._chats.system.chat(
                str(asked.messages[-1]["content"]),
                conversation_id=place[0],
                user_id=place[1],
                model=exchange.answer.model,
                max_tokens=asked.max_tokens,
                history=asked.messages[:-1],
                on_token=self._queue.put_nowait,
            )
            self._chats.answered(asked.messages, answer.text, place)
            self._count(answer)
        finally:
            self._queue.put_nowait(None)

    def _count(self, answer: ChatAnswer) -> None:
        usage = self.usage
        usage.prompt, usage.completion = answer.prompt_tokens, answer.completion_tokens
        usage.cached = min(usage.cached, usage.prompt - 1)
        usage.agents = {
            one.agent: {
                "model": one.model,
                "prompt_tokens": one.prompt_tokens,
                "completion_tokens": one.completion_tokens,
            }
            for one in answer.spent
        }
        limit = self._exchange.asked.max_tokens
        if limit is not None and answer.completion_tokens >= limit:
            self._exchange.answer.finish = "length"

    async def next(self) -> list[str]:
        """The next piece; what the system refuses is a BadRequest."""
        said: list[str] = []
        while not self._over and len(said) < self._per_chunk:
            piece = await self._queue.get()
            if piece is None:
                self._over = True
                await self._finished()
            else:
                said.append(piece)
        if not self._exchange.fault.never_end:
            return said
        self._said += said
        return said or await self._repeat()

    async def _repeat(self) -> list[str]:
        """What was said, again, at the model's pace: an answer that never ends."""
        if not self._said:
            return []
        delay_ms = self._chats.system.pool.get(self._exchange.answer.model).spec.token_ms
        await asyncio.sleep(max(delay_ms, 1) * self._per_chunk / 1e3)
        first = self._again % len(self._said)
        piece = self._said[first : first + self._per_chunk]
        self._again += len(piece)
        return piece

    async def _finished(self) -> None:
        try:
            await self._task
        except RateLimited as error:
            raise BadRequest(429, str(error), retry_after_s=error.retry_after_s) from error
        except (BudgetExceeded, PromptTooLong) as error:
            raise BadRequest(400, str(error), code="context_length_exceeded") from error
        except UsageError as error:
            raise BadRequest(404, str(error), code="model_not_found") from error

    def delay(self, nanoseconds: int) -> None:
        """The system does not wait for its reader: what it said meanwhile comes at once after a pause."""

    async def close(self) -> None:
        """Ends the system's work on it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
