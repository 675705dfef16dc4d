"""What compression saves of resident memory: the same conversations stored with and without it, each in a process of
its own, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from typing import TYPE_CHECKING

import msgspec

from perfsuite.evidence import Evidence, NotMeasured, RatioOfSums
from perfsuite.suites.apart import Stopped, run_apart
from perfsuite.workloads.transcripts import Transcript, transcripts

if TYPE_CHECKING:
    from perfsuite.suites.session import Session
    from perfsuite.targets.base import Inspection

CONVERSATIONS = 200
SMALLEST_BYTES = 20_000
SMALLEST_OF_A_FILE = 10_000
MOST_BYTES = 16 << 20
"""Of the conversations of a store, together: one more than these hold is the last."""
FEWEST_PAIRS = 3
END = object()


class Figures(msgspec.Struct):
    """What the footprint command prints."""

    before: int
    after: int
    held: int = 0


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Pairs of processes, FEWEST_PAIRS at least, until the probe's time is over."""
    inside = session.target.inspection
    assert inside is not None, "the registry lets only targets with an inside come here"
    source = Source()
    with_bytes: list[float] = []
    without_bytes: list[float] = []
    series: list[tuple[float, float]] = []
    original = 0
    while len(with_bytes) < FEWEST_PAIRS or session.remaining_s() > 0.0:
        if session.stop.is_set():
            break
        texts = await source.lines(session, len(with_bytes))
        if not texts:
            break
        original += len(texts)
        order = (True, False) if len(with_bytes) % 2 else (False, True)
        try:
            grown = {compressed: await growth(session, inside, texts, compressed=compressed) for compressed in order}
        except Stopped:
            break
        with_bytes.append(grown[True])
        without_bytes.append(grown[False])
        if grown[False] > 0.0:
            series.append((session.now_s, 1.0 - grown[True] / grown[False]))
        session.progress(1.0 - session.remaining_s() / max(session.duration_s, 1e-9))
    path = session.workload.conversations
    if not with_bytes and path is not None and not session.stop.is_set():
        reason = f"no conversation of {SMALLEST_OF_A_FILE:,} bytes and more was found in {path}"
        return {"memory_savings": NotMeasured(reason)}
    if not with_bytes or sum(without_bytes) <= 0.0:
        return {"memory_savings": NotMeasured("the run ended before a pair of stores was measured")}
    details: dict[str, object] = {
        "codec": inside.codec().name,
        "pairs": len(with_bytes),
        "original_bytes": original,
        "resident_bytes": {"with": sum(with_bytes), "without": sum(without_bytes)},
    }
    if path is not None:
        details["conversations"] = str(path)
    saved = RatioOfSums(parts=with_bytes, wholes=without_bytes, complement=True, series=series, details=details)
    return {"memory_savings": saved}


class Source:
    """What is stored in each pair: other conversations each time; a file's come in their order, and one that has fewer
    than a pair takes is read once, and they are stored several times over."""

    def __init__(self) -> None:
        self._left: Iterator[Transcript | None] = iter(())
        self._same = b""

    async def lines(self, session: Session, pair: int) -> bytes:
        """Conversations as lines of JSON; none when the file has none, or the run is to stop."""
        if self._same:
            return self._same
        smallest = SMALLEST_OF_A_FILE
        if session.workload.conversations is None:
            smallest = SMALLEST_BYTES
            self._left = transcripts(session.workload, session.seed + pair, smallest)
        found: list[bytes] = []
        whole = False  # whether found is of the file from its beginning
        while len(found) < CONVERSATIONS and sum(map(len, found)) < MOST_BYTES:
            one = next(self._left, END)
            if isinstance(one, Transcript):
                found.append(msgspec.json.encode(one.messages) + b"\n")
            elif one is END and whole:
                self._same = b"".join(several_times(found))
                return self._same
            elif one is END:
                self._left, whole = transcripts(session.workload, session.seed, smallest), True
                found.clear()
            await asyncio.sleep(0)
            if session.stop.is_set():
                return b""
        return b"".join(found)


def several_times(found: list[bytes]) -> Iterator[bytes]:
    """These again and again, up to what a pair takes."""
    size = 0
    for line in islice(cycle(found), CONVERSATIONS):
        if size >= MOST_BYTES:
            return
        size += len(line)
        yield line


async def growth(session: Session, inside: Inspection, texts: bytes, *, compressed: bool) -> float:
    """Resident bytes that storing the conversations took, in a new process; what went into room that was there already
    took what the store holds of it."""
    command = inside.footprint_command(compressed=compressed)
    figures = msgspec.convert(await run_apart(session, command, texts, "measuring stored conversations"), Figures)
    return float(max(figures.after - figures.before, figures.held))
