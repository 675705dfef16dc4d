"""Text preservation against rouge-score and against direct models."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite import _core
from perfsuite.preservation import Preservation, surviving, text_preservation

rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="the reference: pip install rouge-score")

words = st.lists(st.sampled_from(["a", "b", "c", "dd", "f1", "F1", "the", "The", "cat"]), max_size=150).map(" ".join)
anything = st.text(st.one_of(st.characters(), st.sampled_from("aB1 ,.-_İKßǅ\n\t\x00é中")), max_size=80)


def scores(original: str, recovered: str) -> tuple[float, float, float]:
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    found = scorer.score(original, recovered)
    return tuple(found[name].fmeasure for name in ("rouge1", "rouge2", "rougeL"))  # type: ignore[return-value]


@settings(max_examples=300)
@given(st.one_of(words, anything), st.one_of(words, anything))
def test_rouge_equals_the_published_scorers(original: str, recovered: str) -> None:
    assert text_preservation(original, recovered)[:3] == scores(original, recovered)


@pytest.mark.parametrize("sizes", [(63, 64), (64, 65), (255, 256), (256, 257), (257, 700), (1, 513), (900, 3)])
def test_rouge_l_across_word_and_block_borders(sizes: tuple[int, int]) -> None:
    a, b = (" ".join(f"w{(i * i * k + i) % 11}" for i in range(n)) for k, n in zip((3, 5), sizes, strict=True))
    assert text_preservation(a, b)[:3] == scores(a, b)
    assert text_preservation(b, a)[:3] == scores(b, a)


def test_equal_and_empty_texts() -> None:
    text = "It was the best of times, it was the worst of times." * 50
    assert text_preservation(text, text) == Preservation(1.0, 1.0, 1.0, 1.0)
    assert text_preservation("", "") == Preservation(0.0, 0.0, 0.0, 1.0)
    assert text_preservation(text, "") == Preservation(0.0, 0.0, 0.0, 0.0)
    assert text_preservation("one", "one") == Preservation(1.0, 0.0, 1.0, 1.0)  # no pairs, as published


@given(words, words)
def test_token_f1_of_ascii_is_rouge_1(original: str, recovered: str) -> None:
    if original or recovered:
        found = text_preservation(original, recovered)
        assert found.token_f1 == found.rouge1


@pytest.mark.parametrize(
    ("original", "recovered", "expected"),
    [
        ("Привет, мир", "привет мир", 1.0),
        ("我喜欢猫", "我喜欢狗", 0.75),
        ("नमस्ते दुनिया", "नमस्ते लोग", 0.5),
        ("naïve café", "naïve cafe\u0301", 1.0),  # composed and not
        ("straße", "STRASSE", 1.0),
        ("ｆｕｌｌ", "full", 1.0),
        ("ひらがな", "カタカナ", 0.0),
    ],
)
def test_token_f1_in_other_scripts(original: str, recovered: str, expected: float) -> None:
    assert text_preservation(original, recovered).token_f1 == pytest.approx(expected)


@given(anything, anything)
def test_token_f1_is_the_f1_of_word_lines(original: str, recovered: str) -> None:
    def count(text: str) -> Counter[str]:
        line = _core.word_line(unicodedata.normalize("NFKC", text).casefold())
        return Counter(line[1:-1].split(" ") if line != " " else [])

    a, b = count(original), count(recovered)
    shared, total = (a & b).total(), a.total() + b.total()
    expected = 2 * shared / total if total else 1.0
    assert text_preservation(original, recovered).token_f1 == pytest.approx(expected)


@given(st.text(st.characters(max_codepoint=0x2FF, categories=("L", "Nd", "P", "Zs")), max_size=60))
def test_word_line_is_the_words(text: str) -> None:
    expected = re.findall(r"[^\W_]+", text)
    assert _core.word_line(text) == (f" {' '.join(expected)} " if expected else " ")


def test_surviving() -> None:
    text = "My sister lives in Flat 7-B, Rue de l’Été; her cat is called Émile. 我的猫叫小白。 We party 🎉"
    facts = ["flat 7 b", "Émile", "emile", "小白", "小黑", "art", "🎉", "🎈", "rue de l'été", "7"]
    assert surviving(facts, text) == (True, True, False, True, False, False, True, False, True, True)
    assert surviving([], text) == ()
    with pytest.raises(ValueError, match="empty fact"):
        surviving([""], text)


def test_lone_surrogates_and_wrong_types() -> None:
    assert text_preservation("a \ud800 b", "a b").rouge_l == 1.0
    with pytest.raises(TypeError, match="str"):
        _core.text_overlap("a", b"a", "a", "a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="4 arguments"):
        _core.text_overlap("a", "a")  # type: ignore[call-arg]
