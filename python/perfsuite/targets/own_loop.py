"""An event loop for a user's async functions, apart from the one that drives them.

A function that blocks its loop then holds up itself and its own other requests, as it would in its service, but neither
the schedule of the sends, nor a time-out, nor Ctrl-C; and that it did so is seen from outside, and said.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

LOOK_S = 0.05
"""How often the loop is asked for a sign of life."""
HELD_UP_S = 0.1
"""A loop that gives none for so long is held up; asyncio's own debug mode calls a step slow from here on."""
PATIENCE_S = 1.0
"""For what is cancelled to end when the loop is closed."""


@dataclass(slots=True)
class HeldUp:
    """For how long a loop ran nothing, and how often, in seconds of which the driver's own loop was running: a machine
    that stands still as a whole is nobody's fault here."""

    times: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0

    def add(self, seconds: float) -> None:
        """One more stretch, if it is one."""
        if seconds >= HELD_UP_S:
            self.times += 1
            self.total_s += seconds
            self.longest_s = max(self.longest_s, seconds)


class OwnLoop:
    """An event loop in a daemon thread, used from another loop: ``open``, ``call`` and ``close`` are that one's.

    One that never lets go is not waited for, neither by ``close`` nor by the end of the process.
    """

    def __init__(self, name: str) -> None:
        self._here = asyncio.get_running_loop()
        self._there = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()
        self._held_up = HeldUp()
        self._silent_s = 0.0
        self._watch = self._here.create_task(self._watched())

    @property
    def held_up(self) -> HeldUp:
        """The stretches so far, the present one too."""
        so_far = HeldUp(self._held_up.times, self._held_up.total_s, self._held_up.longest_s)
        so_far.add(self._silent_s)
        return so_far

    async def call(self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Awaits ``function(*args)`` there; cancelled here, it is cancelled there and not waited for."""
        told: asyncio.Future[T] = self._here.create_future()
        work = _Work(partial(function, *args, **kwargs), told, self._here)
        self._there.call_soon_threadsafe(work.begin)
        try:
            return await told
        except asyncio.CancelledError:
            work.given_up = True
            self._there.call_soon_threadsafe(work.cancel)
            raise

    async def close(self) -> None:
        """Cancels what still runs there and ends the loop, unless it is held up: then it is left to itself."""
        self._there.call_soon_threadsafe(self._there.stop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * PATIENCE_S):
                await self._ended.wait()
                self._thread.join(PATIENCE_S)  # it has nothing left to do
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch

    # ── in the other thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self) -> None:
        loop = self._there
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.set_exception_handler(_say_nothing)  # of what is left: its requests have their failures
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=PATIENCE_S))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                self._here.call_soon_threadsafe(self._ended.set)

    # ── seen from here ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _watched(self) -> None:
        while True:
            alive = threading.Event()
            with contextlib.suppress(RuntimeError):  # it is closed: no sign of life will come, nor is one due
                self._there.call_soon_threadsafe(alive.set)
            self._silent_s = 0.0
            while True:
                before = time.monotonic()
                await asyncio.sleep(LOOK_S)
                if alive.is_set() or self._there.is_closed():
                    break
                self._silent_s += min(time.monotonic() - before, 2 * LOOK_S)
            self._held_up.add(self._silent_s)


class _Work:
    """One call: made and begun there, its end told here."""

    __slots__ = ("_function", "_here", "_task", "_told", "given_up")

    def __init__(
        self,
        function: Callable[[], Coroutine[Any, Any, Any]],
        told: asyncio.Future[Any],
        here: asyncio.AbstractEventLoop,
    ) -> None:
        self._function = function
        self._told = told
        self._here = here
        self._task: asyncio.Task[Any] | None = None
        self.given_up = False

    def begin(self) -> None:
        if not self.given_up:
            self._task = asyncio.get_running_loop().create_task(self._function())
            self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # somebody has looked at it, even if nobody is told
        with contextlib.suppress(RuntimeError):  # the other loop is gone
            self._here.call_soon_threadsafe(self._tell, task)

    def _tell(self, task: asyncio.Task[Any]) -> None:
        if self._told.done():
            return
        if task.cancelled():
            self._told.cancel()
        elif (error := task.exception()) is not None:
            self._told.set_exception(error)
        else:
            self._told.set_result(task.result())


def _say_nothing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler."""
