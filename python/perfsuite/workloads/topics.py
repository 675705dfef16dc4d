"""Memories about invented topics, with questions whose relevant memories are known.

Each topic is a name that is no word of any language, and statements about it in a few forms.  The other topics of a set
are near-duplicate distractors: the same forms about other names.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SYLLABLES = (
    *("ka", "lo", "mi", "ren", "tu", "vas", "el", "dor", "shi", "pa"),
    *("nor", "qui", "zel", "ba", "tem", "ori", "fen", "gal", "hu", "ix"),
)

FORMS = (
    ("The budget of {name} is {number} euros.", "budget"),
    ("{name} is led by {person}.", "lead"),
    ("The team of {name} meets in room {number}.", "room"),
    ("{name} was started {number} days ago.", "start"),
    ("The customer of {name} asked for {number} changes.", "customer"),
    ("{person} reviews the reports of {name} on {day}.", "review"),
    ("{name} depends on a part that {person} is building.", "dependency"),
    ("The next delivery of {name} is due on {day}, with {number} items.", "delivery"),
    ("In the last test of {name}, {number} of the cases failed.", "test"),
    ("{person} keeps the contract of {name} in folder {number}.", "contract"),
    ("{name} will be shown to the board on {day} by {person}.", "board"),
    ("The risk that {person} sees in {name} is a delay of {number} days.", "risk"),
)
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
QUESTIONS = ("What do we know about {name}?", "Tell me everything about {name}.", "How is {name} going?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A name, everything that was said about it, and a question that asks for all of it."""

    name: str
    statements: tuple[str, ...]
    question: str


def invented_name(rng: random.Random) -> str:
    """A capitalised name of three or four syllables."""
    return "".join(rng.choices(SYLLABLES, k=rng.randint(3, 4))).capitalize()


def topics(seed: int, count: int, *, smallest: int = 2, largest: int = 40) -> list[Topic]:
    """``count`` topics with different names, of ``smallest`` to ``largest`` statements each."""
    rng = random.Random(f"topics {seed}")
    names: dict[str, None] = {}
    while len(names) < count:
        names[invented_name(rng)] = None
    found = []
    for name in names:
        size = min(largest, max(smallest, round(rng.lognormvariate(2.2, 0.9))))
        statements: dict[str, None] = {}
        while len(statements) < size:
            form, _ = rng.choice(FORMS)
            text = form.format(name=name, number=rng.randint(2, 9999), person=invented_name(rng), day=rng.choice(DAYS))
            statements[text] = None
        found.append(Topic(name=name, statements=tuple(statements), question=rng.choice(QUESTIONS).format(name=name)))
    return found
