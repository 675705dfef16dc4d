"""When what was acknowledged is found, and whether it outlives the process.

Three things that are easily taken for one: a store is *acknowledged* when the call returns, *visible* when a question
finds it, and *durable* when it is found after the process was killed (SIGKILL) and started again in its folder.  The
machine itself is not switched off: what only its page cache holds counts as durable here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from perfsuite import stats
from perfsuite.analysis.retrieval import Recogniser
from perfsuite.memory.host import SystemFailed
from perfsuite.suites.memory.comparison_result import Durability, Figure, Visibility
from perfsuite.suites.memory.quality import System
from perfsuite.suites.memory.running import item_of
from perfsuite.workloads.memories import SIZE, Memory, Question, SeededCase

CROWD = 3
"""Conversations that are stored before the probes."""
PROBES = 12
KEPT = 24
"""Facts that are stored before a kill."""
WAIT_S = 3.0
"""From the acknowledgement on: what is not found by then counts as not found."""
PATIENCE = 3
"""After so many that were waited for in vain, the others get one look each."""
PAUSE_S = 0.02
"""Between two looks."""


class Starts(Protocol):
    """Starts a system on a folder, which keeps what was durable in it."""

    def __call__(self, workdir: Path) -> AbstractAsyncContextManager[System]: ...


class Probe(NamedTuple):
    """A fact, the question that finds it, and what replaces it (None where nothing does)."""

    fact: Memory
    question: Question
    update: Memory | None


class Probes:
    """Facts of conversations that nothing else is stored of, and a crowd to find them among."""

    def __init__(self, seed: int, count: int) -> None:
        case = SeededCase(seed, SIZE * (CROWD + count), 10 * (CROWD + count))
        memories = {memory.key: memory for memory in case.memories()}
        others = {f"c{number}" for number in range(CROWD)}
        self.crowd = [memory for memory in memories.values() if memory.cluster in others]
        self.plain: list[Probe] = []
        self.updated: list[Probe] = []
        seen: set[tuple[str, str]] = set()
        for question in case.questions():
            first_of_its_kind = (question.cluster, question.kind) not in seen
            seen.add((question.cluster, question.kind))
            if question.cluster in others or not first_of_its_kind:
                continue
            if question.kind == "verbatim":
                self.plain.append(Probe(memories[question.relevant[0]], question, None))
            elif question.kind == "updated":
                new, old = memories[question.relevant[0]], memories[question.stale[0]]
                self.updated.append(Probe(old, question, new))
        self.recogniser = Recogniser(memories.values())

    def finds(self, hits: object, memory: Memory) -> bool:
        """Whether any hit carries a memory."""
        return isinstance(hits, list) and any(memory.key in self.recogniser.in_hit(hit) for hit in hits)


async def visibility(
    starts: Starts, folder: Path, *, seed: int, k: int, probes: int = PROBES, wait_s: float = WAIT_S
) -> tuple[Visibility, Visibility]:
    """How soon a new fact is found, and how soon the update of a fact: by asking at once, and again until it is."""
    drawn = Probes(seed, probes)
    async with starts(folder) as system:
        await system.store([item_of(memory) for memory in drawn.crowd])
        await system.flush()
        new = await _looked_for(system, drawn, [(probe, probe.fact) for probe in drawn.plain], k, wait_s)
        await system.store([item_of(probe.fact) for probe in drawn.updated])
        await system.flush()
        updates = [(probe, probe.update) for probe in drawn.updated if probe.update is not None]
        return new, await _looked_for(system, drawn, updates, k, wait_s)


async def _looked_for(
    system: System, drawn: Probes, wanted: Iterable[tuple[Probe, Memory]], k: int, wait_s: float
) -> Visibility:
    delays: list[float | None] = []
    at_once = in_vain = 0
    for probe, memory in wanted:
        stored = await system.store([item_of(memory)])
        acknowledged = time.monotonic()
        delay: float | None = None
        if not stored.errors:
            looks = 0
            while delay is None and (not looks or (in_vain < PATIENCE and time.monotonic() - acknowledged < wait_s)):
                if looks:
                    await asyncio.sleep(PAUSE_S)
                looks += 1
                seen = await system.recall([probe.question.text], k)
                if drawn.finds(seen.results[0], memory):
                    delay = (time.monotonic() - acknowledged) * 1e3
            at_once += delay is not None and looks == 1
            in_vain += delay is None
        delays.append(delay)
    found = sorted(delay for delay in delays if delay is not None)
    return Visibility(
        at_once=share(at_once, len(delays)),
        found=share(len(found), len(delays)),
        delay_ms=found[(len(found) - 1) // 2] if found else None,
        longest_ms=found[-1] if found else None,
        waited_s=wait_s,
    )


async def durability(starts: Starts, folder: Path, *, seed: int, k: int, kept: int = KEPT) -> Durability:
    """Stores facts, each a call of its own, kills the process, starts it again in its folder, and asks for them.

    Twice: killed right after the last acknowledgement, and after ``flush``.  Raises SystemFailed where it fails before
    the kill; a system that cannot be started again has lost everything, and the figures say so.
    """
    drawn = Probes(seed, kept)
    probes = drawn.plain
    acknowledged, durable = 0, Figure()
    for name in ("killed", "flushed"):
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        visible = 0
        async with starts(place) as system:
            # One call after the other in the child; the kill comes as soon as the last of them is acknowledged.
            stored = await system.store([item_of(probe.fact) for probe in probes])
            if name == "flushed":
                await system.flush()
                visible = await _found(system, drawn, probes, k)
            await system.kill()
        acknowledged = len(probes) - len(stored.failed)
        try:
            async with starts(place) as system:
                left = share(await _found(system, drawn, probes, k), acknowledged)
        except SystemFailed as error:
            left = share(0, acknowledged)
            left.reason = f"it could not be used again: {error}"
        if name == "killed":
            durable = left
    if not visible:
        nothing = "not measured: its questions do not find these facts before a kill either"
        return Durability(
            acknowledged=acknowledged,
            visible=share(0, acknowledged),
            durable=Figure(reason=nothing),
            flushed=Figure(reason=nothing),
        )
    return Durability(acknowledged=acknowledged, visible=share(visible, acknowledged), durable=durable, flushed=left)


async def _found(system: System, drawn: Probes, probes: Sequence[Probe], k: int) -> int:
    outcome = await system.recall([probe.question.text for probe in probes], k)
    return sum(drawn.finds(hits, probe.fact) for hits, probe in zip(outcome.results, probes, strict=True))


def share(hits: int, trials: int) -> Figure:
    """A share of probes that are about different conversations."""
    if not trials:
        return Figure(reason="nothing was acknowledged")
    estimate, low, high = stats.share_interval(min(hits, trials), trials)
    return Figure(value=estimate, low=low, high=high, n=trials, clusters=trials)
