"""Conversations of English prose, with facts planted at known turns and asked for at known ages.

What recurs follows Zipf's law (exponents below): users come back, passages are said again, questions are asked again.
What is planted does not recur: each fact's value is a marker that appears nowhere else in the workload.  Some facts are
updated, and then the newer value is the one asked for.

Everything is drawn from ``random.Random`` seeded by text, so it does not depend on PYTHONHASHSEED; conversation
number n of a seed is the same whatever was drawn before it.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from perfsuite.targets.base import Fact, Message
from perfsuite.workloads.prose import passages, sentences
from perfsuite.workloads.topics import invented_name
from perfsuite.workloads.zipf import Zipf

EXPONENT = 1.2
USERS = 1_000
PASSAGES = 32
AGES = (1, 2, 5, 10, 20, 50)
"""Turns between a fact and the question for it."""
TURNS = (30, 90)
PLANT_SHARE = 0.06
UPDATE_SHARE = 0.2
"""Of the facts, those that replace an earlier one."""
REPEAT_SHARE = 0.36
"""Turns that ask again what was asked before: so many, that a minute of conversations decides what is remembered."""
ACCESS_PATTERN = (
    f"Zipf, exponent {EXPONENT}, over {PASSAGES} passages of prose, {USERS:,} users and the questions of a conversation"
)

ATTRIBUTES = (
    "access code", "billing address", "delivery slot", "backup contact", "project name", "parking permit",
    "locker number", "insurance policy", "favourite tea", "meeting room", "train booking", "router password",
    "membership number", "service contract", "piano teacher", "spare key", "holiday cottage", "storage unit",
    "dentist appointment", "bicycle lock", "gym trainer", "release branch", "build server", "tax adviser",
)  # fmt: skip
PLACES = ("office", "branch", "depot", "workshop", "studio", "clinic", "school", "warehouse")
STATEMENTS = (
    "The {attribute} for the {name} {place} is {value}.",
    "For the record, the {attribute} for the {name} {place} is {value}.",
    "Please remember that the {attribute} for the {name} {place} is {value}.",
)
UPDATES = (
    "The {attribute} for the {name} {place} is now {value}.",
    "I have to correct myself: the {attribute} for the {name} {place} is {value}.",
)
QUESTIONS = (
    "What is the {attribute} for the {name} {place}?",
    "Can you remind me what the {attribute} for the {name} {place} is?",
    "Do you remember the {attribute} for the {name} {place}?",
)
ACKNOWLEDGEMENTS = (
    "I see, thank you for telling me.",
    "Understood, let us go on from there.",
    "That makes sense, please carry on.",
    "I will keep that in mind.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One user message.  ``plants``: the fact stated in it; ``expects``: the one it asks for, ``age`` turns old."""

    message: str
    plants: Fact | None = None
    expects: Fact | None = None
    age: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Number ``number`` of its seed's conversations."""

    id: str
    user_id: str
    turns: tuple[Turn, ...]
    seed: int
    number: int

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What was planted, superseded facts included."""
        return tuple(turn.plants for turn in self.turns if turn.plants is not None)

    def messages(self) -> list[Message]:
        """As a finished transcript.  The assistant's side is small talk: it repeats no fact."""
        found: list[Message] = []
        for number, turn in enumerate(self.turns):
            found.append({"role": "user", "content": turn.message})
            found.append({"role": "assistant", "content": acknowledgement(self.number + number)})
        return found


def acknowledgement(number: int) -> str:
    """What the assistant of a transcript says."""
    return ACKNOWLEDGEMENTS[number % len(ACKNOWLEDGEMENTS)]


def conversations(
    seed: int,
    *,
    minimum_bytes: int = 0,
    turns: tuple[int, int] = TURNS,
    ages: Sequence[int] = AGES,
    start: int = 0,
    repeats: bool | None = None,
) -> Iterator[Conversation]:
    """Conversations without end, from number ``start`` on.

    ``minimum_bytes``: each is continued until its transcript, as JSON in UTF-8, is that large.  ``turns``: the fewest
    and the most user messages otherwise.  ``repeats``: whether passages recur by Zipf's law, as for a cache; else each
    sentence of a conversation is said once in it, as for a compressor.  Default: only without ``minimum_bytes``.
    """
    if not ages or min(ages) < 1:
        raise ValueError("ages must be turns of 1 or more")
    if not 1 <= turns[0] <= turns[1]:
        raise ValueError(f"turns must be 1 or more and in order, not {turns}")
    for number in count(start):
        yield _Writer(seed, number, tuple(ages), not minimum_bytes if repeats is None else repeats).write(
            turns, minimum_bytes
        )


def spoken(seed: int, *, turns: tuple[int, int] = TURNS) -> Iterator[tuple[str, str, Iterator[Turn]]]:
    """The same conversations as (id, user, turns), each turn written when it is asked for."""
    for number in count():
        writer = _Writer(seed, number, AGES, repeats=True)
        user, wanted = writer.begin(turns)
        yield _name(seed, number), user, map(writer.turn, range(wanted))


