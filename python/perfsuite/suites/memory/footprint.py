"""Bytes in memory and on disk as the store grows: each scale in a process of its own, and the line through them.

A process is read when it has been started and used a little, so that what is loaded late is not taken for memories,
and again when the scale's memories are stored, flushed and asked for a while.  Void, which fails it, where no question
of any scale found anything: keeping nothing takes no room.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from perfsuite import stats
from perfsuite.evidence import Estimate, Evidence, NotMeasured
from perfsuite.memory.host import Item, SystemFailed
from perfsuite.suites.memory.running import K, batches, item_of, running, tell, within
from perfsuite.units import figure
from perfsuite.workloads.memories import SIZE, SeededCase

if TYPE_CHECKING:
    from perfsuite.memory.host import Hosted
    from perfsuite.suites.session import Session

MAX_SCALE = {"quick": 2000, "standard": 10_000, "full": 50_000}
NOTICEABLE = 0.1
"""Of the memory that is free: what a scale has to take, under way, before it is asked where that leads."""
FEWEST = 5
"""Scales without which the line through them has no interval."""
HALVINGS = 5
"""The scales are the largest and so many halves of it: six points, the fewest that give a line a useful interval."""
WARMUP = 40
ASKED = 100
TOGETHER = 500
"""Memories that are handed over at once where the system takes several."""
SHORTEST_S = 60.0
"""Whatever the profile: scales are measured for so long before the larger ones are left out."""
SPARE = 0.8
"""Of the memory that is free: what a scale may be expected to take."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One scale: what its process held more than before, after so many memories; ``answered``: of ``ASKED`` questions,
    those that found anything."""

    memories: int
    memory_bytes: int
    resident_bytes: int
    disk_bytes: int
    peak_bytes: int
    seconds: float
    answered: int


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for ``memory_per_1000`` and ``disk_per_1000``."""
    asked = session.memory.max_scale
    largest = asked or MAX_SCALE[session.plan.profile]
    study = _Study(session, largest, None if asked else max(session.duration_s, SHORTEST_S))
    for scale in scales(largest):
        await study.take(scale)
    for scale in between(study.readings):
        await study.take(scale, whatever_it_takes=True)
    readings, left_out, kind = study.readings, study.left_out, study.kind
    details: dict[str, object] = {"kind": kind, "left_out": left_out} if left_out else {"kind": kind}
    return {
        "memory_per_1000": _slope(
            session,
            "memory_per_1000",
            readings,
            "memory_bytes",
            {**details, "scales": [asdict(one) for one in readings]},
        ),
        "disk_per_1000": _slope(session, "disk_per_1000", readings, "disk_bytes", details),
    }


class _Study:
    def __init__(self, session: Session, largest: int, budget: float | None) -> None:
        self.session = session
        self.largest = largest
        self.budget = budget
        self.begun = time.monotonic()
        self.readings: list[Reading] = []
        self.left_out: list[str] = []
        self.kind = "PSS"
        self.failed = False
        self.ceiling: int | None = None

    async def take(self, scale: int, *, whatever_it_takes: bool = False) -> None:
        """Measures a scale, or says why it is left out; after one that failed there is no other."""
        session = self.session
        if session.stop.is_set() or self.failed:
            return
        budget = None if whatever_it_takes else self.budget
        reason = _too_large(scale, self.readings) or _too_long(scale, self.readings, self.begun, budget)
        if self.ceiling is not None and scale > self.ceiling:
            reason = f"{self.ceiling:,} do not fit either"
        if reason is not None:
            self.leave_out(scale, reason)
            return
        try:
            async with running(session) as system:
                reading, self.kind = await _read(session, system, scale)
            self.readings.append(reading)
        except _TooLarge as error:
            self.ceiling = scale
            self.leave_out(scale, str(error))
        except SystemFailed as error:
            self.failed = True
            self.left_out.append(f"{scale:,} memories: {error}")
            tell(session, error)
        session.progress(sum(one.memories for one in self.readings) / (2 * self.largest))

    def leave_out(self, scale: int, reason: str) -> None:
        """Notes why a scale is not measured."""
        self.left_out.append(f"{scale:,} memories: {reason}")
        self.session.note(f"footprint: {self.left_out[-1]}")


class _TooLarge(Exception):
    """A scale turns out, under way, not to fit into the machine's memory."""


