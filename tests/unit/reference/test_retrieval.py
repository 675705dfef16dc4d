from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from perfsuite.compression import codec_at
from perfsuite.reference import retrieval
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.memory import Memories
from perfsuite.reference.retrieval import COMMON, Index, rows_of, words_of
from perfsuite.reference.store import Store
from perfsuite.workloads.conversations import ATTRIBUTES, PLACES
from perfsuite.workloads.topics import invented_name

CONFIG = ReferenceConfig(path=":memory:", hot_memories=16, warm_memories=1_000, cold_memories=1 << 30)
WRAPPED = (
    "What is the {attribute} for the {name} {place}?",
    "Sorry to bother you, but I forgot the {attribute} of the {place} in {name}; do you still have it?",
    "Someone asked about {name}. Which {attribute} belongs to their {place}?",
)


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store(":memory:", CONFIG, codec_at("zlib"))
    yield opened
    opened.close()


def facts(count: int, seed: int = 1) -> list[tuple[str, str, str]]:
    """(attribute, name, place), each once; about twenty of a name."""
    rng = random.Random(f"retrieval {seed}")
    names = [invented_name(rng) for _ in range(max(8, count // 20))]
    made: dict[tuple[str, str, str], None] = {}
    while len(made) < count:
        made[rng.choice(ATTRIBUTES), rng.choice(names), rng.choice(PLACES)] = None
    return list(made)


def said(attribute: str, name: str, place: str) -> str:
    return f"The {attribute} for the {name} {place} is {attribute[0]}{len(name)}{place[0]}."


def asked(made: list[tuple[str, str, str]], count: int) -> list[tuple[str, int]]:
    rng = random.Random("asked")
    found = []
    for number in rng.sample(range(len(made)), count):
        attribute, name, place = made[number]
        found.append((rng.choice(WRAPPED).format(attribute=attribute, name=name, place=place), number))
    return found


def test_natural_questions_find_their_memory_among_its_near_duplicates(store: Store) -> None:
    memories = Memories(store, CONFIG)
    made = facts(4_000)
    ids = memories.add("u", [said(*fact) for fact in made])
    questions = asked(made, 100)
    recalled = [[hit.id for hit in memories.recall("u", question, 5)] for question, _ in questions]
    assert sum(ids[number] in hits for (_, number), hits in zip(questions, recalled, strict=True)) >= 95
    # Negative control: the same hits against the memory beside the right one.
    assert sum(ids[number - 1] in hits for (_, number), hits in zip(questions, recalled, strict=True)) <= 30
    for question, _ in questions[:10]:
        scores = [hit.score for hit in memories.recall("u", question, 5)]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
        assert 0 < scores[-1] <= scores[0] <= 1


def test_the_rows_that_are_read_are_bounded_however_many_memories_there_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories = Memories(store, CONFIG)
    read: list[int] = []
    whole = Index._rows

    def counting(self: Index, owner: int, terms: str, limit: int) -> list[int]:
        rows = whole(self, owner, terms, limit)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(Index, "_rows", counting)
    made = facts(6_000)
    ors = " OR ".join(f'"{word}"' for word in words_of(" ".join(made[0])))
    most, with_any = [], []
    for part in (made[:2_000], made[2_000:]):
        memories.add("u", [said(*fact) for fact in part])
        a_question = []
        for question, _ in asked(made[:2_000], 50):
            read.clear()
            memories.recall("u", question, 5)
            assert len(read) <= 3 * len(words_of(question)), "queries"
            a_question.append(sum(read))
        most.append(max(a_question))
        counted = store.connection.execute("SELECT count(*) FROM memory_index WHERE memory_index MATCH ?", (ors,))
        with_any.append(counted.fetchone()[0])
    assert with_any[1] >= 2.5 * with_any[0], "what a plain OR reads grows with the memories"
    assert most[1] <= 1.3 * most[0]


def test_a_memory_without_rare_words_is_found(store: Store) -> None:
    memories = Memories(store, CONFIG)
    memories.add("u", [f"The {colour} box{n} is in the {room}." for n in range(COMMON) for colour in ("red", "blue")
                       for room in ("cellar", "attic")])  # fmt: skip
    (wanted,) = memories.add("u", ["The blue lamp of the attic hangs in the cellar beside the box, as red as it is."])
    memories.add("u", ["Buddy is a dog."])
    memories.add("u", [f"The box{n} is red." for n in range(COMMON)])
    hits = memories.recall("u", "Hey buddy, what about red and blue in the attic and the cellar?", 5)
    assert wanted in [hit.id for hit in hits], "though buddy is the only rare word, and another memory has it"


def test_the_share_of_a_question_counts_rare_words_more(store: Store) -> None:
    memories = Memories(store, CONFIG)
    memories.add("u", [f"The harbour has {n} boats." for n in range(60)])
    ids = memories.add("u", ["The harbour has a lighthouse.", "A lighthouse needs oil."])
    owner = store.user("u")
    found = memories._index.nearest(owner, words_of("harbour lighthouse"), 9)
    assert [f"m{one.row}" for one in found[:2]] == [ids[0], ids[1]]
    assert found[0].share == pytest.approx(1)
    assert found[1].share > found[2].share
    assert memories._index.nearest(owner, words_of("harbour zeppelin"), 9)[0].share < 0.5, "what is unknown counts"


def test_owners_are_apart(store: Store) -> None:
    memories = Memories(store, CONFIG)
    first = memories.add("u", ["The kite is red."])
    other = memories.add("v", ["The kite is blue."])
    again = memories.add("u", ["The kite is green."])
    assert {hit.id for hit in memories.recall("u", "kite?", 9)} == {*first, *again}
    assert [hit.id for hit in memories.recall("v", "kite?", 9)] == other
    assert memories.recall("w", "kite?", 9) == []
    low, high = rows_of(store.user("u"))
    assert low < int(first[0][1:]) < int(again[0][1:]) <= high < rows_of(store.user("v"))[0]


def test_words_of_every_alphabet_and_none() -> None:
    assert words_of("Where is the Schlüssel of snake_case, naïve Straße? Где ключ?") == [
        *("schlüssel", "snake", "case", "naïve", "straße", "где", "ключ"),
    ]
    assert words_of("is it the?") == []


def test_recall_of_anything(store: Store) -> None:
    memories = Memories(store, CONFIG)
    memories.add("u", ["Der Schlüssel liegt unter der Matte.", "Ключ под ковриком.", "É uma casa portuguesa."])
    assert memories.recall("u", "Wo ist der Schlüssel?", 1)[0].text.startswith("Der Schlüssel")
    assert memories.recall("u", "Где ключ?", 1)[0].text == "Ключ под ковриком."
    assert memories.recall("u", "is it the?", 5) == []
    assert memories.recall("u", "Schlüssel", 0) == []
    for hostile in ('"', "NEAR(a b)", "code*", "a OR (", "content:", "é -x", "\x00", "a" * 5000, "_ " * 99, "٣ ½ ⅷ 𝔘"):
        memories.recall("u", hostile, 5)


def test_the_same_memories_and_questions_give_the_same(tmp_path: Path) -> None:
    def run(name: str) -> list[str]:
        config = replace(CONFIG, path=tmp_path / name)
        store = Store(tmp_path / name, config, codec_at("zlib"))
        memories = Memories(store, config)
        made = facts(1_500)
        memories.add("u", [said(*fact) for fact in made])
        given = [f"{hit}" for question, _ in asked(made, 40) for hit in memories.recall("u", question, 5)]
        store.close()
        return given

    assert run("a.sqlite") == run("b.sqlite")


def test_estimates_of_common_words_follow_their_density(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    memories = Memories(store, CONFIG)
    memories.add("u", [f"apple {'pear' if n % 4 == 0 else 'plum'} x{n}" for n in range(4 * COMMON + 8)])
    seen: list[float] = []
    weight = retrieval._weight

    def noting(having: float, of: int) -> float:
        seen.append(having)
        return weight(having, of)

    monkeypatch.setattr(retrieval, "_weight", noting)
    memories._index.nearest(store.user("u"), ["apple", "pear"], 5)
    assert seen[0] == pytest.approx(4 * COMMON + 8, rel=0.02)
    assert seen[1] == pytest.approx(COMMON + 2, rel=0.05)


def test_what_was_corrected_comes_behind_its_correction(store: Store) -> None:
    memories = Memories(store, CONFIG)
    old = memories.add("u", ["The landlord for the Marlow depot is Sobi."])[0]
    other = memories.add("u", ["The access code for the Marlow depot is 4711."])[0]
    new = memories.add("u", ["The landlord for the Marlow depot has changed: it is Rena now."])[0]
    memories.add("u", ["The landlord for the Marlew depot is Tom."])
    order = [hit.id for hit in memories.recall("u", "Who owns the Marlow depot?", 4)]
    assert order[2] == old
    hits = memories.recall("u", "What is the landlord for the Marlow depot?", 4)
    assert hits[0].id == new
    assert {hit.id for hit in hits} >= {old, other}, "nothing is hidden"
    # What says the same twice, or less, corrects nothing; nor what the question tells apart.
    ids = memories.add("v", ["The kite is red and blue.", "The kite is red.", "The kite is red.", "Tom is red."])
    hits = memories.recall("v", "Is the kite red?", 4)
    assert [hit.id for hit in hits] == [ids[2], ids[0], ids[3]], "once what was said twice"
    assert hits[1].score > 0.7
