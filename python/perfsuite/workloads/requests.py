"""Conversations as requests: each slot holds one conversation at a time and asks its messages in order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle

from perfsuite.plan import Workload
from perfsuite.targets.base import Fact, Message, Request
from perfsuite.workloads.conversations import ACCESS_PATTERN, Turn, acknowledgement, conversations
from perfsuite.workloads.files import ConversationFile
from perfsuite.workloads.prose import corpus

LONGEST_HISTORY = 400
"""Messages that a stateless service is sent again, at most."""
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
    seed: int, *, slots: int, workload: Workload, models: Sequence[str] = (), repeat_back: bool = False
) -> Iterator[Request]:
    """Requests without end, from each of ``slots`` conversations in turn; when one ends its slot begins the next.

    ``repeat_back``: the first message of a generated conversation states its fact and asks for it too (age 0), which
    tells whether a system that shows only its answers can show what it remembers at all.  ``models`` are given to
    conversations in turn; none: the target's default.  Raises UsageError for a file of conversations that cannot be
    used.
    """
    if slots < 1:
        raise ValueError(f"requests need 1 slot or more, not {slots}")
    source = _recorded(workload) if workload.conversations is not None else _generated(seed, repeat_back)
    chosen: Iterator[str | None] = cycle(models) if models else cycle((None,))
    padding = random.Random(f"padding {seed}")
    running = [_conversation(source, workload, next(chosen), padding) for _ in range(slots)]
    for number in count():
        slot = number % slots
        request = next(running[slot], None)
        while request is None:
            running[slot] = _conversation(source, workload, next(chosen), padding)
            request = next(running[slot], None)
        yield request


def _generated(seed: int, repeat_back: bool) -> Iterator[tuple[str, str, Iterable[_Step]]]:
    for conversation in conversations(seed):
        steps = [_step(turn, repeat_back and not number) for number, turn in enumerate(conversation.turns)]
        yield conversation.id, conversation.user_id, steps


def _step(turn: Turn, repeat_back: bool) -> _Step:
    if repeat_back and turn.plants is not None:
        return _Step(f"{turn.message} {turn.plants.question}", (), turn.plants, 0)
    return _Step(turn.message, (), turn.expects, turn.age)


def _recorded(workload: Workload) -> Iterator[tuple[str, str, Iterable[_Step]]]:
    assert workload.conversations is not None
    file = ConversationFile(workload.conversations)
    for again in count():
        for number, recorded in enumerate(file):
            name = f"f{again}-{number}"
            yield name, f"u{number}", _steps(recorded.messages)


def _steps(messages: Sequence[Message]) -> Iterator[_Step]:
    before: list[Message] = []
    for message in messages:
        if message["role"] == "user" and isinstance(message["content"], str):
            yield _Step(message["content"], tuple(before))
            before = []
        else:
            before.append(message)


def _conversation(
    source: Iterator[tuple[str, str, Iterable[_Step]]], workload: Workload, model: str | None, rng: random.Random
) -> Iterator[Request]:
    name, user, steps = next(source)
    history: list[Message] = []
    recorded = workload.conversations is not None
    for number, step in enumerate(steps):
        text = _sized(step.message, workload, rng)
        if step.before:
            history += step.before
        elif number and not recorded:
            history.append({"role": "assistant", "content": acknowledgement(number)})
        history.append({"role": "user", "content": text})
        if len(history) > LONGEST_HISTORY:
            _shorten(history)
        yield Request(
            message=text,
            messages=list(history),
            user_id=user,
            conversation_id=name,
            model=model,
            max_tokens=workload.output_tokens,
            expects=step.expects,
            age=step.age,
        )


def _shorten(history: list[Message]) -> None:
    """Drops the oldest messages but those of the system, down to a user's message."""
    system = [message for message in history if message["role"] == "system"]
    rest = [message for message in history if message["role"] != "system"][-LONGEST_HISTORY // 2 :]
    while len(rest) > 1 and rest[0]["role"] != "user":
        del rest[0]
    history[:] = system + rest


def _sized(text: str, workload: Workload, rng: random.Random) -> str:
    """The message at the length asked for, with prose before it; for a cold prefix cache, with a mark of its own."""
    if workload.prompt_tokens is not None:
        missing = workload.prompt_tokens - TOKENS_A_WORD * len(text.split())
        lines = corpus()
        parts = [text]
        while missing > 0:
            sentence = rng.choice(lines)
            missing -= TOKENS_A_WORD * len(sentence.split())
            parts.append(sentence)
        text = " ".join(reversed(parts))
    if workload.prefix_cache == "cold":
        text = f"[{rng.getrandbits(48):012x}] {text}"
    return text
