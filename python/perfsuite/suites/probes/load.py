"""Load: a held concurrency first, then an open loop at 80 % of the throughput that it gave; with --find-max the search
for the highest rate within the criteria after them.

While the load is on, finished conversations are put into the system's compressed storage, so that what compression
saves under load can be held against what it saves at leisure.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Mapping
from itertools import count, islice

from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured, RatioOfSums, Share
from perfsuite.loadgen import Times
from perfsuite.suites.cache import CacheWatch
from perfsuite.suites.searching import Ends, find_max
from perfsuite.suites.session import Session, Stretch
from perfsuite.suites.streaming import error_rate, good_windows, streaming_evidence
from perfsuite.targets.base import Failure, Inspection, Reply, Request
from perfsuite.workloads.conversations import conversations
from perfsuite.workloads.requests import requests

CONCURRENCY = 10
HELD_SHARE = 0.5
"""Share of the time for the held concurrency; the rest is the open loop's."""
OPEN_LOOP = 0.8
SEARCH_SHARE = 0.6
"""Share of the time for the search of the highest rate, where it is asked for."""
ARCHIVE_EVERY_S = 0.05
ARCHIVED_AT_LEAST = 10_000
COMPARED = 200
"""Stored conversations compressed again at leisure, at most."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Runs both loops; with --rate or --users only the open one; and the search where it is asked for."""
    inside = session.target.inspection
    load = session.load
    slots = load.users or load.concurrency or CONCURRENCY
    cache = CacheWatch(session, slots)
    source = requests(
        session.seed, slots=slots, workload=session.workload, models=session.target.models[:1], expecting=False
    )

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: Times) -> None:
        source.answered(request, reply)
        cache.look()

    archiver = asyncio.create_task(archive(session, inside)) if inside is not None else None
    stretches = []
    best: list[Stretch] = []
    known: tuple[Stretch, Ends] | None = None
    highest: Evidence = NotMeasured("--find-max searches it")
    left_for_search = SEARCH_SHARE * session.remaining_s() if load.find_max else 0.0
    try:
        rate = load.rate
        if load.due_rate is None:
            held = await session.drive(
                "held",
                source,
                duration_s=(session.remaining_s() - left_for_search) * HELD_SHARE,
                concurrency=load.concurrency or CONCURRENCY,
                think_s=load.think,
                share=(1.0 - SEARCH_SHARE if load.find_max else 1.0) * HELD_SHARE,
                on_reply=on_reply,
            )
            stretches.append(held)
            rate = OPEN_LOOP * throughput(held)
        seconds = session.remaining_s() - left_for_search
        if seconds > 0.0 and (rate or load.users):
            for earlier in stretches:  # the phase's latencies are those of the last
                earlier.events.forget_blocks()
            ends = Ends(on_reply) if load.find_max else None
            open_loop = await session.drive(
                "paced" if load.users else "open",
                source,
                duration_s=seconds,
                rate=rate,
                users=load.users,
                concurrency=load.concurrency if load.rate else None,
                chosen=load.due_rate is None,
                share=1.0 if not load.find_max else open_share(load.due_rate is not None),
                on_reply=on_reply if ends is None else ends.heard,
            )
            stretches.append(open_loop)
            if ends is not None and open_loop.spec.concurrency == load.concurrency:  # as the search drives them
                known = open_loop, ends
        if load.find_max:
            start = rate or 0.0
            if start > 0.0:
                highest, best = await find_max(session, source, start, on_reply, known)
            else:
                highest = NotMeasured("no request was completed, so there is no rate to begin with")
    finally:
        if archiver is not None:
            archiver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await archiver
    found = streaming_evidence(stretches[-1])
    found["error_rate"] = errors(stretches)
    found["concurrent_requests"] = in_flight([*stretches, *best])
    found["max_rate"] = highest
    found["system_stability"] = good_windows(stretches)
    found["cache_hit_rate"] = cache.evidence()
    found["compression_efficiency"] = efficiency(inside, session.target.name)
    return found


def open_share(first: bool) -> float:
    """Of what may yet be sent, the open loop's where a search follows; ``first``: nothing was held before it."""
    part = 1.0 - SEARCH_SHARE
    return part if first else part * HELD_SHARE / (1.0 - part * HELD_SHARE)


