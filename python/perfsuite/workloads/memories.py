"""Memories with questions about them whose answers are known, for measuring what a memory system finds.

Each conversation is a user who speaks of a place of an invented name over several sessions.  Its memories:

- facts, each with a marker that appears nowhere else, so that a hit is recognised without a judge;
- near-duplicates of them: the same attribute of a place whose name differs by a letter, other attributes of the same;
- updates of facts, in a later session: the older statement is stale from then on;
- statements about a project, spread over the sessions;
- off-topic turns of English prose, which carry no fact.

And its questions: in the words of the statement (``verbatim``) and in words that share none with it but the name
(``paraphrased``; unique words alone favour keyword search), about what was updated, across sessions, and about what was
never said (``unanswerable``).

Everything is drawn lazily from ``random.Random`` seeded by text: conversation number n of a seed is the same whatever
the number of memories, and does not depend on PYTHONHASHSEED.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple, Protocol

from perfsuite.workloads.prose import corpus, corpus_id
from perfsuite.workloads.topics import invented_name

Kind = Literal["verbatim", "paraphrased", "updated", "across", "unanswerable", "asked"]
KINDS: tuple[Kind, ...] = ("verbatim", "paraphrased", "updated", "across", "unanswerable", "asked")
"""``asked``: a question of a published set, in the words of whoever asked it."""

SESSIONS = 4
TOGETHER = 25
"""Conversations that go on at the same time: the sessions of so many are stored in turn."""
SIZE = 20
"""Memories of a conversation."""
ASKS = 10
"""Questions about a conversation."""
EPOCH = 1_714_982_400.0
"""2024-05-06 08:00 UTC: when the first session begins."""
DAY = 86_400.0


class Attribute(NamedTuple):
    """What is said of a place, and the question for it that shares no word with the statement but the place."""

    name: str
    otherwise: str


ATTRIBUTES = (
    Attribute("access code", "Which digits open the door at {place}?"),
    Attribute("billing address", "Where should invoices meant for {place} be mailed?"),
    Attribute("delivery slot", "When may a courier drop parcels off at {place}?"),
    Attribute("backup contact", "Whom can I ring about {place} if nobody answers?"),
    Attribute("parking permit", "What lets me leave a car outside {place}?"),
    Attribute("insurance policy", "Which cover pays when something breaks at {place}?"),
    Attribute("router password", "How do I get onto the wifi in {place}?"),
    Attribute("train booking", "Which ticket takes me by rail to {place}?"),
    Attribute("tax adviser", "Who handles fiscal returns on behalf of {place}?"),
    Attribute("storage unit", "Where are spare boxes from {place} kept?"),
    Attribute("service contract", "Under what agreement are machines at {place} repaired?"),
    Attribute("release branch", "Which line of source ships to customers of {place}?"),
    Attribute("alarm company", "Which firm is warned when burglars enter {place}?"),
    Attribute("cleaning crew", "Who mops floors at {place}?"),
    Attribute("landlord", "Who owns {place} and collects rent there?"),
    Attribute("coffee supplier", "Where does {place} buy its espresso beans?"),
    Attribute("printer model", "What machine puts documents on paper at {place}?"),
    Attribute("emergency exit", "How do people get out of {place} during a fire?"),
    Attribute("head chef", "Who runs kitchen meals at {place}?"),
    Attribute("piano tuner", "Who keeps musical instruments in order at {place}?"),
)
PLACES = ("office", "branch", "depot", "workshop", "studio", "clinic", "school", "warehouse")
STATEMENTS = (
    "The {attribute} for {place} is {value}.",
    "For the record, the {attribute} for {place} is {value}.",
    "Please remember that the {attribute} for {place} is {value}.",
    "I just learned that the {attribute} for {place} is {value}.",
)
UPDATES = (
    "The {attribute} for {place} has changed: it is {value} now.",
    "From today on the {attribute} for {place} is {value}.",
    "I have to correct myself: the {attribute} for {place} is {value}.",
)
VERBATIM = (
    "What is the {attribute} for {place}?",
    "Can you remind me what the {attribute} for {place} is?",
    "Do you remember the {attribute} for {place}?",
)
PROJECT = (
    "For {name} we picked the supplier {value}.",
    "{name} will be presented under the title {value}.",
    "The invoice number of {name} is {value}.",
    "{name} is tested on the machine {value}.",
    "The customer wants {name} to end with {value}.",
    "The team calls the first draft of {name} {value}.",
)
ACROSS = (
    "What do we know about {name}?",
    "Tell me everything about {name}.",
    "Please sum up all that was said about {name}.",
)
FACTS, NEAR, UPDATED, SAID, OFF_TOPIC = 5, 2, 2, 4, 7
"""Of a conversation's memories: facts about its place, near-duplicates, updates, statements about its project, and
turns that are about nothing of the kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Something that is to be stored.

    ``marker`` appears in no other text of the workload; None where nothing will be asked about it (``off_topic``) or
    the set has none (published sets).  ``cluster``: the conversation.  ``timestamp``: seconds since 1970, None where
    the set does not say.  ``role``: who said it.
    """

    key: str
    text: str
    cluster: str
    session: str
    timestamp: float | None
    role: str = "user"
    marker: str | None = None
    off_topic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, the keys of the memories that answer it, and of those that did so once."""

    text: str
    kind: Kind
    cluster: str
    relevant: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()


