"""A hundred memories and more: created, retrieved into a context, searched; timed one by one where that can be seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from perfsuite._core import Histogram
from perfsuite.evidence import Evidence, Exact, NotMeasured, Samples, Share

if TYPE_CHECKING:
    from perfsuite.suites.checkpoint.scenarios import Scenarios
    from perfsuite.suites.session import Session
    from perfsuite.targets.base import Inspection

K = 5
TIMED = ("memory_create_time", "memory_retrieval_time", "memory_search_time")


async def measure_memories(session: Session, scenarios: Scenarios, inspection: Inspection) -> dict[str, Evidence]:
    """Stores all memories, then asks for each that has a question in its own words, by both ways."""
    times = {name: Histogram(precision=10) for name in TIMED}
    ids: dict[str, str] = {}
    budget = session.tuning.max_window_size // 2

    def timed(name: str, call: Callable[[], object]) -> object:
        before = time.perf_counter_ns()
        result = call()
        times[name].record((time.perf_counter_ns() - before) / 1e6)
        return result

    for memory in scenarios.memories:
        stored = timed("memory_create_time", lambda: inspection.remember(memory.text, user_id=scenarios.user))  # noqa: B023
        ids[memory.key] = str(stored)
        await asyncio.sleep(0)
    found = searched = 0
    for question in scenarios.questions:
        if session.stop.is_set():
            break
        timed(
            "memory_retrieval_time",
            lambda: inspection.assemble(
                question.text,  # noqa: B023
                user_id=scenarios.user,
                conversation_id=scenarios.conversation("retrieval"),
                budget_tokens=budget,
            ),
        )
        hits = timed(
            "memory_search_time",
            lambda: inspection.search(question.text, user_id=scenarios.user, k=K),  # noqa: B023
        )
        assert isinstance(hits, list)
        searched += 1
        found += any(ids[key] in hits for key in question.relevant)
        await asyncio.sleep(0)
    details: dict[str, object] = {"memories": len(ids)}
    evidence: dict[str, Evidence] = {
        name: Samples(histogram=one, details=details) if one.count else NotMeasured("the run was stopped before")
        for name, one in times.items()
    }
    evidence["memories_created"] = Exact(value=float(len(set(ids.values()))), samples=len(ids))
    evidence["memories_found"] = Share(hits=found, trials=searched, details={"hits": K})
    return evidence


def unseen(name: str) -> dict[str, Evidence]:
    """Of a target whose memory cannot be reached but by talking to it."""
    reason = NotMeasured(f"{name} shows its memory by its answers alone: no call creates, retrieves or searches one")
    return {**dict.fromkeys(TIMED, reason), "memories_created": reason}
