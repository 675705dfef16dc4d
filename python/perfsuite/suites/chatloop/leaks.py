"""Leaks: the memory of the system under test, reading after reading, while one conversation goes on and on.

Any target whose process is known can be looked at; what answers behind a network address is read by its process id.  Of
a system in this process it is known besides what is held of its memory (``readings.py``), which decides.  With --trace
the lines that allocate what stays are named.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from itertools import cycle, islice

from perfsuite._core import Events
from perfsuite.analysis.leaks import decided, growth, leak
from perfsuite.collectors import process_of
from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured
from perfsuite.heap import give_back
from perfsuite.loadgen import Times
from perfsuite.suites.chatloop.readings import EVERY, HELD, Readings, resident_bytes, traced_objects
from perfsuite.suites.chatloop.turns import messages, taken
from perfsuite.suites.session import Session
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.units import figure

FEW, MANY = 100, 10_000
"""Iterations of the guide's two tests."""
WARMUP = 20
TEXTS = 500
"""Different messages."""
KEPT = 1000
"""Iterations for which the record of what was sent is kept."""
LINES = 10


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for ``leak_slope``, ``growth_100`` and ``growth_10000``."""
    names = ("leak_slope", "growth_100", "growth_10000")
    process = process_of(session.plan, session.target, session.own_processes)
    if process is None:
        why = "the system's process is not known: name it with --pid"
        return {name: NotMeasured(why) for name in names}
    here = list(session.target.process_ids) == [os.getpid()] and session.plan.pid is None
    with traced_objects() if here else nullcontext():
        readings = Readings(resident_bytes, **HELD) if here else Readings(process.resident_bytes)
        traced = Traced() if here and session.plan.trace else None
        source = conversation(session)
        iterate = _within if here else _driven
        await iterate(session, islice(source, WARMUP), session.duration_s * 0.1, None)
        gc.collect()
        give_back()  # else what leaks goes into free room at first, and is not seen
        if traced is not None:
            traced.mark()
        readings.begin()
        await iterate(session, islice(source, MANY + EVERY), session.remaining_s(), readings)
        readings.end()
        details: dict[str, object] = {
            "iterations": readings.iterations,
            "points": [[at, size] for at, size in readings.points],
        }
        if traced is not None:
            traced.look()
    if traced is not None:
        details["lines"] = traced.lines()
        for line in traced.lines()[:3]:
            session.note(f"leaks: {line}")
    slope = _slope(readings, details)
    seen = isinstance(slope, Estimate)
    return {
        "leak_slope": slope,
        "growth_100": _growth(session, readings, "growth_100", FEW, seen=seen),
        "growth_10000": _growth(session, readings, "growth_10000", MANY, seen=seen),
    }


def conversation(session: Session) -> Iterator[Request]:
    """One conversation without end, each message by itself: what grows is the system's own.

    The messages come again, with a number to tell them apart: making new ones would take memory too.
    """
    for number, text in enumerate(cycle(taken(messages(session), TEXTS))):
        said = f"{text} ({number})"
        yield Request(
            message=said,
            messages=[{"role": "user", "content": said}],
            user_id="leaks",
            conversation_id=f"leaks-{session.seed}",
        )


async def _within(session: Session, source: Iterator[Request], seconds: float, readings: Readings | None) -> None:
    """A system in this process: nothing is kept of the iterations, for that would grow beside it."""
    until = time.monotonic() + seconds
    events = Events(blocks=2)
    begun = answered = 0
    first = ""
    for number, request in enumerate(source):
        if session.stop.is_set() or session.budget.reached is not None or time.monotonic() >= until:
            break
        if number % KEPT == 0:
            events = Events(blocks=2)
        row = events.begin()
        tokens = 0
        try:
            async with asyncio.timeout(session.plan.request_timeout_s):
                reply = await session.target.send(request, row)
        except Failure as failure:
            session.count_failure(failure.kind, str(failure))
            first = first or f"{failure.kind}: {failure}"
        except TimeoutError:
            session.count_failure("timeout", f"no answer within {session.plan.request_timeout_s:g} s")
            first = first or "timeout"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a system raises is its failure, as under load
            text = f"{type(error).__name__}: {error}"
            session.count_failure("target", text)
            first = first or f"target: {text}"
        else:
            answered += 1
            tokens = (reply.prompt_tokens or 0) + (reply.completion_tokens or 0)
        session.budget.spend(1, tokens)
        row.end()
        begun += 1
        if readings is not None:
            readings.count()
            session.progress(1.0 - session.remaining_s() / session.duration_s)
        await asyncio.sleep(0)
    if readings is not None and begun and not answered:  # what does nothing keeps nothing, and must not pass for sound
        session.fail(f"iterations: none of {begun:,} was answered ({first})")


async def _driven(session: Session, source: Iterator[Request], seconds: float, readings: Readings | None) -> None:
    """A system in another process, driven like any load."""

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, times: Times) -> None:
        if readings is not None:
            readings.count()

    if seconds > 0.0 and session.budget.reached is None:
        await session.drive(
            "iterations" if readings is not None else "warm-up",
            source,
            duration_s=seconds,
            concurrency=session.load.concurrency or 1,
            on_reply=on_reply,
        )


class Traced:
    """What was allocated since a mark and is still there, by line, while objects are traced."""

    def __init__(self) -> None:
        self._before: tracemalloc.Snapshot | None = None
        self._found: list[str] = []

    def mark(self) -> None:
        """From here on."""
        gc.collect()
        self._before = tracemalloc.take_snapshot()

    def look(self) -> None:
        """Up to here."""
        assert self._before is not None
        gc.collect()
        own = (tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__))
        now = tracemalloc.take_snapshot().filter_traces(own)
        found = now.compare_to(self._before.filter_traces(own), "lineno")
        self._found = [
            f"{one.traceback[0].filename}:{one.traceback[0].lineno} holds {one.size_diff:,} bytes more in "
            f"{one.count_diff:,} objects"
            for one in found[:LINES]
            if one.size_diff > 0
        ]

    def lines(self) -> list[str]:
        """The lines that hold most of it, the largest first."""
        return self._found


def _slope(readings: Readings, details: Mapping[str, object]) -> Evidence:
    resident = leak(readings.points)
    if resident is None:
        return NotMeasured(f"{readings.iterations} iterations are too few to see a slope: --duration", details)
    held = {name: leak(points) for name, points in readings.beside.items()}
    found = decided(resident, [one for one in held.values() if one is not None])
    slopes = {name: [one.bytes_each, one.low, one.high] for name, one in held.items() if one is not None}
    if slopes:
        details = {**details, "slopes": {"resident": [resident.bytes_each, resident.low, resident.high], **slopes}}
    cure = "take more iterations: --duration"
    if slopes and found.high > max(high for _, _, high in slopes.values()):
        cure = (
            "resident memory grew by more than what is held of it, which may be room that the heap keeps: take more "
            "iterations (--duration), or begin in a process of its own"
        )
    return Estimate(
        value=found.bytes_each,
        low=found.low,
        high=found.high,
        samples=found.readings,
        details={**details, "to_decide": cure},
    )


def _growth(session: Session, readings: Readings, name: str, iterations: int, *, seen: bool) -> Evidence:
    """Growth above its limit fails; growth within it says nothing by itself where no slope was ``seen``: a leak of a
    few kilobytes is within it too."""
    found = growth(readings.points, iterations)
    if found is None:
        return NotMeasured(f"there was time for {readings.iterations:,} of {iterations:,} iterations: --duration")
    within = all(found <= one.target for one in session.phase.criteria if one.metric == name)
    if within and not seen:
        return NotMeasured(f"it is {figure(found, 'bytes')}, and too few iterations to see a leak by: --duration")
    return Exact(value=found, details={"iterations": iterations})
