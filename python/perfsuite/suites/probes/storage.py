"""Compressed storage of conversations: what it saves, how fast it opens, and whether everything comes back.

Conversations of 10 KB and more, of real English prose with facts planted in them, are stored by the system under test
and taken out again.  They are drawn anew from the seed to be compared, not kept: the suite's own memory stays flat.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from itertools import islice

from perfsuite._core import Histogram, Stopwatch
from perfsuite.evidence import Evidence, NotMeasured, RatioOfSums, Samples, Share
from perfsuite.suites.apart import Stopped
from perfsuite.suites.codec_table import SIZES, table_apart
from perfsuite.suites.session import Session
from perfsuite.targets.base import Inspection
from perfsuite.workloads.conversations import Conversation, conversations

SMALLEST_BYTES = 10_000
FEWEST = 300
"""Conversations stored at least: no loss among 299 is what shows 99 % with 95 % confidence."""
FEW = 60
"""Enough where only the ratio is asked for."""
MOST = 800
"""At most: what a system keeps of old conversations may be bounded."""


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


def drawn(session: Session, start: int = 0) -> Conversation:
    """Number ``start`` of the probe's conversations."""
    return next(conversations(session.seed, minimum_bytes=SMALLEST_BYTES, start=start))


async def fill(session: Session, inside: Inspection, user: str) -> int:
    """Stores conversations until 40 % of the time is over, FEWEST at least (or FEW) and MOST at most; how many."""
    fewest = FEWEST if "recovery_accuracy" in session.phase.metrics else FEW
    for number, conversation in enumerate(conversations(session.seed, minimum_bytes=SMALLEST_BYTES)):
        over = session.remaining_s() < 0.6 * session.duration_s
        if number >= MOST or (number >= fewest and over) or session.stop.is_set():
            return number
        inside.store_conversation(conversation.messages(), user_id=user, conversation_id=f"{user}-{number}")
        if number % 8 == 0:
            await asyncio.sleep(0)
            session.progress(0.4 * number / fewest)
    raise AssertionError("conversations have no end")


async def take_out(session: Session, inside: Inspection, user: str, stored: int) -> tuple[Evidence, Evidence]:
    """What comes back of each conversation, message for message, and the planted facts in it."""
    if not stored:
        nothing = NotMeasured("the run ended before a conversation was stored")
        return nothing, nothing
    whole = 0
    clusters: list[tuple[float, float]] = []
    taken = 0
    for number in range(stored):
        if session.stop.is_set():
            break
        taken += 1
        conversation = drawn(session, number)
        got = inside.transcript(f"{user}-{number}")
        told = [(message["role"], message["content"]) for message in conversation.messages()]
        whole += [(message["role"], message["content"]) for message in got] == told
        if conversation.facts:
            text = "\n".join(str(message["content"]) for message in got)
            survived = sum(fact.value in text for fact in conversation.facts)
            clusters.append((float(survived), float(len(conversation.facts))))
        if number % 8 == 0:
            await asyncio.sleep(0)
            session.progress(0.4 + 0.3 * number / stored)
    facts: Evidence = NotMeasured("no fact was planted")
    if clusters:
        facts = Share(hits=sum(one for one, _ in clusters), trials=sum(of for _, of in clusters), clusters=clusters)
    recovered = Share(hits=whole, trials=taken) if taken else NotMeasured("the run ended first")
    return recovered, facts


async def open_blobs(session: Session, inside: Inspection, stored: int) -> tuple[Evidence, Evidence]:
    """compression_ratio of what is stored, and decompression_time of each."""
    codec = inside.codec()
    times = Histogram(10)
    watch = Stopwatch(times)
    sizes: list[tuple[float, float]] = []
    sample: list[bytes] = []
    for number, (original, blob) in enumerate(islice(inside.stored_conversations(SMALLEST_BYTES), stored)):
        if session.stop.is_set():
            break
        watch.start()
        codec.decompress(blob)
        watch.stop()
        sizes.append((float(len(blob)), float(len(original))))
        if len(sample) * SMALLEST_BYTES < SIZES[-1]:
            sample.append(original)
        if number % 8 == 0:
            await asyncio.sleep(0)
    if not sizes:
        nothing = NotMeasured(f"the system holds no stored conversation of {SMALLEST_BYTES:,} bytes and more")
        return nothing, nothing
    small, large = sum(blob for blob, _ in sizes), sum(original for _, original in sizes)
    details: dict[str, object] = {"codec": codec.name, "factor": large / small if small else None}
    if "memory_savings" in session.phase.metrics and session.remaining_s() > 0.0:
        with contextlib.suppress(Stopped):
            details["codecs"] = await table_apart(session, b"\n".join(sample), session.remaining_s())
    ratio = RatioOfSums(
        parts=[blob for blob, _ in sizes], wholes=[original for _, original in sizes], complement=True, details=details
    )
    return ratio, Samples(histogram=times)
