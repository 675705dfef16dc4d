"""What compression saves of resident memory: the same conversations stored with and without it, each in a process of
its own, in turn."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from perfsuite.evidence import Evidence, NotMeasured, RatioOfSums
from perfsuite.suites.apart import Stopped, run_apart
from perfsuite.workloads.conversations import conversations

if TYPE_CHECKING:
    from perfsuite.suites.session import Session
    from perfsuite.targets.base import Inspection

CONVERSATIONS = 200
SMALLEST_BYTES = 20_000
FEWEST_PAIRS = 3


class Figures(msgspec.Struct):
    """What the footprint command prints."""

    before: int
    after: int


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Pairs of processes, FEWEST_PAIRS at least, until the probe's time is over."""
    inside = session.target.inspection
    assert inside is not None, "the registry lets only targets with an inside come here"
    with_bytes: list[float] = []
    without_bytes: list[float] = []
    original = 0
    while len(with_bytes) < FEWEST_PAIRS or session.remaining_s() > 0.0:
        if session.stop.is_set():
            break
        texts = lines(session.seed + len(with_bytes))
        original += len(texts)
        order = (True, False) if len(with_bytes) % 2 else (False, True)
        try:
            grown = {compressed: await growth(session, inside, texts, compressed=compressed) for compressed in order}
        except Stopped:
            break
        with_bytes.append(grown[True])
        without_bytes.append(grown[False])
        session.progress(1.0 - session.remaining_s() / max(session.duration_s, 1e-9))
    if not with_bytes or sum(without_bytes) <= 0.0:
        return {"memory_savings": NotMeasured("the run ended before a pair of stores was measured")}
    details = {
        "codec": inside.codec().name,
        "pairs": len(with_bytes),
        "original_bytes": original,
        "resident_bytes": {"with": sum(with_bytes), "without": sum(without_bytes)},
    }
    return {
        "memory_savings": RatioOfSums(parts=with_bytes, wholes=without_bytes, complement=True, details=details),
    }


def lines(seed: int) -> bytes:
    """Conversations as lines of JSON."""
    chosen = islice(conversations(seed, minimum_bytes=SMALLEST_BYTES), CONVERSATIONS)
    return b"".join(msgspec.json.encode(one.messages()) + b"\n" for one in chosen)


async def growth(session: Session, inside: Inspection, texts: bytes, *, compressed: bool) -> float:
    """Resident bytes that storing the conversations took, in a new process."""
    command = inside.footprint_command(compressed=compressed)
    figures = msgspec.convert(await run_apart(session, command, texts, "measuring stored conversations"), Figures)
    return float(figures.after - figures.before)
