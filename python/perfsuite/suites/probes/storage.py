"""Compressed storage of conversations: what it saves, how fast it opens, and whether everything comes back.

Conversations of 10 KB and more, of real English prose with facts planted in them, are stored by the system under test
and taken out again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence

from perfsuite._core import Histogram, Stopwatch
from perfsuite.compression import available_codecs, measure_compression
from perfsuite.evidence import Evidence, NotMeasured, RatioOfSums, Samples, Share
from perfsuite.suites.session import Session
from perfsuite.targets.base import Codec, Inspection
from perfsuite.workloads.conversations import Conversation, conversations

SMALLEST_BYTES = 10_000
FEWEST = 400
"""Conversations stored at least: no loss among 299 is what shows 99 % with 95 % confidence."""
MOST = 2_000
"""Conversations looked at, at most: a run of hours holds its own memory flat."""
WORD = re.compile(rb"\w+")
TABLE_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Stores conversations for most of the probe's time, then opens them all."""
    inside = session.target.inspection
    assert inside is not None, "the registry lets only targets with an inside come here"
    user = f"storage-{session.phase.name}-{session.seed}"
    planted = await fill(session, inside, user)
    originals: list[bytes] = []
    stored: list[bytes] = []
    for original, blob in newest(inside.stored_conversations(SMALLEST_BYTES), MOST):
        originals.append(original)
        stored.append(blob)
    if not originals:
        reason = f"the system holds no stored conversation of {SMALLEST_BYTES:,} bytes and more"
        return {name: NotMeasured(reason) for name in ("compression_ratio", "decompression_time", "recovery_accuracy")}
    codec = inside.codec()
    opened, times = await open_all(codec, stored)
    table = compression_table(session, originals) if session.phase.name == "compression" else {}
    return {
        "compression_ratio": RatioOfSums(
            parts=[float(len(blob)) for blob in stored],
            wholes=[float(len(original)) for original in originals],
            complement=True,
            details={"codec": codec.name, "factor": sum(map(len, originals)) / sum(map(len, stored)), "codecs": table},
        ),
        "decompression_time": Samples(histogram=times),
        "recovery_accuracy": Share(
            hits=sum(a == b for a, b in zip(originals, opened, strict=True)), trials=len(originals)
        ),
        "context_preservation": survival(planted, opened),
    }


async def fill(session: Session, inside: Inspection, user: str) -> list[Conversation]:
    """Stores conversations until 60 % of the time is over, FEWEST at least and MOST at most."""
    kept = []
    for number, conversation in enumerate(conversations(session.seed, minimum_bytes=SMALLEST_BYTES)):
        if number >= MOST or (number >= FEWEST and session.remaining_s() < 0.4 * session.duration_s):
            break
        inside.store_conversation(conversation.messages(), user_id=user, conversation_id=f"{user}-{number}")
        kept.append(conversation)
        await asyncio.sleep(0)
    return kept


async def open_all(codec: Codec, stored: Sequence[bytes]) -> tuple[list[bytes], Histogram]:
    """Everything decompressed, and the time of each in ms; a blob that does not open comes back empty."""
    times = Histogram(10)
    watch = Stopwatch(times)
    opened = []
    for number, blob in enumerate(stored):
        watch.start()
        try:
            data = codec.decompress(blob)
        except (ValueError, OSError, EOFError, RuntimeError):
            data = b""  # counted as not recovered
        watch.stop()
        opened.append(data)
        if number % 16 == 0:
            await asyncio.sleep(0)
    return opened, times


def survival(planted: Sequence[Conversation], opened: Sequence[bytes]) -> Evidence:
    """Planted facts whose value, one word, is in what came back, by conversation."""
    everything: set[bytes] = set()
    for blob in opened:
        everything.update(WORD.findall(blob))
    clusters = [
        (float(sum(fact.value.encode() in everything for fact in conversation.facts)), float(len(conversation.facts)))
        for conversation in planted
        if conversation.facts
    ]
    if not clusters:
        return NotMeasured("no fact was planted")
    return Share(hits=sum(hits for hits, _ in clusters), trials=sum(of for _, of in clusters), clusters=clusters)


def compression_table(session: Session, originals: Sequence[bytes]) -> dict[str, object]:
    """Ratio and times by codec and payload size, as far as the time goes."""
    text = b"\n".join(originals)
    table: dict[str, object] = {}
    for name in available_codecs():
        rows = {}
        for size in TABLE_SIZES:
            if len(text) < size or session.remaining_s() == 0.0:
                continue
            step = max(1, (len(text) - size) // 8)
            payloads = [text[start : start + size] for start in range(0, len(text) - size + 1, step)][:8]
            report = measure_compression(name, payloads[:1] if size >= 1_000_000 else payloads, repeat=1, warmup=0)
            rows[str(size)] = {
                "ratio": report.ratio,
                "factor": report.factor,
                "compress_ms": report.compress_ms.median,
                "decompress_ms": report.decompress_ms.median,
            }
        table[name] = rows
    return table


def newest(pairs: Iterator[tuple[bytes, bytes]], most: int) -> Iterator[tuple[bytes, bytes]]:
    """At most that many pairs."""
    for number, pair in enumerate(pairs):
        if number >= most:
            return
        yield pair