def _name(seed: int, number: int) -> str:
    return f"c{seed}-{number}"


class _Writer:
    """Writes one conversation, its turns in order."""

    def __init__(self, seed: int, number: int, ages: tuple[int, ...], repeats: bool) -> None:
        self._seed, self._number, self._ages = seed, number, ages
        self._rng = random.Random(f"conversation {seed} {number}")
        self._passages = passages(PASSAGES)
        self._rank = Zipf(PASSAGES, EXPONENT, self._rng)
        self._fresh = None if repeats else sentences(self._rng.getrandbits(48))
        self._facts: dict[str, tuple[Fact, str]] = {}  # key → the newest, and the subject of its questions
        self._due: list[tuple[int, str]] = []
        self._asked: list[str] = []
        self._planted = 0

    def begin(self, turns: tuple[int, int]) -> tuple[str, int]:
        """Whose it is, and how many turns it has at least."""
        return f"u{Zipf(USERS, EXPONENT, self._rng).draw()}", self._rng.randint(*turns)

    def write(self, turns: tuple[int, int], minimum_bytes: int) -> Conversation:
        user, wanted = self.begin(turns)
        found: list[Turn] = []
        size = 2
        while len(found) < wanted or size < minimum_bytes:
            turn = self.turn(len(found))
            found.append(turn)
            if minimum_bytes:
                answer = acknowledgement(self._number + len(found) - 1)
                size += len(json.dumps(turn.message, ensure_ascii=False).encode()) + len(answer) + 50
        return Conversation(
            id=_name(self._seed, self._number),
            user_id=user,
            turns=tuple(found),
            seed=self._seed,
            number=self._number,
        )

    def turn(self, turn: int) -> Turn:
        """The next one, whose number ``turn`` is."""
        rng = self._rng
        if self._due and self._due[0][0] <= turn:
            return self._ask(heapq.heappop(self._due)[1], turn)
        choice = rng.random()
        if turn == 0 or choice < PLANT_SHARE:
            return self._plant(turn)
        if choice < PLANT_SHARE + REPEAT_SHARE and self._asked:
            return self._ask(self._asked[-1 - Zipf(len(self._asked), EXPONENT, rng).draw()], turn)
        return Turn(message=self._passage())

    def _ask(self, key: str, turn: int) -> Turn:
        fact, _ = self._facts[key]
        if key in self._asked:
            self._asked.remove(key)
        self._asked.append(key)
        return Turn(message=fact.question, expects=fact, age=turn - fact.turn)

    def _plant(self, turn: int) -> Turn:
        rng = self._rng
        update = bool(self._facts) and rng.random() < UPDATE_SHARE
        if update:
            key = rng.choice(list(self._facts))
            old, subject = self._facts[key]
            question = old.question
        else:
            # The name carries the conversation's number: no other conversation asks for the same thing.
            name = invented_name(rng) + _letters(self._number * 64 + self._planted)
            attribute, place = rng.choice(ATTRIBUTES), rng.choice(PLACES)
            subject = f"{attribute}|{name}|{place}"
            key = subject
            question = rng.choice(QUESTIONS).format(attribute=attribute, name=name, place=place)
        attribute, name, place = subject.split("|")
        value = self._marker()
        form = rng.choice(UPDATES if update else STATEMENTS)
        statement = form.format(attribute=attribute, name=name, place=place, value=value)
        fact = Fact(key=key, value=value, statement=statement, question=question, turn=turn)
        self._facts[key] = (fact, subject)
        heapq.heappush(self._due, (turn + rng.choice(self._ages), key))
        prose = self._passage()
        message = rng.choice((f"{statement} {prose}", f"{prose} {statement}", statement))
        return Turn(message=message, plants=fact)

    def _passage(self) -> str:
        if self._fresh is None:
            return self._passages[self._rank.draw()]
        return " ".join(next(self._fresh) for _ in range(self._rng.randint(2, 4)))

    def _marker(self) -> str:
        # A bijection of the running number, so that two facts cannot share a value.
        number = self._number * 4096 + self._planted
        self._planted += 1
        mixed = (number * 0x9E3779B97F4A7C15 + self._seed * 0xD1B54A32D192ED03) % (1 << 64)
        return f"{_letters(mixed >> 32 & 0xFFFF)}{mixed & 0xFFFFFFFF:08x}{mixed >> 48:04x}"


def _letters(number: int) -> str:
    """A number in pronounceable letters; different numbers give different letters."""
    out = ""
    while True:
        number, syllable = divmod(number, 80)
        consonant, vowel = divmod(syllable, 5)
        out += "bdfghjklmnprstvz"[consonant] + "aeiou"[vowel]
        if not number:
            return out
        number -= 1
