"""Turns of a loop for the probes: what is said, and how a loop of any kind is run without holding up the run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from perfsuite.chatloop.calls import is_async
from perfsuite.errors import PerfsuiteError
from perfsuite.targets.base import MakesLoops
from perfsuite.workloads.requests import requests

if TYPE_CHECKING:
    from perfsuite.chatloop.loop import ChatLoop
    from perfsuite.suites.session import Session

BATCH = 25
"""Turns between two looks at the clock, at most."""
WARMUP = 3
PARTS = 10
"""Of a probe's time, about so many batches at least: each is a block, and a block alone has no interval."""


def maker(session: Session) -> MakesLoops:
    """The target, which makes loops (the probes that ask are only run on such)."""
    assert isinstance(session.target, MakesLoops)
    return session.target


def messages(session: Session) -> Iterator[str]:
    """What users say, without end."""
    return (one.message for one in requests(session.seed, slots=1, workload=session.workload, expecting=False))


async def say(session: Session, loop: ChatLoop, texts: Sequence[str], after: Callable[[], object] | None = None) -> int:
    """Says all of it, in a thread unless something of the loop is async; how many turns failed.

    Each failure is counted in the phase; ``after`` is called after each turn.
    """
    failed = 0

    def failure(error: Exception) -> None:
        nonlocal failed
        failed += 1
        text = str(error) if isinstance(error, PerfsuiteError) else f"{type(error).__name__}: {error}"
        session.count_failure("timeout" if isinstance(error, TimeoutError) else "target", text)

    def plainly() -> None:
        for text in texts:
            try:
                loop.run_iteration(text)
            except Exception as error:  # noqa: BLE001 - the system's under test, counted
                failure(error)
            if after is not None:
                after()

    if not any(is_async(one) for one in (loop.model, *loop.tools.values())):
        await asyncio.to_thread(plainly)
        return failed
    for text in texts:
        try:
            await loop.arun_iteration(text)
        except Exception as error:  # noqa: BLE001 - as above
            failure(error)
        if after is not None:
            after()
    return failed


async def warm(session: Session, loop: ChatLoop, texts: Iterator[str]) -> int:
    """A few turns, for imports and caches; how many turns make a batch of a loop that takes so long for them."""
    began = time.monotonic()
    await say(session, loop, taken(texts, WARMUP))
    each = (time.monotonic() - began) / WARMUP
    return max(1, min(BATCH, int(session.duration_s / PARTS / max(each, 1e-6))))


def taken(texts: Iterator[str], count: int) -> list[str]:
    """The next so many messages."""
    return list(islice(texts, count))