def throughput(stretch: Stretch) -> float:
    """Requests completed a second in the measured time."""
    return stretch.events.completed / stretch.measured_s if stretch.measured_s > 0.0 else 0.0


async def archive(session: Session, inside: Inspection) -> None:
    """Stores a finished conversation every ARCHIVE_EVERY_S until cancelled."""
    source = conversations(session.seed + 1, minimum_bytes=ARCHIVED_AT_LEAST)
    for number, conversation in zip(count(), source, strict=False):
        name = f"load-{session.seed}-{number}"
        inside.store_conversation(conversation.messages(), user_id=f"archive-{number % 16}", conversation_id=name)
        await asyncio.sleep(ARCHIVE_EVERY_S)


def errors(stretches: list[Stretch]) -> Evidence:
    """error_rate over all stretches; each second is a cluster.  Its series has the times of the last one's load, as
    those of all streamed metrics have: earlier stretches lie before 0."""
    shares = [error_rate(one) for one in stretches]
    known = [share for share in shares if isinstance(share, Share)]
    if not known:
        return shares[-1]
    kinds: Counter[str] = Counter()
    series: list[tuple[float, float]] = []
    for one, share in zip(stretches, shares, strict=True):
        offset = (one.events.start_ns - stretches[-1].events.start_ns) / 1e9
        kinds.update(one.events.errors)
        if isinstance(share, Share):
            series += [(offset + t_s, failed) for t_s, failed in share.series]
    return Share(
        hits=sum(share.hits for share in known),
        trials=sum(share.trials for share in known),
        clusters=[pair for share in known for pair in share.clusters],
        series=series,
        details={
            "kinds": dict(kinds),
            "stretches": [
                {"stretch": one.name, "failed": share.hits, "ended": share.trials, "kinds": dict(one.events.errors)}
                for one, share in zip(stretches, shares, strict=True)
                if isinstance(share, Share)
            ],
        },
    )


def in_flight(stretches: list[Stretch]) -> Evidence:
    """The most requests in flight at once, as the client counts them.

    Where no more were ever asked for, the system may bear more than that: it is a lower bound.
    """
    delivered = [one.delivered for one in stretches if one.delivered is not None]
    if not delivered or not any(row.completed for row in delivered):
        return NotMeasured("no request was completed")
    most, samples = max(row.max_in_flight for row in delivered), sum(row.requests for row in delivered)
    series = held_series(stretches)
    if any(one.spec.due_rate is None and (one.spec.concurrency or 1) > most for one in stretches):
        return Exact(value=float(most), samples=samples, series=series)
    more = "this load had no more in flight: --concurrency, a higher --rate or more --users would tell"
    details = {"to_decide": more}
    return Estimate(value=float(most), low=float(most), high=math.inf, samples=samples, series=series, details=details)


def held_series(stretches: list[Stretch]) -> list[tuple[float, float]]:
    """The most in flight in each second of each stretch, by seconds since the first of them began."""
    began_ns = stretches[0].events.start_ns
    series: list[tuple[float, float]] = []
    for one in stretches:
        windows = one.events.windows()
        behind_s = (one.events.start_ns - began_ns) / 1e9
        series += [(behind_s + t_s, most) for t_s, most in zip(windows["t_s"], windows["in_flight_max"], strict=True)]
    return series


def efficiency(inside: Inspection | None, name: str) -> Evidence:
    """Bytes saved under load over bytes that the strongest setting saves on the same data."""
    if inside is None:
        return NotMeasured(f"{name} does not show what it stores")
    strongest = inside.strongest_codec()
    saved: list[float] = []
    possible: list[float] = []
    for original, stored in islice(inside.stored_conversations(ARCHIVED_AT_LEAST), COMPARED):
        saved.append(float(len(original) - len(stored)))
        possible.append(float(len(original) - len(strongest.compress(original))))
    if not saved:
        return NotMeasured(f"no conversation of {ARCHIVED_AT_LEAST:,} bytes and more was stored under load")
    details = {"codec": inside.codec().name, "strongest": strongest.name}
    return RatioOfSums(parts=saved, wholes=possible, details=details)
