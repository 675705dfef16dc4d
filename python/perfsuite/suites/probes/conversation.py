"""Conversations in a closed loop: response times, what is remembered, how often the cache answers."""

from __future__ import annotations

from collections.abc import Mapping

from perfsuite.evidence import Evidence
from perfsuite.loadgen import Times
from perfsuite.suites.cache import CacheWatch
from perfsuite.suites.recall import Recall
from perfsuite.suites.session import Session
from perfsuite.suites.streaming import streaming_evidence
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.workloads.requests import requests

CONCURRENCY = 4
"""In flight, unless --concurrency or --rate says otherwise: enough for a distribution, too few to be a load."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Holds conversations for the whole of the probe's time."""
    concurrency = session.load.concurrency or (None if session.load.rate else CONCURRENCY)
    slots = concurrency or CONCURRENCY
    recall = Recall()
    cache = CacheWatch(session, slots)

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: Times) -> None:
        cache.look()
        recall.add(request, reply)

    stretch = await session.drive(
        "conversations",
        requests(
            session.seed,
            slots=slots,
            workload=session.workload,
            models=session.target.models[:1],
            repeat_back=session.target.inspection is None,
        ),
        duration_s=session.remaining_s(),
        concurrency=concurrency,
        rate=session.load.rate,
        on_reply=on_reply,
    )
    found = streaming_evidence(stretch)
    found["context_preservation"] = recall.evidence()
    found["cache_hit_rate"] = cache.evidence()
    return found
