"""What runs in a worker: the functions that the driver calls there, and what the worker keeps between them.

A run has one Home in each worker: a thread with an event loop of its own, for the worker's is busy with the worker's
affairs, the system under test as it is reached from here, and the conversations, which go on from load to load.  A Home
that is not there any more was another process's: a task that comes to a worker which took that one's place is refused,
for a part that is driven late is another load.
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from perfsuite import __version__
from perfsuite._core import Events
from perfsuite.cluster.orders import Message, Order, Telling
from perfsuite.cluster.snapshots import Taker, packed
from perfsuite.errors import PerfsuiteError
from perfsuite.loadgen import Delivered, drive
from perfsuite.scratch import scratch_folder
from perfsuite.targets import open_target
from perfsuite.targets.base import Failure, Reply, Request
from perfsuite.targets.http.wired import Wired

if TYPE_CHECKING:
    from perfsuite.loadgen import Times
    from perfsuite.plan import Plan
    from perfsuite.targets.base import Target
    from perfsuite.workloads.requests import Conversing

TELL_EVERY_S = 1.0
CLOSING_S = 30.0
Found = TypeVar("Found")

_HOMES: dict[str, Home] = {}
"""By run."""


@dataclass(frozen=True, slots=True)
class About:
    """What a worker is."""

    perfsuite: str
    python: str
    host: str
    pid: int


def about() -> About:
    """This worker."""
    import os

    return About(__version__, platform.python_version(), platform.node(), os.getpid())


def clock() -> int:
    """This worker's monotonic clock."""
    return time.monotonic_ns()


def prepare(run: str, plan: Plan) -> int:
    """Opens the system under test as the plan names it, if this run has not yet; how many messages it sent for that.
    Raises PerfsuiteError when it cannot.  What other runs have left here is closed: their driver is gone."""
    for other in [name for name in _HOMES if name != run]:
        close(other)
    if run in _HOMES:
        return 0
    home = Home()
    try:
        sent = home.call(home.open(plan))
    except BaseException:
        home.close()
        raise
    _HOMES[run] = home
    return sent


def drive_part(order: Order) -> str:
    """Drives one part to its end; a Message as text.  How it goes is told every second under the order's topic."""
    home = _HOMES.get(order.run)
    if home is None:
        raise PerfsuiteError("this worker took the place of one that is gone: it drives no part of that one's load")
    from distributed import get_worker

    worker = get_worker()
    return home.call(home.drive(order, lambda text: worker.log_event(order.topic, text)))


def stop(run: str) -> None:
    """Ends the load that is on: nothing new is sent, what is in flight is awaited."""
    home = _HOMES.get(run)
    if home is not None:
        home.stop()


def close(run: str) -> None:
    """Forgets a run, without waiting for it."""
    home = _HOMES.pop(run, None)
    if home is not None:
        home.stop()
        threading.Thread(target=home.close, name="perfsuite closing", daemon=True).start()


class Home:
    """See above.  ``call`` is for other threads, coroutines are for its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="perfsuite shard", daemon=True)
        self._thread.start()
        self._open = contextlib.ExitStack()
        self._target: Target | None = None
        self._sources: list[tuple[object, Conversing]] = []
        self._stopping: asyncio.Event | None = None

    def call(self, work: Coroutine[Any, Any, Found]) -> Found:
        """The coroutine's value; waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def open(self, plan: Plan) -> int:
        """Opens the target; how many messages it sent to find out what it takes."""
        folder = self._open.enter_context(scratch_folder("shard"))
        self._target = await open_target(plan, Path(folder))
        if isinstance(self._target, Wired) and self._target.endpoints():
            return await self._target.ready()
        return 0

    def stop(self) -> None:
        """See ``stop``."""

        def ask() -> None:
            if self._stopping is not None:
                self._stopping.set()

        with contextlib.suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(ask)

    def close(self) -> None:
        """Closes the target and ends the thread."""
        if self._target is not None:
            closing = asyncio.run_coroutine_threadsafe(self._target.close(), self._loop)
            with contextlib.suppress(Exception):  # whatever it is, the run is over
                closing.result(CLOSING_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSING_S)
        if not self._thread.is_alive():
            self._loop.close()
        self._open.close()

    async def drive(self, order: Order, tell: Callable[[str], object]) -> str:
        """One part; see ``drive_part``."""
        assert self._target is not None
        source = self._source(order)
        spec = order.spec
        events = Events(
            warmup_ns=int(spec.warmup_s * 1e9), limit_ms=order.limit_ms, objectives=order.objectives, raw=order.raw
        )
        telling = Telling(spec.start_ns or 0)
        taker = Taker(events, most_windows=int(spec.request_timeout_s) + 60)
        number = 0

        def message(delivered: Delivered | None) -> str:
            nonlocal number
            number += 1
            answers, ends = telling.taken()
            return packed(
                Message(
                    load=order.load,
                    shard=order.shard,
                    attempt=order.attempt,
                    number=number,
                    records=taker.take(),
                    answers=answers,
                    ends=ends,
                    delivered=delivered,
                )
            )

        async def regularly() -> None:
            while True:
                await asyncio.sleep(TELL_EVERY_S)
                tell(message(None))

        def heard(request: Request, reply: Reply | None, failure: Failure | None, times: Times) -> None:
            source.answered(request, reply)
            telling.heard(request, reply, failure, times)

        self._stopping = asyncio.Event()
        teller = asyncio.create_task(regularly())
        try:
            delivered = await drive(self._target, source, spec, events, heard, self._stopping, answers=order.answers)
        finally:
            self._stopping = None
            teller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await teller
        return message(delivered)

    def _source(self, order: Order) -> Conversing:
        for made_of, source in self._sources:
            if made_of == order.source:
                return source
        index, of = order.spec.part
        made = order.recipe.part(index, of, slots=order.slots, again=order.attempt - 1)
        self._sources.append((order.source, made))
        return made
