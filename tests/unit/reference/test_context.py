from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perfsuite.reference.context import Assembler, BudgetExceeded, Note
from perfsuite.reference.counter import TokenCounter
from perfsuite.reference.tokenizer import count_prompt, render

lines = st.text(alphabet="ab1. é\n", max_size=40)
histories = st.lists(
    st.builds(lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant"]), lines),
    max_size=12,
)


def assembler(share: float = 0.25, turns: int = 3) -> Assembler:
    return Assembler(TokenCounter(), "Answer.", share, turns)


@given(
    st.integers(0, 300), lines, st.lists(lines, max_size=20), histories, st.lists(lines, max_size=3), st.floats(0, 1)
)
def test_the_budget_is_kept_and_the_count_is_exact(
    budget: int, question: str, notes: list[str], history: list[dict[str, Any]], pinned: list[str], share: float
) -> None:
    found = [Note(f"m{number}", text) for number, text in enumerate(notes)]
    try:
        context = assembler(share).assemble(question, budget, notes=found, history=history, pinned=pinned)
    except BudgetExceeded:
        assume(False)
    assert context.tokens <= budget
    assert context.tokens == count_prompt(render(context.messages))
    assert context.messages[-1] == {"role": "user", "content": question}
    assert len(context.memories) + context.dropped <= len(notes)


def test_what_must_be_there_and_does_not_fit_is_refused() -> None:
    with pytest.raises(BudgetExceeded, match="budget is 20"):
        assembler().assemble("word " * 50, 20)


def test_notes_are_oldest_first_and_the_most_relevant_win() -> None:
    notes = [Note("m9", "nine is the newest"), Note("m3", "three is older"), Note("m5", "five does not fit " * 20)]
    context = assembler().assemble("what?", 40, notes=notes)
    assert context.memories == ["m3", "m9"]
    assert context.dropped == 1
    assert context.messages[0]["content"] == "Answer. three is older nine is the newest"


def test_a_note_that_the_recent_turns_hold_is_not_said_twice() -> None:
    history = [{"role": "user", "content": "The sky is green."}, {"role": "assistant", "content": "ok"}]
    context = assembler(share=1.0).assemble("sky?", 200, notes=[Note("m1", "The sky is green.")], history=history)
    assert context.memories == []
    assert [message["role"] for message in context.messages] == ["system", "user", "assistant", "user"]


def test_turns_are_kept_whole_and_newest() -> None:
    history = [{"role": role, "content": f"{n}"} for n in range(9) for role in ("user", "assistant", "tool")]
    context = assembler(turns=2).assemble("q", 500, history=history)
    assert [message["content"] for message in context.messages[1:-1]] == ["7"] * 3 + ["8"] * 3
