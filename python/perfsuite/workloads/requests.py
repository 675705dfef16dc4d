"""Conversations as requests: each slot holds one conversation at a time and asks its messages in order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, count, cycle, islice, repeat
from pathlib import Path

from perfsuite.plan import Workload
from perfsuite.targets.base import Fact, Message, Reply, Request
from perfsuite.workloads.conversations import ACCESS_PATTERN, TURNS, Turn, acknowledgement, spoken
from perfsuite.workloads.files import ConversationFile
from perfsuite.workloads.lengths import draw
from perfsuite.workloads.prose import corpus

LONGEST_HISTORY = 400
"""Messages that a stateless service is sent again, at most."""
SHARED = 256
LONGEST_SHARED = 1024
"""Characters of a message that several histories may share."""
ANOTHER = 1_000_003
"""From the seed of conversations to that of others."""
TOKENS_A_WORD = 1.3
"""Tokens of an English word, about: for --prompt-tokens, whose truth is what the target reports."""


@dataclass(frozen=True, slots=True)
class _Step:
    message: str
    before: tuple[Message, ...] = ()  # what a recorded conversation has between the last message and this one
    expects: Fact | None = None
    age: int = 0


def access_pattern(workload: Workload) -> str:
    """What is asked how often, in words."""
    if workload.conversations is not None:
        return f"the conversations of {workload.conversations}, in their order, again when they end"
    return ACCESS_PATTERN


def requests(
    seed: int,
    *,
    slots: int,
    workload: Workload,
    models: Sequence[str] = (),
    repeat_back: bool = False,
    expecting: bool = True,
    part: tuple[int, int] = (0, 1),
) -> Conversing:
    """Requests without end, from each of ``slots`` conversations in turn; when one ends its slot begins the next.

    ``repeat_back``: the first message of a generated conversation states its fact and asks for it too (age 0), which
    tells whether a system that shows only its answers can show what it remembers at all.  ``models`` are given to
    conversations in turn; none: the target's default.  ``expecting`` False: nobody looks whether the facts that are
    asked for come back, and no request expects one.  ``part``: of what several processes say together, every so many-th
    conversation; all parts together are the conversations of one.  Raises UsageError for a file of conversations that
    cannot be used.
    """
    if slots < 1:
        raise ValueError(f"requests need 1 slot or more, not {slots}")
    if workload.conversations is not None:
        source = _recorded(workload.conversations, workload.turns)
    else:
        source = _generated(seed, repeat_back, expecting, workload.turns)
    index, of = part
    padding = random.Random(f"padding {seed}" if of == 1 else f"padding {seed} of part {index} of {of}")
    recipe = Recipe(seed, slots, workload, tuple(models), repeat_back, expecting)
    return Conversing(islice(source, index, None, of), slots, workload, recipe, padding, part)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How ``requests`` made its conversations: enough for another process to make its part of them."""

    seed: int
    slots: int
    workload: Workload
    models: tuple[str, ...]
    repeat_back: bool
    expecting: bool

    def part(self, index: int, of: int, *, slots: int, again: int = 0) -> Conversing:
        """The conversations of one of so many parts, ``slots`` at a time.  ``again``: how often the part was made
        before, whose conversations are not said a second time."""
        return requests(
            self.seed + again * ANOTHER,
            slots=slots,
            workload=self.workload,
            models=self.models,
            repeat_back=self.repeat_back,
            expecting=self.expecting,
            part=(index, of),
        )


