"""How often a leak is found, and how often one is said to be where there is none: ``python benchmarks/leaks.py``.

Each repetition is a thousand turns of a chat loop of its own in this process, read as ``perfsuite chat-loop leaks``
reads them; the leaking loop leaves 1,024 bytes behind in every turn.  Fails when a leak is missed, or a clean loop is
said to leak.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from typing import Any

from perfsuite import ChatLoop
from perfsuite.analysis.leaks import Leak, leak
from perfsuite.chatloop.resources import memory_bytes
from perfsuite.heap import give_back
from perfsuite.suites.chatloop.leaks import WARMUP, Readings

TURNS = 1000
LIMIT = 102.4
"""Bytes an iteration: the lower bound of a leak is above."""


def clean(messages: list[dict[str, Any]]) -> str:
    return "A fine answer."


def leaking() -> Callable[[list[dict[str, Any]]], str]:
    kept: list[bytearray] = []

    def model(messages: list[dict[str, Any]]) -> str:
        kept.append(bytearray(1024))
        return "A fine answer."

    return model


def looked_at(model: Callable[[list[dict[str, Any]]], str]) -> Leak:
    """One repetition."""
    loop = ChatLoop({"max_history_pairs": 20, "show_token_usage": False, "llm_timeout_s": None}, model=model)
    readings = Readings(memory_bytes)
    for number in range(WARMUP):
        loop.run_iteration(f"warm-up {number}")
    gc.collect()
    give_back()
    readings.begin()
    for number in range(TURNS):
        loop.run_iteration(f"Memory test {number}, in the words that a message has.")
        readings.count()
    readings.end()
    found = leak(readings.points)
    assert found is not None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=100, help="of each loop [100]")
    times = parser.parse_args().repetitions
    alarms = [one for one in (looked_at(clean) for _ in range(times)) if one.low > LIMIT]
    found = [looked_at(leaking()) for _ in range(times)]
    missed = [one for one in found if one.low <= LIMIT]
    slopes = sorted(one.bytes_each for one in found)
    print(f"clean loop: {len(alarms)} of {times} repetitions of {TURNS:,} turns said to leak")
    print(f"leak of 1,024 bytes a turn: {len(missed)} of {times} missed; slope {slopes[len(slopes) // 2]:,.0f} bytes "
          f"({slopes[0]:,.0f} to {slopes[-1]:,.0f})")  # fmt: skip
    assert not alarms, alarms
    assert not missed, missed


if __name__ == "__main__":
    main()
