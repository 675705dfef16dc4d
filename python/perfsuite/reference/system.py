"""The reference chat system: conversations with memory, within budgets, answered by simulated models.

A message goes through the rate limiter, the planner (does it need what was said before?), retrieval, context assembly
and the responder; message and answer are stored; then, after the answer and before the conversation's next message, the
memory agent chooses what is worth remembering.

The database is used on the event loop's thread.  Measured with 10,000 memories on two cores (median, p99): storing a
message and its answer 0.02 and 0.10 ms, a retrieval with re-ranking 0.28 and 0.44 ms, all of it but SQLite's part under
the GIL; a hop to an executor's thread and back 0.03 and 0.07 ms on an idle loop, more on a busy one.  A hop would cost
what a store takes, hide little of a retrieval, and need a lock around what is in memory.  What keeps this right is that
a message needs few statements: test_system.py counts them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perfsuite._core import RateLimiter
from perfsuite.compression import codec_at
from perfsuite.errors import PerfsuiteError
from perfsuite.reference import agents
from perfsuite.reference.agents import Spent
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.context import Assembler, BudgetExceeded, Context, Message
from perfsuite.reference.counter import MESSAGE_OVERHEAD, PROMPT_OVERHEAD, TokenCounter, text_of_parts
from perfsuite.reference.memory import Memories, Tier
from perfsuite.reference.model import ModelPool, SimulatedModel
from perfsuite.reference.store import Store
from perfsuite.reference.tokenizer import count_prompt, render
from perfsuite.scratch import scratch_folder
from perfsuite.trimming import TrimPolicy, trim

ARCHIVE_KEEPS = 12
"""Newest messages of a conversation that stay rows when the older ones are archived."""
ROLE_TOKENS = 2
TOKENS_A_CANDIDATE = 8
"""A memory has about that many tokens or more: no more candidates are looked for than could fit."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class RateLimited(PerfsuiteError):
    """A user sends more messages than the limiter allows."""

    def __init__(self, user: str, retry_after_s: float) -> None:
        super().__init__(f"user {user} sends too many messages; retry after {retry_after_s:.3f} s")
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Answer:
    """What a message was answered with.  ``prompt_tokens`` and ``completion_tokens`` are the responder's, by the
    model's own tokenizer; ``spent`` is what each agent used before the answer ended."""

    text: str
    model: str
    context: Context
    prompt_tokens: int
    completion_tokens: int
    spent: list[Spent]


@dataclass(slots=True, eq=False)
class Conversation:
    """A conversation in memory."""

    session: int
    user: str
    history: list[Message]
    pinned: list[str] = field(default_factory=list)
    unarchived_bytes: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    remembering: asyncio.Task[None] | None = None
    users: int = 0


