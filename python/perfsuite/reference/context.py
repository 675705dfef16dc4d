"""What goes into a prompt: the system's text with pinned facts and retrieved memories, recent turns, the question.

Nothing is cut in the middle, and the budget is kept exactly by the counter.  Memories come first, for they were found
to be about the question; a share of the room is kept for the last turns before them, and what memories leave goes to
turns as well, up to a stated number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perfsuite.errors import PerfsuiteError
from perfsuite.reference.counter import TokenCounter

Message = dict[str, Any]


class BudgetExceeded(PerfsuiteError):
    """What has to be in a prompt does not fit its budget."""


@dataclass(frozen=True, slots=True)
class Note:
    """A memory that was retrieved, most relevant first in a list of them."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    """A prompt.  ``tokens`` by the system's counter; ``dropped`` memories were relevant and did not fit."""

    messages: list[Message]
    tokens: int
    memories: list[str]
    dropped: int


def turns_of(history: Sequence[Message]) -> list[list[Message]]:
    """The history by turns: a user's message with all that follows it up to the next."""
    turns: list[list[Message]] = []
    for message in history:
        if message["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


class Assembler:
    """Puts contexts together."""

    def __init__(self, counter: TokenCounter, system_prompt: str, recent_share: float, recent_turns: int) -> None:
        self._counter = counter
        self._system_prompt = system_prompt
        self._recent_share = recent_share
        self._recent_turns = recent_turns

    def assemble(
        self,
        question: str,
        budget: int,
        *,
        notes: Sequence[Note] = (),
        history: Sequence[Message] = (),
        pinned: Sequence[str] = (),
    ) -> Context:
        """A context of at most ``budget`` tokens.  Raises BudgetExceeded when system text, pinned facts and question
        alone are more."""
        counter = self._counter
        system = " ".join(filter(None, map(_flat, (self._system_prompt, *pinned))))
        asked: Message = {"role": "user", "content": question}
        tokens = counter.prompt([{"role": "system", "content": system}, asked])
        room = budget - tokens
        if room < 0:
            raise BudgetExceeded(
                f"the message needs {tokens} tokens with the system's text; the budget is {budget}: send a shorter one"
            )
        turns = turns_of(history)[-self._recent_turns :] if self._recent_turns else []
        costs = [sum(map(counter.message, turn)) for turn in turns]
        first = len(turns)
        reserve = self._recent_share * room
        recent = 0
        while first and recent + costs[first - 1] <= reserve:
            first -= 1
            recent += costs[first]
        room -= recent
        said = [str(message["content"]) for turn in turns[first:] for message in turn]
        chosen: list[tuple[int, Note]] = []
        dropped = 0
        for note in notes:
            text = _flat(note.text)
            if not text or any(text in one for one in said):
                continue  # it is in the recent turns already
            cost = counter.text(f" {text}")
            if cost <= room:
                room -= cost
                tokens += cost
                chosen.append((_age(note), Note(note.id, text)))
            else:
                dropped += 1
        while first and costs[first - 1] <= room:
            first -= 1
            room -= costs[first]
            recent += costs[first]
        chosen.sort(key=lambda pair: pair[0])  # oldest first, so that a correction comes after what it corrects
        if chosen:
            known = " ".join(note.text for _, note in chosen)
            system = f"{system} {known}"
        messages = [{"role": "system", "content": system}, *(m for turn in turns[first:] for m in turn), asked]
        return Context(messages, tokens + recent, [note.id for _, note in chosen], dropped)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _age(note: Note) -> int:
    return int(note.id[1:]) if note.id[1:].isdigit() else 0
