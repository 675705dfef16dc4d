"""``python -m perfsuite.suites.chatloop.sizes``: conversations of several sizes in a process that does nothing else.

Reads what is asked for as JSON from standard input, prints ``memory.Sizes`` as JSON.  The smallest are always measured,
the larger ones as far as the time goes: by what the one before took, it is known whether the next one fits.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from perfsuite.chatloop.calls import is_async
from perfsuite.chatloop.monitor import PerformanceMonitor
from perfsuite.chatloop.operations import COMPLETE_ITERATION, MEMORY_TRIMMING
from perfsuite.chatloop.resources import memory_bytes
from perfsuite.heap import give_back
from perfsuite.targets.chatloop import ChatLoopTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perfsuite.chatloop.loop import ChatLoop
    from perfsuite.suites.chatloop.memory import Size, Sizes


LEAST = 3
"""Sizes that are measured however short the time is; so are all counts of users, or their line would have no bounds."""


class Time:
    """The seconds that there are, and which of several tasks of growing size still fit."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._seconds = seconds

    def fits(self, sizes: Sequence[int]) -> Iterator[int]:
        """Each of the sizes that is done before the time is over, one that is twice as large taking twice as long;
        LEAST of them at least."""
        last = took = 0.0
        for number, size in enumerate(sizes):
            left = self._began + self._seconds - self._clock()
            if number >= LEAST and took * size / last > left:
                return
            began = self._clock()
            yield size
            last, took = size, self._clock() - began


def measure(asked: dict[str, Any]) -> Sizes:
    """Everything that there is time for."""
    having = Time(asked["seconds"])
    target = ChatLoopTarget(asked["loop"])
    texts = asked["texts"]
    talk(target.new_loop(PerformanceMonitor()), texts[:50])  # imports, caches
    users, cpu_s = by_users(target, asked["users"], texts, asked["messages"] // 2)
    sizes = [by_size(target, size, texts) for size in having.fits(asked["sizes"])]
    return {"sizes": sizes, "users": users, "cpu_s": cpu_s}


def by_users(
    target: ChatLoopTarget, counts: list[int], texts: list[str], turns: int
) -> tuple[list[tuple[int, int]], float]:
    """Memory of this process with so many users' conversations, and the CPU time of a message."""
    monitor = PerformanceMonitor()
    loops: list[ChatLoop] = []
    found = []
    cpu_s = said = 0.0
    for count in counts:
        while len(loops) < count:
            loops.append(target.new_loop(monitor))
            began = time.process_time()
            talk(loops[-1], [f"{text} {len(loops)}" for text in islice(cycle(texts), turns)])
            cpu_s += time.process_time() - began
            said += turns
        gc.collect()
        give_back()
        found.append((count, memory_bytes()))
    return found, cpu_s / said


def by_size(target: ChatLoopTarget, messages: int, texts: list[str]) -> Size:
    """A conversation of so many messages."""
    gc.collect()
    monitor = PerformanceMonitor()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    loop = target.new_loop(monitor)
    talk(loop, [f"{text} {number}" for number, text in enumerate(islice(cycle(texts), max(1, messages // 2)))])
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    known = monitor.statistics()
    trimming = known[MEMORY_TRIMMING].mean_ms * known[MEMORY_TRIMMING].count if MEMORY_TRIMMING in known else 0.0
    whole = known[COMPLETE_ITERATION].mean_ms * known[COMPLETE_ITERATION].count
    return {
        "messages": messages,
        "bytes": held,
        "kept": len(loop.ctx.conversation_history),
        "trims": loop.trims,
        "untrimmed_time": 1.0 - trimming / whole,
    }


def talk(loop: ChatLoop, texts: list[str]) -> None:
    """Says all of it."""
    if any(is_async(one) for one in (loop.model, *loop.tools.values())):
        asyncio.run(_talk(loop, texts))
        return
    for text in texts:
        loop.run_iteration(text)


async def _talk(loop: ChatLoop, texts: list[str]) -> None:
    for text in texts:
        await loop.arun_iteration(text)


if __name__ == "__main__":
    print(json.dumps(measure(json.load(sys.stdin))))
