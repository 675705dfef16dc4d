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
    load = session.load
    concurrency = load.concurrency or (None if load.due_rate else CONCURRENCY)
    slots = load.users or concurrency or CONCURRENCY
    recall = Recall()
    cache = CacheWatch(session, slots)

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: Times) -> None:
        source.answered(request, reply)
        cache.look()
        recall.add(request, reply, session.now_s)

    source = requests(
        session.seed,
        slots=slots,
        workload=session.workload,
        models=session.target.models[:1],
        repeat_back=session.target.inspection is None,
    )
    stretch = await session.drive(
        "conversations",
        source,
        duration_s=session.remaining_s(),
        concurrency=concurrency,
        rate=load.rate,
        users=load.users,
        think_s=load.think,
        on_reply=on_reply,
    )
    found = streaming_evidence(stretch)
    found["context_preservation"] = recall.evidence()
    found["cache_hit_rate"] = cache.evidence()
    return found