class Case(Protocol):
    """What is stored together, in this order, and then asked, on a fresh state."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def group(self) -> str:
        """What it is reported with: a size, or a set."""

    def memories(self) -> Iterator[Memory]:
        """In the order in which they are stored; the same every time."""

    def questions(self) -> Sequence[Question]:
        """After all is stored."""


class Workload(Protocol):
    """Cases, one after the other, and what they are."""

    @property
    def described(self) -> str:
        """In a sentence, for the report."""

    def cases(self) -> Iterator[Case]:
        """The same every time."""


@dataclass(frozen=True, slots=True)
class _Talk:
    """A conversation: its memories by session, and its questions."""

    sessions: tuple[tuple[Memory, ...], ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class SeededCase:
    """``count`` memories of a seed in the order of their sessions, and at most ``asked`` questions, of whole
    conversations that are spread over all of them."""

    seed: int
    count: int
    asked: int = 300

    def __post_init__(self) -> None:
        if self.count < SIZE:
            raise ValueError(f"{self.count} memories are fewer than one conversation, which has {SIZE}")
        if self.asked < 1:
            raise ValueError("ask one question or more")

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.count:,} memories"

    @property
    def group(self) -> str:
        """Its size."""
        return self.name

    @property
    def conversations(self) -> int:
        """Whole ones; what is left of ``count`` is more off-topic turns."""
        return self.count // SIZE

    def memories(self) -> Iterator[Memory]:
        """The sessions of ``TOGETHER`` conversations in turn, so that an update comes well after its fact."""
        for first in range(0, self.conversations, TOGETHER):
            group = [_talk(self.seed, n) for n in range(first, min(self.conversations, first + TOGETHER))]
            for session in range(SESSIONS):
                for talk in group:
                    yield from talk.sessions[session]
        yield from islice(_padding(self.seed, self.conversations), self.count - self.conversations * SIZE)

    def questions(self) -> list[Question]:
        """Kind by kind in turn within each conversation, so that the first of them are of every kind."""
        wanted = max(1, min(self.conversations, -(-self.asked // ASKS)))
        chosen = [index * self.conversations // wanted for index in range(wanted)]
        found = [question for number in chosen for question in _talk(self.seed, number).questions]
        return found[: self.asked]


@dataclass(frozen=True, slots=True)
class Seeded:
    """One case for each size."""

    seed: int
    sizes: tuple[int, ...]
    asked: int = 300

    @property
    def described(self) -> str:
        """In a sentence."""
        return (
            f"seed {self.seed}, prose {corpus_id()}: invented places with facts, near-duplicates, updates, projects "
            f"over {SESSIONS} sessions and off-topic turns, {SIZE} memories and {ASKS} questions a conversation"
        )

    def cases(self) -> Iterator[SeededCase]:
        """By size."""
        for count in self.sizes:
            yield SeededCase(self.seed, count, self.asked)


def digest(memories: Iterable[Memory], questions: Iterable[Question]) -> str:
    """Of every byte that is stored and asked, in order: the same for all systems, or they were not compared."""
    hashed = hashlib.blake2b(digest_size=16)
    for memory in memories:
        for part in (memory.text, memory.session, memory.role, repr(memory.timestamp)):
            hashed.update(part.encode("utf-8", "surrogatepass") + b"\0")
    for question in questions:
        hashed.update(question.text.encode("utf-8", "surrogatepass") + b"\0")
    return hashed.hexdigest()


def marker(seed: int, number: int) -> str:
    """A word of letters and five digits; different numbers below 576 million give different ones.

    Not so odd that a model would take it for noise, and no word of any text.
    """
    mixed = (number * _SPREAD + seed * 48_271 + 12_345) % _MARKERS
    letters, digits = divmod(mixed, 90_000)
    return f"{_syllables(letters).capitalize()}{digits + 10_000}"


_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aeiou"
_SYLLABLES = len(_CONSONANTS) * len(_VOWELS)
_MARKERS = _SYLLABLES * _SYLLABLES * 90_000
_SPREAD = 275_604_541  # a prime that does not divide it: multiplying is a permutation


def _syllables(number: int) -> str:
    """A number as consonants and vowels; different numbers give different letters."""
    out = ""
    while True:
        number, syllable = divmod(number, _SYLLABLES)
        consonant, vowel = divmod(syllable, len(_VOWELS))
        out += _CONSONANTS[consonant] + _VOWELS[vowel]
        if not number:
            return out
        number -= 1


def _talk(seed: int, number: int) -> _Talk:
    """Conversation ``number`` of a seed."""
    return _Writer(seed, number).write()


def _padding(seed: int, number: int) -> Iterator[Memory]:
    """Off-topic turns for what is left when whole conversations are taken."""
    rng = random.Random(f"padding {seed} {number}")
    for index in range(SIZE):
        yield Memory(
            key=f"p{number}-{index}",
            text=rng.choice(corpus()),
            cluster="padding",
            session="padding",
            timestamp=EPOCH + (number // TOGETHER + 1) * 30 * DAY + index * 60,
            off_topic=True,
        )


class _Writer:
    """Writes one conversation."""

    def __init__(self, seed: int, number: int) -> None:
        self._seed, self._number = seed, number
        self._rng = random.Random(f"memories {seed} {number}")
        self._cluster = f"c{number}"
        self._drawn = 0
        self._sessions: list[list[tuple[str, str | None]]] = [[] for _ in range(SESSIONS)]  # text, marker
        self._keys: dict[str, str] = {}  # marker → key

    def write(self) -> _Talk:
        rng = self._rng
        stem = invented_name(rng) + _syllables(self._number)  # no other conversation's
        kind = rng.choice(PLACES)
        place = f"the {stem} {kind}"
        near = f"the {_near(stem, rng)} {kind}"
        known = rng.sample(ATTRIBUTES, FACTS + 1)
        never = known.pop()
        facts = [self._state(rng.choice(STATEMENTS), one, place, first=True) for one in known]
        near_facts = [self._state(rng.choice(STATEMENTS), one, near, first=True) for one in known[2 : 2 + NEAR]]
        updates = [self._state(rng.choice(UPDATES), one, place, first=False) for one in known[:UPDATED]]
        project = "Project " + invented_name(rng) + _syllables(self._number)
        said = []
        for index, form in enumerate(rng.sample(PROJECT, SAID)):
            said.append(self._marker())
            self._sessions[index % SESSIONS].append((form.format(name=project, value=said[-1]), said[-1]))
        for sentence in rng.sample(corpus(), OFF_TOPIC):
            rng.choice(self._sessions).append((sentence, None))
        sessions = self._laid_out()

        def keys(*markers: str) -> tuple[str, ...]:
            return tuple(self._keys[one] for one in markers)

        def ask(form: str, one: Attribute, where: str, kind: Kind, relevant: str, *stale: str) -> Question:
            text = form.format(attribute=one.name, place=where)
            return Question(text=text, kind=kind, cluster=self._cluster, relevant=keys(relevant), stale=keys(*stale))

        unknown = f"the {_near(stem, rng, avoid=near)} {kind}"
        questions = [
            ask(rng.choice(VERBATIM), known[2], place, "verbatim", facts[2]),
            ask(known[3].otherwise, known[3], place, "paraphrased", facts[3]),
            ask(rng.choice(VERBATIM), known[0], place, "updated", updates[0], facts[0]),
            Question(
                text=rng.choice(ACROSS).format(name=project), kind="across", cluster=self._cluster, relevant=keys(*said)
            ),
            self._unanswerable(rng.choice((rng.choice(VERBATIM), never.otherwise)), never, place),
            ask(rng.choice(VERBATIM), known[4], place, "verbatim", facts[4]),
            ask(known[4].otherwise, known[4], place, "paraphrased", facts[4]),
            ask(known[1].otherwise, known[1], place, "updated", updates[1], facts[1]),
            ask(known[3].otherwise, known[3], near, "paraphrased", near_facts[1]),
            self._unanswerable(rng.choice(VERBATIM), known[2], unknown),
        ]
        return _Talk(sessions, tuple(questions))

    def _marker(self) -> str:
        self._drawn += 1
        return marker(self._seed, self._number * SIZE + self._drawn)

    def _state(self, form: str, one: Attribute, place: str, *, first: bool) -> str:
        """Puts a statement into an early session, or an update of it into a late one; returns its marker."""
        value = self._marker()
        half = SESSIONS // 2
        session = self._rng.randrange(half) if first else self._rng.randrange(half, SESSIONS)
        self._sessions[session].append((form.format(attribute=one.name, place=place, value=value), value))
        return value

    def _unanswerable(self, form: str, one: Attribute, place: str) -> Question:
        return Question(text=form.format(attribute=one.name, place=place), kind="unanswerable", cluster=self._cluster)

    def _laid_out(self) -> tuple[tuple[Memory, ...], ...]:
        begins = EPOCH + self._number // TOGETHER * 30 * DAY + self._number % TOGETHER * 600
        found = []
        for number, turns in enumerate(self._sessions):
            self._rng.shuffle(turns)
            session = []
            for turn, (text, value) in enumerate(turns):
                key = f"{self._cluster}-{number}-{turn}"
                if value is not None:
                    self._keys[value] = key
                session.append(
                    Memory(
                        key=key,
                        text=text,
                        cluster=self._cluster,
                        session=f"{self._cluster}-s{number}",
                        timestamp=begins + number * 7 * DAY + turn * 30.0,
                        marker=value,
                        off_topic=value is None,
                    )
                )
            found.append(tuple(session))
        return tuple(found)


def _near(name: str, rng: random.Random, avoid: str = "") -> str:
    """A name that differs by one vowel, and is not in ``avoid``."""
    places = [index for index, letter in enumerate(name) if letter in _VOWELS]
    while True:
        at = rng.choice(places)
        changed = name[:at] + rng.choice(_VOWELS.replace(name[at], "")) + name[at + 1 :]
        if changed not in avoid:
            return changed