def between(readings: Sequence[Reading]) -> list[int]:
    """Where so many scales were left out that a line through the others has no interval: what lies between those."""
    if not 2 <= len(readings) < FEWEST:
        return []
    pairs = pairwise(sorted(reading.memories for reading in readings))
    middle = [(low + high) // 2 for low, high in pairs if high - low > 1]
    return list(reversed(middle))[: FEWEST - len(readings)]


def scales(largest: int) -> list[int]:
    """The largest, half of it, and so on, the smallest first."""
    return sorted({max(1, largest >> halving) for halving in range(HALVINGS + 1)})


async def _read(session: Session, system: Hosted, scale: int) -> tuple[Reading, str]:
    begun = time.monotonic()
    await _store(session, system, _warmup_items(session.seed), WARMUP)
    await system.recall([one.text for one in _warmup_items(session.seed)], K)
    await system.flush()
    before = system.rusage()
    case = SeededCase(session.seed, max(SIZE, scale), ASKED)

    def look(stored: int) -> None:
        reason = _leads_too_far(stored, scale, system.rusage().memory_bytes - before.memory_bytes)
        if reason is not None:
            raise _TooLarge(reason)

    await _store(session, system, map(item_of, islice(case.memories(), scale)), scale, look)
    await system.flush()
    found = (await system.recall([question.text for question in case.questions()], K)).results
    after = system.rusage()
    reading = Reading(
        memories=scale,
        memory_bytes=after.memory_bytes - before.memory_bytes,
        resident_bytes=after.resident_bytes - before.resident_bytes,
        disk_bytes=after.disk_bytes - before.disk_bytes,
        peak_bytes=after.peak_bytes,
        seconds=time.monotonic() - begun,
        answered=sum(map(bool, found)),
    )
    return reading, after.memory_kind


async def _store(
    session: Session,
    system: Hosted,
    items: Iterator[Item],
    scale: int,
    look: Callable[[int], None] = lambda stored: None,
) -> None:
    """Every memory, or SystemFailed: a scale that is not reached is none.  ``look`` is told how many, part by part."""
    stored = 0
    for batch in batches(items, TOGETHER):
        outcome = await (system.store_many(batch) if "store_many" in system.offers else system.store(batch))
        if outcome.errors:
            _, text = outcome.errors[0]
            session.count_failure("target", text)
            raise SystemFailed("refused", f"{system.name} did not store all of {scale:,} memories: {text}")
        if session.stop.is_set():
            raise SystemFailed("refused", f"the run was stopped while {system.name} stored {scale:,} memories")
        stored += len(batch)
        look(stored)


def _warmup_items(seed: int) -> Iterator[Item]:
    """Memories of another seed."""
    return (item_of(memory) for memory in islice(SeededCase(seed + 1, WARMUP).memories(), WARMUP))


def _too_large(scale: int, readings: list[Reading]) -> str | None:
    """Why a scale would not fit into the machine's memory, by what the last one took."""
    import psutil

    if not readings:
        return None
    last = max(readings, key=lambda reading: reading.memories)
    return _unless_it_fits(last.memory_bytes / last.memories * scale, psutil.virtual_memory().available)


def _leads_too_far(stored: int, scale: int, held: int) -> str | None:
    """The same of a scale that is under way, by what it holds by now: the first one has none before it to go by."""
    import psutil

    free = psutil.virtual_memory().available + held
    return None if held < NOTICEABLE * free else _unless_it_fits(held / stored * scale, free)


def _unless_it_fits(expected: float, free: float) -> str | None:
    if expected <= SPARE * free:
        return None
    return (
        f"would take about {figure(expected, 'bytes', 2)}, and {figure(float(free), 'bytes', 2)} are free: "
        "lower --max-scale, or take a larger machine"
    )


def _too_long(scale: int, readings: list[Reading], begun: float, budget: float | None) -> str | None:
    if budget is None or not readings:
        return None
    last = max(readings, key=lambda reading: reading.memories)
    expected = last.seconds / last.memories * scale
    if time.monotonic() - begun + expected <= budget:
        return None
    return f"would take about {figure(expected, 's', 2)}: name --max-scale, and it is measured however long it takes"


def _slope(
    session: Session, metric: str, readings: list[Reading], what: str, details: Mapping[str, object]
) -> Evidence:
    if len(readings) < 2:
        left_out = details.get("left_out")
        why = f": {left_out[0]}" if isinstance(left_out, list) else ""
        return NotMeasured(f"{len(readings)} scales were measured, and a line needs two or more{why}", details)
    if not any(one.answered for one in readings):
        why = f"void: none of {ASKED * len(readings)} questions found anything: keeping nothing takes no room"
        return NotMeasured(why, details, void=True)
    line = stats.trend([float(getattr(one, what)) for one in readings], [float(one.memories) for one in readings])
    return Estimate(
        value=line.slope * 1000,
        low=line.low * 1000,
        high=line.high * 1000,
        samples=len(readings),
        details={
            **details,
            **within(session, metric, line.slope * 1000),
            "intercept_bytes": line.intercept,
            "to_decide": f"let it grow more: --max-scale {4 * max(one.memories for one in readings)}",
        },
    )
