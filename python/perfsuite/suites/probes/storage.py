"""Compressed storage of conversations: what it saves, how fast it opens, and whether everything comes back.

Conversations of 10 KB and more, of real English prose with facts planted in them or those of a user's file, are stored
by the system under test and taken out again.  They are drawn or read anew to be compared, not kept: the suite's own
memory stays flat.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from itertools import islice

from perfsuite._core import Histogram, Stopwatch
from perfsuite.evidence import Evidence, NotMeasured, RatioOfSums, Samples, Share
from perfsuite.suites.apart import Stopped
from perfsuite.suites.codec_table import SIZES, table_apart
from perfsuite.suites.course import Course
from perfsuite.suites.session import Session
from perfsuite.targets.base import Inspection
from perfsuite.workloads.transcripts import Transcript, transcripts

SMALLEST_BYTES = 10_000
FEWEST = 300
"""Conversations stored at least: no loss among 299 is what shows 99 % with 95 % confidence."""
FEW = 60
"""Enough where only the ratio is asked for."""
MOST = 800
"""At most: what a system keeps of old conversations may be bounded."""
LOOKED_AT = 20_000
"""Conversations of a file that are looked at, though the time is over, for those that are large enough."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Stores conversations, takes them out again, and opens what is stored."""
    inside = session.target.inspection
    assert inside is not None, "the registry lets only targets with an inside come here"
    user = f"storage-{session.phase.name}-{session.seed}"
    stored = await fill(session, inside, user)
    recovered, survived = await take_out(session, inside, user, stored)
    found: dict[str, Evidence] = {"recovery_accuracy": recovered}
    if "recovery_accuracy" in session.phase.metrics:
        # Of a round trip; where conversations are what is measured, the same name means what is still known in them.
        found["context_preservation"] = survived
    found["compression_ratio"], found["decompression_time"] = await open_blobs(session, inside, stored)
    return found


async def subjects(session: Session) -> AsyncIterator[Transcript]:
    """The probe's conversations, the same each time; they end with a file, or with the run."""
    for looked, one in enumerate(transcripts(session.workload, session.seed, SMALLEST_BYTES)):
        if looked % 8 == 0:
            await asyncio.sleep(0)
        if session.stop.is_set() or (one is None and looked >= LOOKED_AT and not session.remaining_s()):
            return
        if one is not None:
            yield one


async def fill(session: Session, inside: Inspection, user: str) -> int:
    """Stores conversations until 40 % of the time is over, FEWEST at least (or FEW) and MOST at most; how many."""
    fewest = FEWEST if "recovery_accuracy" in session.phase.metrics else FEW
    number = 0
    async for one in subjects(session):
        over = session.remaining_s() < 0.6 * session.duration_s
        if number >= MOST or (number >= fewest and over):
            break
        inside.store_conversation(one.messages, user_id=user, conversation_id=f"{user}-{number}")
        if number % 8 == 0:
            session.progress(0.4 * number / fewest)
        number += 1
    return number


async def take_out(session: Session, inside: Inspection, user: str, stored: int) -> tuple[Evidence, Evidence]:
    """What comes back of each conversation, message for message, and the planted facts in it."""
    whole = 0
    clusters: list[tuple[float, float]] = []
    recoveries, survivals = Course(), Course()
    taken = 0
    async for one in subjects(session):
        if taken >= stored:
            break
        got = inside.transcript(f"{user}-{taken}")
        told = [(message["role"], message["content"]) for message in one.messages]
        same = [(message["role"], message["content"]) for message in got] == told
        whole += same
        recoveries.add(session.now_s, same)
        if one.facts:
            text = "\n".join(str(message["content"]) for message in got)
            survived = sum(fact.value in text for fact in one.facts)
            clusters.append((float(survived), float(len(one.facts))))
            survivals.add(session.now_s, *clusters[-1])
        if taken % 8 == 0:
            session.progress(0.4 + 0.3 * taken / stored)
        taken += 1
    if not taken:
        nothing = NotMeasured(none_stored(session))
        return nothing, nothing
    recovered = Share(hits=whole, trials=taken, series=recoveries.series())
    if not clusters:
        return recovered, NotMeasured(f"no fact is planted in the conversations of {session.workload.conversations}")
    hits, trials = sum(one for one, _ in clusters), sum(of for _, of in clusters)
    return recovered, Share(hits=hits, trials=trials, clusters=clusters, series=survivals.series())


def none_stored(session: Session) -> str:
    """Why no conversation was stored."""
    if session.workload.conversations is None or session.stop.is_set():
        return "the run ended before a conversation was stored"
    return f"no conversation of {SMALLEST_BYTES:,} bytes and more was found in {session.workload.conversations}"


async def open_blobs(session: Session, inside: Inspection, stored: int) -> tuple[Evidence, Evidence]:
    """compression_ratio of what is stored, and decompression_time of each."""
    if not stored:
        none = NotMeasured(none_stored(session))
        return none, none
    codec = inside.codec()
    times = Histogram(10)
    watch = Stopwatch(times)
    openings, shares = Course(), Course()
    sizes: list[tuple[float, float]] = []
    sample: list[bytes] = []
    for number, (original, blob) in enumerate(islice(inside.stored_conversations(SMALLEST_BYTES), stored)):
        if session.stop.is_set():
            break
        watch.start()
        codec.decompress(blob)
        took_ms = watch.stop()
        sizes.append((float(len(blob)), float(len(original))))
        openings.add(session.now_s, took_ms)
        shares.add(session.now_s, *sizes[-1])
        if len(sample) * SMALLEST_BYTES < SIZES[-1]:
            sample.append(original)
        if number % 8 == 0:
            await asyncio.sleep(0)
    if not sizes:
        nothing = NotMeasured(f"the system holds no stored conversation of {SMALLEST_BYTES:,} bytes and more")
        return nothing, nothing
    small, large = sum(blob for blob, _ in sizes), sum(original for _, original in sizes)
    details: dict[str, object] = {"codec": codec.name, "factor": large / small if small else None}
    if session.workload.conversations is not None:
        details["conversations"] = f"{len(sizes):,} of {session.workload.conversations}"
    if "memory_savings" in session.phase.metrics and session.remaining_s() > 0.0:
        with contextlib.suppress(Stopped):
            details["codecs"] = await table_apart(session, b"\n".join(sample), session.remaining_s())
    ratio = RatioOfSums(
        parts=[blob for blob, _ in sizes],
        wholes=[original for _, original in sizes],
        complement=True,
        series=shares.series(complement=True),
        details=details,
    )
    return ratio, Samples(histogram=times, series=openings.series())
