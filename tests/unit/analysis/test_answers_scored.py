"""Scores of answers, with systems that cheat as negative controls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from perfsuite.analysis.retrieval import BUDGETS, MEASURES, Recogniser, Scored, by_cluster, longest, score
from perfsuite.memory.base import Hit
from perfsuite.workloads.memories import Memory, Question, SeededCase

CASE = SeededCase(1, 400, 200)
MEMORIES = list(CASE.memories())
QUESTIONS = CASE.questions()
BY_KEY = {memory.key: memory for memory in MEMORIES}
Answer = Callable[[Question], Sequence[Hit]]


def words(text: str) -> int:
    return len(text.split())


PLACE = longest(MEMORIES, words)


def hit(text: str, value: float = 1.0, identifier: str = "x") -> Hit:
    return Hit(identifier, text, value)


def graded(answer: Answer, questions: Sequence[Question] = QUESTIONS, k: int = 5) -> list[Scored]:
    recogniser = Recogniser(MEMORIES)
    return [score(one, answer(one), recogniser, k=k, place=PLACE, count=words) for one in questions]


def mean(scored: list[Scored], measure: str, kind: str | None = None) -> float:
    clusters = by_cluster(scored, measure, kind)
    return clusters.interval(share=measure != "tokens").estimate


def perfect(question: Question) -> list[Hit]:
    return [hit(BY_KEY[key].text, 1.0 - rank / 10) for rank, key in enumerate(question.relevant)]


def newest(question: Question) -> list[Hit]:
    return [hit(memory.text) for memory in reversed(MEMORIES[-5:])]


def giant(question: Question) -> list[Hit]:
    return [hit("\n".join(memory.text for memory in MEMORIES))]


def reversed_giant(question: Question) -> list[Hit]:
    return [hit("\n".join(memory.text for memory in reversed(MEMORIES)))]


def nothing(question: Question) -> list[Hit]:
    return []


def outdated(question: Question) -> list[Hit]:
    return [hit(BY_KEY[key].text) for key in (*question.stale, *question.relevant)]


def test_every_measure_has_a_value_and_every_value_a_measure() -> None:
    """Of answers to which each of them applies: nothing in the table is never computed, nor the other way round."""
    scored = graded(lambda question: outdated(question) or newest(question))
    computed = {name for one in scored for name in one.values}
    assert computed | {name for name, measure in MEASURES.items() if measure.pooled} == set(MEASURES)
    for name, measure in MEASURES.items():
        assert by_cluster(scored, name).counts
        if measure.share:
            assert 0.0 <= mean(scored, name) <= 1.0


def test_a_perfect_system_is_perfect() -> None:
    scored = graded(perfect)
    for measure in ("recall_500", "recall_2000", "recall_k", "precision_k", "mrr", "ndcg_k", "abstention"):
        assert mean(scored, measure) == 1.0, measure
    assert mean(scored, "stale") == mean(scored, "noise") == 0.0
    assert mean(scored, "separation") == 1.0
    assert mean(scored, "recall_1", "across") == 0.25


def test_one_that_returns_the_newest_finds_next_to_nothing() -> None:
    scored = graded(newest)
    assert mean(scored, "recall_k") < 0.1
    assert mean(scored, "abstention") == 0.0
    assert mean(scored, "separation") == 0.5


def test_one_giant_hit_wins_nothing() -> None:
    for scored in (graded(giant), graded(reversed_giant)):
        for measure in ("recall_1", "recall_k", "precision_k", "mrr", "ndcg_k", "recall_500"):
            assert mean(scored, measure) < 0.15, measure
        assert mean(scored, "recall_2000") < 0.5
        assert mean(scored, "recall_k", "paraphrased") < 0.15


def test_a_long_hit_takes_the_places_that_its_length_fills() -> None:
    one = next(question for question in QUESTIONS if question.kind == "verbatim")
    marker = BY_KEY[one.relevant[0]].marker
    recogniser = Recogniser(MEMORIES)

    def found(*texts: str) -> dict[str, float]:
        return score(one, [hit(text) for text in texts], recogniser, k=5, place=10, count=words).values

    assert found(f"{'a ' * 9}{marker}")["recall_1"] == 1.0
    for before, rank in ((10, 2), (19, 2), (20, 3), (49, 5)):
        values = found(f"{'a ' * before}{marker}")
        assert (values["recall_1"], values["recall_k"], values["mrr"]) == (0.0, 1.0, 1 / rank)
        assert found("a " * before, f"{marker}")["mrr"] <= values["mrr"]
    assert found(f"{'a ' * 50}{marker}")["recall_k"] == 0.0
    assert found(f"{marker} {'a ' * 49}")["precision_k"] == 0.2
    assert found(f"{marker} {'a ' * 49}")["noise"] == 0.8
    assert found(f"{marker}{' ' * 10_000}")["recall_1"] == 1.0
    assert found("x" * 10_000 + f" {marker}")["recall_1"] == 0.0


def test_what_a_long_hit_is_only_known_to_carry_stands_where_it_ends() -> None:
    stored, question = unmarked()
    recogniser = Recogniser(stored)
    recogniser.stored("t3", ["id-3"])
    for length, rank in ((10, 1), (11, 2), (50, 5), (51, 0)):
        long = [hit("a " * length, identifier="id-3")]
        values = score(question, long, recogniser, k=5, place=10, count=words).values
        assert values["mrr"] == (1 / rank if rank else 0.0), length


def test_one_that_returns_nothing_abstains_and_finds_nothing() -> None:
    scored = graded(nothing)
    assert mean(scored, "abstention") == 1.0
    assert mean(scored, "recall_k") == mean(scored, "precision_k") == mean(scored, "ndcg_k") == 0.0
    assert mean(scored, "separation") == 0.5
    assert not by_cluster(scored, "stale").counts
    assert not by_cluster(scored, "noise").counts


def test_what_was_replaced_and_comes_first_is_stale() -> None:
    assert mean(graded(outdated), "stale") == 1.0
    assert mean(graded(perfect), "stale") == 0.0
    merged = [one for one in QUESTIONS if one.kind == "updated"]

    def both(question: Question) -> list[Hit]:
        return [hit(" ".join(BY_KEY[key].text for key in (*question.stale, *question.relevant)))]

    assert mean(graded(both, merged), "stale") == 0.0


def test_the_same_memory_again_earns_nothing() -> None:
    one = next(question for question in QUESTIONS if question.kind == "across")
    text = BY_KEY[one.relevant[0]].text
    repeated = score(one, [hit(text)] * 4, Recogniser(MEMORIES), k=5, place=PLACE, count=words)
    once = score(one, [hit(text)], Recogniser(MEMORIES), k=5, place=PLACE, count=words)
    assert repeated.values["ndcg_k"] == once.values["ndcg_k"]
    assert repeated.values["recall_k"] == 0.25


def test_more_than_k_hits_are_not_looked_at() -> None:
    one = next(question for question in QUESTIONS if question.kind == "verbatim")
    filler = [hit("nothing of the kind")] * 5
    found = score(one, [*filler, *perfect(one)], Recogniser(MEMORIES), k=5, place=PLACE, count=words)
    assert found.values["recall_k"] == found.values["recall_500"] == 0.0


def test_rewritten_memories_count_by_their_markers() -> None:
    one = next(question for question in QUESTIONS if question.kind == "verbatim")
    marker = BY_KEY[one.relevant[0]].marker
    found = score(one, [hit(f"User says: code={marker}, ok")], Recogniser(MEMORIES), k=5, place=PLACE, count=words)
    assert found.values["recall_1"] == 1.0
    inside = score(one, [hit(f"x{marker}x")], Recogniser(MEMORIES), k=5, place=PLACE, count=words)
    assert inside.values["recall_1"] == 0.0


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_budget_cuts_where_it_ends(budget: int) -> None:
    one = next(question for question in QUESTIONS if question.kind == "verbatim")
    marker = BY_KEY[one.relevant[0]].marker
    for before, expected in ((budget - 1, 1.0), (budget, 0.0)):
        text = f"{'a ' * before}{marker} {'b ' * 5000}"
        found = score(one, [hit(text)], Recogniser(MEMORIES), k=5, place=PLACE, count=words)
        assert found.values[f"recall_{budget}"] == expected
        parts = [hit("a " * before), hit(f"{marker}"), hit("b " * 5000)]
        found = score(one, parts, Recogniser(MEMORIES), k=5, place=PLACE, count=words)
        assert found.values[f"recall_{budget}"] == expected


def unmarked() -> tuple[list[Memory], Question]:
    stored = [
        Memory(key=f"t{n}", text=f"Turn  number {n} of it", cluster="c", session="s", timestamp=None) for n in range(9)
    ]
    return stored, Question(text="?", kind="asked", cluster="c", relevant=("t3", "t4"))


def test_published_turns_are_recognised_by_text_and_by_id() -> None:
    stored, question = unmarked()
    recogniser = Recogniser(stored)
    recogniser.stored("t4", ["id-4", "id-4b"])
    hits = [hit("turn number 3 of it"), hit("rewritten", 0.5, "id-4b")]
    found = score(question, hits, recogniser, k=5, place=PLACE, count=words)
    assert found.values["recall_k"] == 1.0
    assert "noise" not in found.values
    wrong = score(question, [hit("Turn number 31 of it", identifier="id-5")], recogniser, k=5, place=PLACE, count=words)
    assert wrong.values["recall_k"] == 0.0


def test_a_hit_without_markers_counts_only_whole() -> None:
    stored, question = unmarked()
    recogniser = Recogniser(stored)
    recogniser.stored("t3", ["id-3"])
    found = score(question, [hit("a " * 600, identifier="id-3")], recogniser, k=5, place=PLACE, count=words)
    assert (found.values["recall_500"], found.values["recall_2000"]) == (0.0, 0.5)


def test_ids_do_not_count_where_there_are_markers() -> None:
    one = next(question for question in QUESTIONS if question.kind == "verbatim")
    recogniser = Recogniser(MEMORIES)
    recogniser.stored(one.relevant[0], ["id"])
    found = score(one, [hit("no value", identifier="id")], recogniser, k=5, place=PLACE, count=words)
    assert found.values["recall_1"] == 0.0


def test_scores_that_are_no_numbers_separate_nothing() -> None:
    def odd(question: Question) -> list[Hit]:
        return [hit("x", math.nan)]

    assert not by_cluster(graded(odd), "separation").counts


def test_systems_are_compared_on_the_conversations_of_both() -> None:
    a = by_cluster(graded(perfect), "recall_k")
    b = by_cluster(graded(newest, QUESTIONS[:100]), "recall_k")
    first, second = a.aligned(b)
    assert len(first[0]) == len(second[0]) == len(b.counts) < len(a.counts)
    assert first[1] == second[1]
