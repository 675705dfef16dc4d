"""Trim efficiency: of the bytes that an untrimmed history holds, the share that one trim gives back."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Mapping
from typing import TYPE_CHECKING

from perfsuite.evidence import Evidence, Exact
from perfsuite.suites.chatloop.turns import maker, messages, taken

if TYPE_CHECKING:
    from perfsuite.chatloop.loop import ChatLoop
    from perfsuite.suites.session import Session

SIZES = (10, 100, 1000, 5000)
PAIRS = 100
JUDGED = 1000
"""Messages from which on a trim has to give something back: fewer are within the limits."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for ``trim_efficiency``."""
    texts = messages(session)
    rows = [_trimmed(maker(session).new_loop(), taken(texts, size)) for size in SIZES]
    judged = [float(str(row["efficiency"])) for row in rows if int(str(row["messages"])) >= JUDGED]
    return {
        "trim_efficiency": Exact(value=min(judged), samples=len(judged), details={"pairs": PAIRS, "sizes": rows}),
    }


def _trimmed(loop: ChatLoop, texts: list[str]) -> dict[str, object]:
    """One trim of a history of these texts, by what its objects hold (tracemalloc)."""
    loop.config.max_history_pairs = PAIRS
    gc.collect()
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        loop.ctx.conversation_history = [
            {"role": ("user", "assistant")[number % 2], "content": f"{text} {number}"}
            for number, text in enumerate(texts)
        ]
        held = tracemalloc.get_traced_memory()[0] - before
        began = time.perf_counter_ns()
        loop._trim_conversation_history_incremental()
        took_ms = (time.perf_counter_ns() - began) / 1e6
        gc.collect()
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        if not tracing:
            tracemalloc.stop()
    return {
        "messages": len(texts),
        "kept": len(loop.ctx.conversation_history),
        "bytes_before": held,
        "bytes_after": left,
        "efficiency": 1.0 - left / held,
        "traced_ms": took_ms,
    }
