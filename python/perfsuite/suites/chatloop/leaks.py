"""Leaks: the memory of the system under test, reading after reading, while one conversation goes on and on.

Any target whose process is known can be looked at; what answers behind a network address is read by its process id.
With --trace the lines that allocate what stays are named, where the system is in this process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from typing import TYPE_CHECKING

from perfsuite._core import Events
from perfsuite.analysis.leaks import growth, leak
from perfsuite.chatloop.resources import memory_bytes
from perfsuite.collectors import process_of
from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured
from perfsuite.heap import give_back
from perfsuite.loadgen import Times
from perfsuite.suites.chatloop.turns import messages, taken
from perfsuite.suites.session import Session
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.units import figure

if TYPE_CHECKING:
    from collections.abc import Callable

FEW, MANY = 100, 10_000
"""Iterations of the guide's two tests."""
WARMUP = 20
TEXTS = 500
"""Different messages."""
KEPT = 1000
"""Iterations for which the record of what was sent is kept."""
EVERY = 10
"""Iterations between two readings, at first."""
MOST_POINTS = 1000
"""Readings that are kept; when there are more, every second goes, and half as many are taken."""
LINES = 10


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for ``leak_slope``, ``growth_100`` and ``growth_10000``."""
    names = ("leak_slope", "growth_100", "growth_10000")
    process = process_of(session.plan, session.target, session.own_processes)
    if process is None:
        why = "the system's process is not known: name it with --pid"
        return {name: NotMeasured(why) for name in names}
    here = list(session.target.process_ids) == [os.getpid()] and session.plan.pid is None
    readings = Readings(memory_bytes if here else process.resident_bytes)
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
            session.budget.spend(1, (reply.prompt_tokens or 0) + (reply.completion_tokens or 0))
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


class Readings:
    """Memory by the number of iterations, at bounded cost."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._every = EVERY
        self.iterations = 0
        self.points: list[tuple[float, float]] = []

    def begin(self) -> None:
        """Before the first iteration."""
        self.points = [(0.0, float(self._read()))]

    def count(self) -> None:
        """After each iteration."""
        self.iterations += 1
        if self.iterations % self._every == 0:
            self.points.append((float(self.iterations), float(self._read())))
            if len(self.points) > MOST_POINTS:
                self.points = self.points[::2]
                self._every *= 2

    def end(self) -> None:
        """After the last one."""
        if self.points and self.points[-1][0] < self.iterations:
            self.points.append((float(self.iterations), float(self._read())))


class Traced:
    """What was allocated since a mark and is still there, by line."""

    def __init__(self) -> None:
        tracemalloc.start()
        self._before: tracemalloc.Snapshot | None = None
        self._found: list[str] | None = None

    def mark(self) -> None:
        """From here on."""
        gc.collect()
        self._before = tracemalloc.take_snapshot()

    def lines(self) -> list[str]:
        """The lines that hold most of it, the largest first; asked for once, tracing ends."""
        if self._found is None:
            assert self._before is not None
            gc.collect()
            own = (tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__))
            now = tracemalloc.take_snapshot().filter_traces(own)
            tracemalloc.stop()
            found = now.compare_to(self._before.filter_traces(own), "lineno")
            self._found = [
                f"{one.traceback[0].filename}:{one.traceback[0].lineno} holds {one.size_diff:,} bytes more in "
                f"{one.count_diff:,} objects"
                for one in found[:LINES]
                if one.size_diff > 0
            ]
        return self._found


def _slope(readings: Readings, details: Mapping[str, object]) -> Evidence:
    found = leak(readings.points)
    if found is None:
        return NotMeasured(f"{readings.iterations} iterations are too few to see a slope: --duration", details)
    return Estimate(
        value=found.bytes_each,
        low=found.low,
        high=found.high,
        samples=found.readings,
        details={**details, "to_decide": "take more iterations: --duration"},
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
