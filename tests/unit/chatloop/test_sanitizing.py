"""What is taken out of a message: all that it should be, and nothing else."""

from __future__ import annotations

import unicodedata

import pytest

from perfsuite.chatloop.sanitizing import sanitize

HIDDEN = {*"\u200b\ufeff", *map(chr, range(0x2060, 0x2070)), *map(chr, range(0xFFF9, 0xFFFC)),
          *map(chr, range(0xE0000, 0xE0080))} - {"\u2065"}  # fmt: skip


def test_every_character_of_unicode() -> None:
    """By the properties that unicodedata knows, not by the pattern's own ranges."""
    wrong = []
    for code in range(0x110000):
        character = chr(code)
        got = sanitize(f"a{character}b")[1:-1]
        category = unicodedata.category(character)
        direction = unicodedata.bidirectional(character)
        if character in "\n\t":
            expected = character
        elif character in "\r\x85\u2028\u2029":
            expected = "\n"
        elif category == "Cs":
            expected = "\ufffd"
        elif (
            category == "Cc"
            or direction in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
            or character in "\u061c\u200e\u200f"
            or character in HIDDEN
        ):
            expected = ""
        else:
            expected = character
        if got != expected:
            wrong.append((hex(code), got))
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("dos\r\nand mac\rbreaks", "dos\nand mac\nbreaks"),
        ("pay \u202e001\u202c euros", "pay 001 euros"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\udc80b\ud83d", "a\ufffdb\ufffd"),
        ("Familie: 👨‍👩‍👧, naïve, 日本語, שלום", "Familie: 👨‍👩‍👧, naïve, 日本語, שלום"),
        ("no\xa0break", "no\xa0break"),
        ("", ""),
    ],
)
def test_examples(text: str, clean: str) -> None:
    assert sanitize(text) == clean
    assert sanitize(clean) == clean
    clean.encode("utf-8")


def test_a_clean_text_is_itself() -> None:
    text = "x" * 1000 + "\n"
    assert sanitize(text) is text
