"""ROUGE beside rouge-score and rapidfuzz, on texts of 10 KB."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from perfsuite.preservation import text_preservation

Contenders = dict[str, tuple[Callable[[], object], int]]
missing: dict[str, str] = {}


def texts(size: int, seed: int = 1) -> tuple[str, str]:
    """A text of `size` characters, with words as frequent as in English, and one that lost and changed some."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(3_000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    words = rng.choices(vocabulary, weights, k=size // 5)
    recovered = [rng.choice(vocabulary) if rng.random() < 0.1 else word for word in words if rng.random() > 0.1]
    return " ".join(words)[:size], " ".join(recovered)[:size]


def rouge_contenders() -> Contenders:
    """ROUGE-L of 10 KB (ours: ROUGE-1, ROUGE-2 and token F1 as well); the same score."""
    original, recovered = texts(10_000)
    found: Contenders = {"perfsuite": (lambda: text_preservation(original, recovered), 1)}
    try:
        from rouge_score import rouge_scorer

        scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
        theirs = scorer.score(original, recovered)["rougeL"].fmeasure
        ours = text_preservation(original, recovered).rouge_l
        if theirs != ours:
            raise AssertionError(f"ROUGE-L differs: {ours} and {theirs}")
        found["rouge-score"] = (lambda: scorer.score(original, recovered), 1)
    except ImportError as error:
        missing["rouge-score"] = f"not installed: {error}"
    return found


def subsequence_contenders() -> Contenders:
    """The same beside rapidfuzz, which gets the words as lists and computes the subsequence alone."""
    original, recovered = texts(10_000)
    found: Contenders = {"perfsuite": (lambda: text_preservation(original, recovered), 1)}
    try:
        from rapidfuzz.distance import LCSseq

        a, b = original.split(), recovered.split()
        found["rapidfuzz"] = (lambda: LCSseq.similarity(a, b), 1)
    except ImportError as error:
        missing["rapidfuzz"] = f"not installed: {error}"
    return found


contenders = rouge_contenders
PEERS: list[tuple[str, Callable[[], Contenders]]] = [
    ("ROUGE-L, 10 KB", rouge_contenders),
    ("longest common subsequence of words, 10 KB", subsequence_contenders),
]
GOALS = {"ROUGE-L, 10 KB": {"rouge-score": 100.0}}


@pytest.mark.parametrize("label", ["perfsuite", "rouge-score"])
def test_rouge(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    found = rouge_contenders()
    if label not in found:
        pytest.skip(f"{label}: {missing[label]}")
    benchmark.group = PEERS[0][0]
    if label == "perfsuite":
        benchmark(found[label][0])
    else:
        benchmark.pedantic(found[label][0], rounds=2)


@pytest.mark.parametrize("label", ["perfsuite", "rapidfuzz"])
def test_subsequence(benchmark, label: str) -> None:  # type: ignore[no-untyped-def]
    found = subsequence_contenders()
    if label not in found:
        pytest.skip(f"{label}: {missing[label]}")
    benchmark.group = PEERS[1][0]
    benchmark(found[label][0])


def test_rouge_of_a_megabyte(benchmark) -> None:  # type: ignore[no-untyped-def]
    original, recovered = texts(1_000_000)
    benchmark.group = "ROUGE, 1 MB"
    benchmark.pedantic(text_preservation, (original, recovered), rounds=1)
