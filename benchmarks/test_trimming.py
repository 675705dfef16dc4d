"""Trimming 10,000 messages to a token budget and to a number of turns, in place, system and pinned messages kept.

By count alone, with nothing to keep but the tail, `messages[-n:]` is 0.3 µs in Python and nothing can beat it; it keeps
no system message, may start with an answer, and may part a reply from its call.

The goal beside langchain on the same dicts cannot be reached: the report's bytes_before, and finding what is pinned,
need every message.  Of the 13 ns that a message takes, 7 are Python's own walk over its two fields (PyDict_Next; how a
dict is laid out is not public), and the copy of the list that each round trims, with letting go of it, is 3 more:
0.1 ms for 10,000, where a thousandth of langchain's time is 0.04 ms.  Memory is not the bound: a history of 500
messages, which is in the cache, takes as long for each as one of 10,000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perfsuite.trimming import TrimPolicy, trim

Contenders = dict[str, tuple[Callable[[], object], int]]
Message = dict[str, Any]
BUDGET = 5_000

missing: dict[str, str] = {}


def history(n: int = 10_000) -> list[Message]:
    """A system message, n questions and answers, and a pinned question among them."""
    messages: list[Message] = [{"role": "system", "content": "You are brief and to the point."}]
    for i in range(n // 2):
        messages.append({"role": "user", "content": f"What about number {i} of the list?"})
        messages.append({"role": "assistant", "content": f"Number {i} is as good as any other of them."})
    messages[n // 10 * 2 + 1]["pinned"] = True
    return messages


def python_trim(messages: list[Message], keep: int, budget: int | None, counter: Callable[[str], int]) -> int:
    """The same rules in Python: turns, pins, bytes, calls and replies by id."""
    fixed: list[int] = []
    opens: list[int] = []
    calls: dict[str, int] = {}
    before = 0
    for i, message in enumerate(messages):
        role = message["role"]
        if role == "system" or role == "developer" or message.get("pinned"):
            fixed.append(i)
        if role == "user":
            opens.append(i)
        elif role == "assistant":
            for call in message.get("tool_calls") or ():
                calls[call["id"]] = i
        elif role == "tool":
            start = calls.get(message["tool_call_id"], i)
            while opens and opens[-1] > start:
                opens.pop()
        content = message["content"]
        before += len(content) if content.isascii() else len(content.encode())
    cut = opens[-keep] if len(opens) > keep else 0
    stays = set(fixed)
    if budget is not None:
        total = sum(counter(messages[i]["content"]) for i in fixed)
        end = len(messages)
        for start in reversed(opens):
            if start < cut:
                break
            for i in range(end - 1, start - 1, -1):
                if i not in stays:
                    total += counter(messages[i]["content"])
                    if total > budget:
                        break
            if total > budget:
                break
            end = start
        cut = max(cut, end)
    messages[:cut] = [messages[i] for i in fixed if i < cut]
    return before - sum(len(m["content"]) for m in messages)


def _contenders(policy: TrimPolicy) -> Contenders:
    messages = history()
    counter = len if policy.max_tokens is not None else None
    keep = 120 if policy.max_tokens is None else 10_000
    found: dict[str, Callable[[], object]] = {
        # Each round trims a fresh copy of the list (10 µs for each of the two).
        "perfsuite": lambda: trim(messages[:], policy, counter),
        "python": lambda: python_trim(messages[:], keep, policy.max_tokens, len),
    }
    try:
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages

        kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
        theirs = [kinds[m["role"]](m["content"]) for m in messages]

        def count_messages(counted: list[Any]) -> int:
            return sum(len(m.content) for m in counted) if policy.max_tokens is not None else len(counted)

        limit = policy.max_tokens or 240

        def langchain(given: list[Any]) -> Callable[[], object]:
            return lambda: trim_messages(
                given, max_tokens=limit, token_counter=count_messages, start_on="human", include_system=True
            )

        found["langchain, the same dicts"] = langchain(messages)
        found["langchain, its own messages"] = langchain(theirs)
    except ImportError as error:
        missing["langchain"] = f"not installed: {error}"
    return {name: (run, 1) for name, run in found.items()}


def contenders() -> Contenders:
    return _contenders(TrimPolicy(max_history_pairs=10_000, max_tokens=BUDGET))


def contenders_by_length() -> Contenders:
    return _contenders(TrimPolicy())


PEERS = [
    ("trim to a token budget, 10,000 messages", contenders),
    ("trim to 120 turns, 10,000 messages", contenders_by_length),
]
GOALS = {
    "trim to a token budget, 10,000 messages": {"python": 3.0, "langchain, the same dicts": 1_000.0},
    "trim to 120 turns, 10,000 messages": {"python": 3.0},
}


def test_python_does_the_same() -> None:
    for policy in (TrimPolicy(max_history_pairs=10_000, max_tokens=BUDGET), TrimPolicy()):
        ours, theirs = history(), history()
        report = trim(ours, policy, len if policy.max_tokens else None)
        saved = python_trim(theirs, 120 if policy.max_tokens is None else 10_000, policy.max_tokens, len)
        assert ours == theirs
        assert report.bytes_before - report.bytes_after == saved


TRIMMED = ["perfsuite", "python", "langchain, the same dicts", "langchain, its own messages"]


def measured(benchmark: object, built: Contenders, name: str) -> None:
    if name not in built:
        pytest.skip(missing["langchain"])
    benchmark.pedantic(built[name][0], rounds=5, warmup_rounds=1)  # type: ignore[attr-defined]


@pytest.mark.benchmark(group="trim to a token budget, 10,000 messages")
@pytest.mark.parametrize("name", TRIMMED)
def test_trim_to_tokens(benchmark: object, name: str) -> None:
    measured(benchmark, contenders(), name)


@pytest.mark.benchmark(group="trim to 120 turns, 10,000 messages")
@pytest.mark.parametrize("name", TRIMMED)
def test_trim_to_turns(benchmark: object, name: str) -> None:
    measured(benchmark, contenders_by_length(), name)