class ChatSystem:
    """The system.  To be used from one event loop; ``open`` before, ``close`` after.

    Counters: ``refused_budget``, ``refused_rate``, and ``spent`` of the last message by agent in its Answer.
    """

    def __init__(self, config: ReferenceConfig | None = None) -> None:
        self.config = config = config or ReferenceConfig()
        self.codec = codec_at(config.codec)
        self.strongest_codec = codec_at(config.codec, strongest=True)
        self.counter = TokenCounter()
        self.limiter = RateLimiter(config.rate_per_s, config.rate_burst, config.max_users)
        self.assembler = Assembler(self.counter, config.system_prompt, config.recent_share, config.recent_turns)
        self.policy = TrimPolicy(max_history_pairs=config.max_history_pairs)
        self.pool = ModelPool(config.models)
        self.utility = SimulatedModel(config.utility)
        self.refused_budget = 0
        self.refused_rate = 0
        self._conversations: OrderedDict[str, Conversation] = OrderedDict()
        self._holding = contextlib.ExitStack()
        self._store: Store | None = None
        self._memories: Memories | None = None

    @property
    def store(self) -> Store:
        """The database, while the system is open."""
        if self._store is None:
            raise PerfsuiteError("the reference system is not open: call open() first")
        return self._store

    @property
    def memories(self) -> Memories:
        """The memories, while the system is open."""
        if self._memories is None:
            raise PerfsuiteError("the reference system is not open: call open() first")
        return self._memories

    async def open(self) -> None:
        """Opens the database and loads the utility model and the first model."""
        if self._store is not None:
            return
        path = self.config.path
        if path is None:
            path = self._holding.enter_context(scratch_folder("reference")) / "reference.sqlite"
        self._store = Store(path, self.config, self.codec)
        try:
            self._memories = Memories(self._store, self.config)
        except sqlite3.Error as error:
            self._store.close()
            self._store = None
            raise PerfsuiteError(f"cannot read the database {path}: {error}") from error
        await self.utility.load()
        async with self.pool.use(self.config.models[0].name):
            pass

    async def close(self) -> None:
        """Waits for what is being remembered, writes it, and lets everything go.  Raises what the memory agent met."""
        tasks = [one.remembering for one in self._conversations.values() if one.remembering is not None]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self._conversations.clear()
        try:
            if self._memories is not None:
                self._memories.flush()
        finally:
            if self._store is not None:
                self._store.close()
            self._store = self._memories = None
            self.pool.close()
            self.utility.release()
            self._holding.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def chat(
        self,
        message: str,
        *,
        user_id: str,
        conversation_id: str,
        model: str | None = None,
        max_tokens: int | None = None,
        history: Sequence[Mapping[str, object]] = (),
        on_token: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answers one message; ``on_token`` gets each piece as it comes.  When this returns, both are stored.

        ``history``: what was said before, for a conversation that the system does not know.  Raises RateLimited,
        BudgetExceeded (both counted), UsageError for an unknown model.
        """
        wanted = self.pool.get(model or self.config.models[0].name)
        if not self.limiter.allow(user_id):
            self.refused_rate += 1
            raise RateLimited(user_id, self.limiter.retry_after(user_id))
        text = _UNPRINTABLE.sub(" ", message)
        limit = min(max_tokens or self.config.answer_tokens, self.config.answer_tokens)
        async with self._conversation(conversation_id, user_id, history) as conversation:
            budget = min(
                wanted.spec.window_tokens,
                self.config.message_budget
                - agents.plan_tokens(text, self.counter)
                - agents.EXTRACT_TOKENS
                - agents.OUTPUT_TOKENS,
            )
            self._check_fits(text, conversation, budget - limit)
            recall, planned = await agents.plan(text, self.utility)
            context = self._assemble(text, conversation, budget - limit, recall)
            prompt = render(context.messages)
            said: list[str] = []
            async with self.pool.use(wanted.spec.name) as loaded:
                async for piece in loaded.stream(prompt, limit):
                    said.append(piece)
                    if on_token is not None:
                        on_token(piece)
            used = Spent(agents.RESPONDER, wanted.spec.name, count_prompt(prompt), len(said))
            answer = Answer("".join(said), wanted.spec.name, context, used.prompt_tokens, len(said), [planned, used])
            self._keep(conversation, text, answer)
            conversation.remembering = asyncio.create_task(self._remember(conversation, text))
        await asyncio.sleep(0)  # models without delays would let nothing else run
        return answer

    def _check_fits(self, text: str, conversation: Conversation, budget: int) -> None:
        try:
            self.assembler.assemble(text, budget, pinned=conversation.pinned)
        except BudgetExceeded:
            self.refused_budget += 1
            raise

    def _assemble(self, text: str, conversation: Conversation, budget: int, recall: bool) -> Context:
        notes = self.memories.search(conversation.user, text, max(32, budget // TOKENS_A_CANDIDATE)) if recall else []
        return self.assembler.assemble(
            text, budget, notes=notes, history=conversation.history, pinned=conversation.pinned
        )

    def _keep(self, conversation: Conversation, text: str, answer: Answer) -> None:
        turn: list[Message] = [{"role": "user", "content": text}, {"role": "assistant", "content": answer.text}]
        self.store.add_messages(conversation.session, turn, answer.spent)
        conversation.history += turn
        trim(conversation.history, self.policy)
        conversation.unarchived_bytes += len(text) + len(answer.text)
        if conversation.unarchived_bytes > self.config.archive_bytes:
            self.store.archive_older(conversation.session, ARCHIVE_KEEPS)
            conversation.unarchived_bytes = 0

    async def _remember(self, conversation: Conversation, text: str) -> None:
        chosen, spent = await agents.extract(text, self.utility, self.counter)
        with self.store.transaction():
            if chosen:
                self.memories.add(conversation.user, chosen)
            self.store.log(conversation.session, (spent,))

    @contextlib.asynccontextmanager
    async def _conversation(
        self, name: str, user: str, history: Sequence[Mapping[str, object]]
    ) -> AsyncIterator[Conversation]:
        """The conversation, one message at a time, once what was said last is remembered."""
        conversation = self._conversations.get(name)
        if conversation is None:
            conversation = self._conversations[name] = self._open_conversation(name, user, history)
        self._conversations.move_to_end(name)
        conversation.users += 1
        try:
            self._forget_idle()
            async with self._turn(conversation):
                yield conversation
        finally:
            conversation.users -= 1

    @staticmethod
    @contextlib.asynccontextmanager
    async def _turn(conversation: Conversation) -> AsyncIterator[None]:
        async with conversation.lock:
            task = conversation.remembering
            if task is not None:
                try:
                    await asyncio.shield(task)  # a message that is cancelled does not undo what the last one said
                finally:
                    if task.done():
                        conversation.remembering = None
            yield

    def _open_conversation(self, name: str, user: str, history: Sequence[Mapping[str, object]]) -> Conversation:
        session = self.store.session(name, user)
        known = self.store.recent_messages(session, 2 * self.config.max_history_pairs)
        conversation = Conversation(session, user, known)
        plain = [{**one, "content": _UNPRINTABLE.sub(" ", one["content"])} for one in map(self._said, history)]
        conversation.pinned = [one["content"] for one in plain if one["role"] in ("system", "developer")]
        if not known:
            said = [one for one in plain if one["role"] not in ("system", "developer")]
            if said:
                self.store.add_messages(session, said)
                conversation.history += said
                trim(conversation.history, self.policy)
        conversation.unarchived_bytes = sum(len(one["content"]) for one in conversation.history)
        return conversation

    @staticmethod
    def _said(message: Mapping[str, object]) -> Message:
        content = message.get("content")
        text = content if isinstance(content, str) else text_of_parts(content)
        return {"role": str(message.get("role", "user")), "content": text}

    def _forget_idle(self) -> None:
        """Lets go of the longest unused conversations beyond the cap, but for those at work.  What is stored of them
        stays, all but the newest messages compressed."""
        for name, one in list(self._conversations.items()):
            if len(self._conversations) <= self.config.max_conversations:
                return
            task = one.remembering
            if not one.users and (task is None or (task.done() and task.exception() is None)):
                del self._conversations[name]
                self.store.archive_older(one.session, ARCHIVE_KEEPS)

    def remember(self, text: str, user_id: str) -> str:
        """Stores one memory; returns its id."""
        return self.memories.add(user_id, [_UNPRINTABLE.sub(" ", text)])[0]

    def store_conversation(self, messages: Iterable[Mapping[str, object]], user_id: str, conversation_id: str) -> None:
        """Puts a whole finished conversation into compressed storage, each character as it was said."""
        with self.store.transaction():
            session = self.store.session(conversation_id, user_id)
            self.store.archive(session, [self._said(message) for message in messages])

    def assemble(self, question: str, user_id: str, conversation_id: str, budget: int) -> Context:
        """The context for a question, as ``chat`` would make it."""
        known = self._conversations.get(conversation_id)
        notes = self.memories.search(user_id, question, max(32, budget // TOKENS_A_CANDIDATE))
        return self.assembler.assemble(
            question,
            budget,
            notes=notes,
            history=known.history if known is not None else (),
            pinned=known.pinned if known is not None else (),
        )

    def truncate(self, messages: Sequence[Mapping[str, object]], budget: int) -> list[Message]:
        """A copy of the history cut to a budget of tokens: whole turns, the newest.  When not even the last fits,
        what the system said, or nothing."""
        copy: list[Message] = [dict(message) for message in messages]
        if self.counter.prompt(copy) <= budget:
            return copy
        text, overhead = self.counter.text, MESSAGE_OVERHEAD + ROLE_TOKENS
        limit = budget - PROMPT_OVERHEAD
        while limit > 0:
            trim(copy, TrimPolicy(max_history_pairs=1 << 30, max_tokens=limit), lambda one: text(one) + overhead)
            excess = self.counter.prompt(copy) - budget
            if excess <= 0:
                return copy
            limit -= excess  # names and tool calls, which the trimmer's counter does not see; or the newest turn
        kept = [message for message in copy if message.get("role") in ("system", "developer")]
        return kept if self.counter.prompt(kept) <= budget else []

    def tier_of(self, memory: str) -> Tier | None:
        """Where a memory is."""
        return self.memories.tier_of(memory)
