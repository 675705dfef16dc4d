"""A turn of the chat loop without its model: at 5,000 messages of history, and each of its steps, beside the guide.

``python benchmarks/chat_loop.py`` prints the figures and fails where one is missed; the limits are the guide's
expected times divided by ten, and a millisecond for a whole turn.
"""

from __future__ import annotations

import time
from typing import Any

from perfsuite import ChatLoop
from perfsuite.chatloop.operations import EXPECTATIONS

HISTORY = 5000
TEXT = "Could you tell me what we said about the plan for the garden last week?\nI have forgotten. " * 10
STEPS = ("input_validation", "content_sanitization", "memory_trimming", "complete_iteration")
MOST_MS = {name: EXPECTATIONS[name].expected_ms / 10 for name in STEPS[:3]} | {"complete_iteration": 1.0}


def answer(messages: list[dict[str, Any]]) -> str:
    return "answer"


def history(n: int) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": f"message {i} of a long conversation"} for i in range(n)]


def long_loop() -> ChatLoop:
    """With a history of HISTORY messages that is never trimmed."""
    loop = ChatLoop({"max_history_pairs": HISTORY, "show_token_usage": False}, model=answer)
    loop.ctx.conversation_history = history(HISTORY)
    return loop


def medians_ms(turns: int = 300) -> dict[str, float]:
    """By the loop's own monitor."""
    loop, trimming = long_loop(), ChatLoop("production", model=answer)
    for i in range(turns):
        loop.run_iteration(TEXT)
        del loop.ctx.conversation_history[HISTORY:]
        if i % 10 == 0:
            trimming.ctx.conversation_history = history(HISTORY)
            trimming._trimmed()
    known = loop.monitor.statistics() | {
        "memory_trimming": trimming.monitor.statistics()["memory_trimming"],
    }
    return {name: known[name].p50_ms for name in STEPS}


if __name__ == "__main__":
    began = time.monotonic()
    taken = medians_ms()
    for name, ms in taken.items():
        print(f"{name:<22} {ms:8.4f} ms, {MOST_MS[name]:g} allowed")
    missed = [name for name, ms in taken.items() if ms > MOST_MS[name]]
    print(f"{time.monotonic() - began:.1f} s in all")
    assert not missed, missed
