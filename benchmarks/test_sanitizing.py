"""A message of 100,000 characters sanitized, beside what plain Python offers for the same: a compiled pattern, a table.

The worst case has a character to be taken out at every other place; the usual one has none but line breaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from perfsuite.chatloop.operations import CONTENT_SANITIZATION, EXPECTATIONS
from perfsuite.chatloop.sanitizing import sanitize

LENGTH = 100_000
WORST, USUAL = "100,000 characters, every other one goes", "100,000 characters of clean text"
TEXTS = {WORST: "a\u202e" * (LENGTH // 2), USUAL: "Tell me what we said about it.\n" * (LENGTH // 31)}
GONE = [*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0), 0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F),
        *range(0x2060, 0x2065), *range(0x2066, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC),
        *range(0xE0000, 0xE0080)]  # fmt: skip

Contenders = dict[str, tuple[Callable[[], object], int]]
missing: dict[str, str] = {}


def contenders_of(title: str) -> Contenders:
    text = TEXTS[title]
    breaks, surrogates = re.compile("\r\n?|[\x85\u2028\u2029]"), re.compile("[\ud800-\udfff]")
    gone = re.compile("[" + "".join(map(re.escape, map(chr, GONE))) + "]")
    table: dict[int, str | None] = dict.fromkeys(GONE) | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")

    def pattern() -> str:
        return gone.sub("", breaks.sub("\n", surrogates.sub("\ufffd", text)))

    def translated() -> str:
        return breaks.sub("\n", text).translate(table)

    found = {"perfsuite": lambda: sanitize(text), "re": pattern, "str.translate": translated}
    if len({run() for run in found.values()}) != 1:
        raise AssertionError(f"{title}: they differ")
    return {name: (run, 1) for name, run in found.items()}


PEERS: list[tuple[str, Callable[[], Contenders]]] = [
    (title, lambda title=title: contenders_of(title))  # type: ignore[misc]
    for title in TEXTS
]
GOALS = {
    WORST: {"re": 10.0, "perfsuite": EXPECTATIONS[CONTENT_SANITIZATION].maximum_ms / 10 * 1e6},
    USUAL: {"re": 10.0},
}


@pytest.mark.parametrize("title", TEXTS)
@pytest.mark.parametrize("name", ["perfsuite", "re", "str.translate"])
def test_sanitizing(benchmark: Callable[..., object], title: str, name: str) -> None:
    benchmark(contenders_of(title)[name][0])