class Conversing:
    """Requests of several conversations: those of its slots in turn by ``next``, those of one slot by ``of``.

    With the workload's ``turns`` a conversation grows with what the system answers: tell each reply to ``answered``;
    the next message of a conversation is not handed out before the last one was answered or failed, and where all wait,
    further slots are opened.
    """

    def __init__(
        self,
        source: Iterator[tuple[str, str, Iterable[_Step]]],
        slots: int,
        workload: Workload,
        recipe: Recipe,
        rng: random.Random,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.recipe = recipe
        self._source = source
        self._workload = workload
        self._models: Iterator[str | None] = islice(cycle(recipe.models or (None,)), part[0], None, part[1])
        self._rng = rng
        self._grows = workload.turns is not None
        self._slots = [_Slot() for _ in range(slots)]
        self._ready = dict.fromkeys(range(slots))  # in the order of their turns
        self._asked: dict[str, int] = {}
        """Conversations that wait for an answer, and their slots."""

    def __iter__(self) -> Conversing:
        return self

    def __next__(self) -> Request:
        if not self._ready:
            self._ready[len(self._slots)] = None
            self._slots.append(_Slot())
        slot = next(iter(self._ready))
        del self._ready[slot]
        if not self._grows:
            self._ready[slot] = None
        return self._take(slot)

    def of(self, user: int) -> Request:
        """The next request of one slot's conversations: of a user who waits for the answer before asking again."""
        if self._grows:
            self._ready.pop(user, None)
        return self._take(user)

    def answered(self, request: Request, reply: Reply | None) -> None:
        """The request has ended: with a reply, which its conversation goes on from, or without one: then its message is
        as if it had not been said."""
        slot = self._asked.pop(request.conversation_id, None)
        if slot is None:
            return
        history = self._slots[slot].history
        if reply is not None:
            history.append({"role": "assistant", "content": reply.text})
        elif history:
            history.pop()
        self._ready[slot] = None

    def _take(self, number: int) -> Request:
        slot = self._slots[number]
        step = next(slot.steps, None)
        while step is None:
            slot.begin(*next(self._source), next(self._models))
            step = next(slot.steps, None)
        if self._grows:
            self._asked[slot.name] = number
            slot.history += [message for message in step.before if message["role"] == "system"]
        elif step.before:
            slot.history += step.before
        elif slot.asked and self._workload.conversations is None:
            slot.history.append(_shared("assistant", acknowledgement(slot.asked)))
        slot.asked += 1
        return self._request(slot, step)

    def _request(self, slot: _Slot, step: _Step) -> Request:
        workload, rng = self._workload, self._rng
        text = _sized(step.message, workload, rng)
        slot.history.append(_message("user", text))
        if len(slot.history) > LONGEST_HISTORY:
            _shorten(slot.history)
        messages = list(slot.history)
        if workload.prefix_cache == "cold" and len(messages) > 1:  # a single one has its mark already
            messages[0] = _cold(messages[0], rng)
        return Request(
            message=text,
            messages=messages,
            user_id=slot.user,
            conversation_id=slot.name,
            model=slot.model,
            max_tokens=None if workload.output_tokens is None else draw(workload.output_tokens, rng),
            expects=step.expects,
            age=step.age,
        )


class _Slot:
    """One conversation at a time, and how far it has come."""

    def __init__(self) -> None:
        self.steps: Iterator[_Step] = iter(())
        self.history: list[Message] = []
        self.name = self.user = ""
        self.model: str | None = None
        self.asked = 0

    def begin(self, name: str, user: str, steps: Iterable[_Step], model: str | None) -> None:
        """The next conversation."""
        self.name, self.user, self.model = name, user, model
        self.steps, self.history, self.asked = iter(steps), [], 0


def _generated(
    seed: int, repeat_back: bool, expecting: bool, turns: int | None
) -> Iterator[tuple[str, str, Iterable[_Step]]]:
    for name, user, said in spoken(seed, turns=TURNS if turns is None else (turns, turns)):
        yield name, user, map(_step, said, chain((repeat_back,), repeat(False)), repeat(expecting))


def _step(turn: Turn, repeat_back: bool, expecting: bool) -> _Step:
    if not expecting:
        return _Step(turn.message)
    if repeat_back and turn.plants is not None:
        return _Step(f"{turn.message} {turn.plants.question}", (), turn.plants, 0)
    return _Step(turn.message, (), turn.expects, turn.age)


def _recorded(path: Path, turns: int | None) -> Iterator[tuple[str, str, Iterable[_Step]]]:
    file = ConversationFile(path)
    for again in count():
        for number, recorded in enumerate(file):
            name = f"f{again}-{number}"
            yield name, f"u{number}", islice(_steps(recorded.messages), turns)


def _steps(messages: Sequence[Message]) -> Iterator[_Step]:
    before: list[Message] = []
    for message in messages:
        if message["role"] == "user" and isinstance(message["content"], str):
            yield _Step(message["content"], tuple(before))
            before = []
        else:
            before.append(message)


def _message(role: str, content: str) -> Message:
    return _shared(role, content) if len(content) <= LONGEST_SHARED else {"role": role, "content": content}


@lru_cache(maxsize=SHARED)
def _shared(role: str, content: str) -> Message:
    """The same object for the same words, as far as they come again soon: what hundreds of conversations have said
    would else be most of the memory that a long run needs."""
    return {"role": role, "content": content}


def _shorten(history: list[Message]) -> None:
    """Drops the oldest messages but those of the system, down to a user's message."""
    system = [message for message in history if message["role"] == "system"]
    rest = [message for message in history if message["role"] != "system"][-LONGEST_HISTORY // 2 :]
    while len(rest) > 1 and rest[0]["role"] != "user":
        del rest[0]
    history[:] = system + rest


def _sized(text: str, workload: Workload, rng: random.Random) -> str:
    """The message at the length asked for, with prose before it; for a cold prefix cache, with a mark of its own, so
    that it begins like no other where it is sent alone."""
    if workload.prompt_tokens is not None:
        missing = draw(workload.prompt_tokens, rng) - TOKENS_A_WORD * len(text.split())
        lines = corpus()
        parts = [text]
        while missing > 0:
            sentence = rng.choice(lines)
            missing -= TOKENS_A_WORD * len(sentence.split())
            parts.append(sentence)
        text = " ".join(reversed(parts))
    return _marked(text, rng) if workload.prefix_cache == "cold" else text


def _cold(first: Message, rng: random.Random) -> Message:
    """The first message of a prompt with a mark of its own: what follows it was said before."""
    content = first["content"]
    if isinstance(content, list):  # parts of text, images, …
        return {**first, "content": [{"type": "text", "text": _marked("", rng)}, *content]}
    return {**first, "content": _marked(str(content), rng)}


def _marked(text: str, rng: random.Random) -> str:
    return f"[{rng.getrandbits(48):012x}] {text}"
