from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsuite import tiktoken_files
from perfsuite.analysis import tokens
from perfsuite.analysis.tokens import Tokenizer, analyse
from perfsuite.trimming import TrimPolicy

WORDS = Tokenizer("words", lambda text: len(text.split()), False)
OVERHEAD = tokens.MESSAGE_OVERHEAD
messages = st.lists(
    st.builds(
        lambda role, text: {"role": role, "content": text},
        st.sampled_from(["system", "user", "assistant", "tool"]),
        st.sampled_from(["a", "b c", "d e f", "a b c d e f g"]),
    ),
    max_size=30,
)


def test_by_hand() -> None:
    talk: list[dict[str, Any]] = [
        {"role": "system", "content": "be brief now"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two three"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]},
        {"role": "tool", "content": "r"},
        {"role": "assistant", "content": "end"},
    ]
    report = analyse([talk, talk[:2]], WORDS, policies={}, windows=(20,))
    calls = 2 + OVERHEAD
    assert report.by_role == {
        "system": 2 * (3 + OVERHEAD),
        "user": 3 * (1 + OVERHEAD),
        "assistant": 2 + OVERHEAD + calls + 1 + OVERHEAD,
        "tool": 1 + OVERHEAD,
    }
    first, second = 4 + 2 * OVERHEAD, 7 + 4 * OVERHEAD
    third = second + calls + 1 + OVERHEAD
    assert (report.conversations, report.turns, report.messages) == (2, 4, 9)
    assert report.sent == first + second + third + first
    assert report.resent == first + second
    assert report.longest_prompt == third
    assert report.tools == calls + 1 + OVERHEAD
    assert report.repeated_system == 3 + OVERHEAD
    assert report.duplicates == 2 * (1 + OVERHEAD)
    assert report.savings[-1].tokens == report.sent - (2 * first + 20 + 20)
    assert report.savings[0].tokens == 2 * (1 + OVERHEAD), "the second prompt and the third hold 'one' twice"


@given(st.lists(messages, max_size=4))
def test_shares_make_sense(conversations: list[list[dict[str, str]]]) -> None:
    report = analyse(conversations, WORDS, policies={"t": TrimPolicy(1, 1.0, 1.0, 1.0)}, windows=(8, 64))
    assert sum(report.by_role.values()) == report.stored
    assert 0 <= report.resent <= report.sent
    assert report.repeated_system + report.duplicates <= report.stored
    assert all(0 <= saving.share <= 1 and saving.tokens <= report.sent for saving in report.savings)
    assert all(share <= 1 for _, _, share in report.rows())


def test_resending_grows_with_the_square_and_trimming_does_not() -> None:
    def talk(turns: int) -> list[dict[str, str]]:
        return [{"role": role, "content": f"w{i}"} for i in range(turns) for role in ("user", "assistant")]

    policies = {"t": TrimPolicy(max_history_pairs=10)}
    short, long = (analyse([talk(turns)], WORDS, policies, ()) for turns in (200, 400))
    assert long.sent / short.sent == pytest.approx(4, rel=0.02)
    trimmed = [report.sent - report.savings[0].tokens for report in (short, long)]
    assert trimmed[1] / trimmed[0] == pytest.approx(2, rel=0.05)
    assert analyse([talk(5)], WORDS, policies, ()).savings[0].tokens == 0


def test_more_messages_than_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_DIGESTS", 2)
    report = analyse([[{"role": "user", "content": text} for text in "abc"]], WORDS)
    assert not report.all_told_apart


def test_the_estimate_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    found = tokens.tokenizer()
    assert found.estimate
    assert "not installed" in found.name
    assert found.count("The quick brown fox jumps.") == 6
    report = analyse([[{"role": "user", "content": "hi"}]], found)
    assert any("estimate" in what for what, _, _ in report.rows())

    fake = SimpleNamespace(
        get_encoding=lambda name: SimpleNamespace(encode=lambda text, disallowed_special: list(text))
    )
    monkeypatch.setitem(sys.modules, "tiktoken", fake)
    monkeypatch.setitem(sys.modules, "tiktoken.load", SimpleNamespace(read_file=None))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert "not on this machine" in tokens.tokenizer().name, "nothing is downloaded"
    tiktoken_files.file_of("cl100k_base").write_bytes(b"")
    found = tokens.tokenizer()
    assert (found.name, found.estimate, found.count("abc")) == ("tiktoken cl100k_base", False, 3)


def test_a_damaged_file_of_tiktokens_is_not_replaced_by_a_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("tiktoken")
    import tiktoken.load
    import tiktoken.registry

    asked: list[str] = []
    monkeypatch.setattr(tiktoken.load, "read_file", asked.append)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for name in tokens.ENCODINGS:
        tiktoken_files.file_of(name).write_bytes(b"not it")
    assert "not on this machine" in tokens.tokenizer().name
    assert asked == []
