"""Systems of one's own in a comparison: objects of this process, beside those that have a process of their own.

An object's calls are made by the same code as in a child (memory/child.py), in a thread with a loop of its own: one
that hangs is given up, and the others go on.  It cannot be killed and started again, and its memory is that of
everything in this process, so that neither durability nor memory is told of it.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from perfsuite.errors import UsageError
from perfsuite.memory.child import Channel, Driver
from perfsuite.memory.host import SystemFailed
from perfsuite.memory.operations import Item, Outcome, Overhead, as_call, as_outcome
from perfsuite.memory.usage import Usage, folder_bytes
from perfsuite.suites.memory.comparison import Entrant, Meter, entrants
from perfsuite.suites.memory.quality import System

T = TypeVar("T")
BATCH = 2000
LOOK_S = 0.2
NEEDED = ("initialize", "store", "recall", "flush", "reset", "close")
NOTE = "in the process of the comparison: durability and memory are not measured"


class _Progress(Channel):
    """Counts the calls that are through."""

    def __init__(self) -> None:
        self.done = 0

    def send(self, message: dict[str, Any]) -> None:
        """Nobody listens."""

    def progress(self, done: int) -> None:
        self.done = done


class Here:
    """A system that is an object of this process."""

    offers: frozenset[str] = frozenset()

    def __init__(self, name: str, adapter: Any, workdir: Path, timeout_s: float, meter: Meter) -> None:
        self.name = name
        self._adapter = adapter
        self._workdir = workdir
        self._timeout_s = timeout_s
        self._meter = meter
        self._progress = _Progress()
        self._driver = Driver(adapter, self._progress)
        self._loop = asyncio.new_event_loop()
        self._gone = ""
        self._thread = threading.Thread(target=_serve, args=(self._loop,), name=f"memory system {name}", daemon=True)
        self._thread.start()

    async def info(self) -> Mapping[str, Any]:
        """What it says of itself, and that it is in this process."""
        about = getattr(self._adapter, "info", None)
        said = dict(await self._made(about, "info")) if callable(about) else {}
        notes = said.get("notes") or ()
        said["notes"] = [*([notes] if isinstance(notes, str) else notes), NOTE]
        return said

    async def store(self, items: Sequence[Item]) -> Outcome:
        """One by one."""
        return await self._calls([as_call("store", (item,)) for item in items])

    async def recall(self, queries: Sequence[str], k: int = 5) -> Outcome:
        """One by one."""
        return await self._calls([["recall", query, k] for query in queries])

    async def flush(self) -> float:
        """How long it took is not looked at."""
        begun = self._loop.time()
        await self._made(self._adapter.flush, "flush")
        return (self._loop.time() - begun) * 1e3

    async def kill(self) -> None:
        """An object cannot be killed."""
        raise SystemFailed("refused", f"{self.name} is in this process and cannot be killed")

    async def overhead(self, method: str, *, count: int = 2000) -> Overhead:
        """What measuring a call takes."""
        answer = await self._run(self._driver.overhead(count, 1), "overhead")
        return Overhead.of(answer["acall" if self._driver.is_async(method) else "call"], count)

    def rusage(self) -> Usage:
        """The bytes of its folder alone."""
        disk, length = folder_bytes(self._workdir)
        return Usage(
            resident_bytes=0,
            memory_bytes=0,
            memory_kind="not measured",
            peak_bytes=0,
            cpu_s=0.0,
            threads=0,
            processes=0,
            disk_bytes=disk,
            file_bytes=length,
        )

    async def open(self, model_url: str | None, dim: int) -> None:
        """``initialize``, with what that may say."""
        await self._made(self._adapter.initialize, "initialize", self._workdir, model_url, dim)

    async def reset(self) -> None:
        """Forgets everything."""
        await self._made(self._adapter.reset, "reset")

    async def close(self) -> None:
        """Closes it, unless it hangs, and ends the thread."""
        try:
            if not self._gone:
                await self._made(self._adapter.close, "close")
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            if not self._gone:  # else the thread ends when the call does
                await asyncio.to_thread(self._thread.join)

    async def _calls(self, calls: list[list[Any]]) -> Outcome:
        outcome = Outcome()
        for start in range(0, len(calls), BATCH):
            some = calls[start : start + BATCH]
            before = dict(self._meter())
            answer = as_outcome(some, await self._run(self._driver.calls(some, 1), str(some[0][0])))
            answer.model = {name: value - before.get(name, 0.0) for name, value in self._meter().items()}
            outcome.extend(answer)
        return outcome

    async def _made(self, method: Any, what: str, *arguments: Any) -> Any:
        async def call() -> Any:
            result = method(*arguments)
            return await result if inspect.isawaitable(result) else result

        try:
            return await self._run(call(), what)
        except SystemFailed:
            raise
        except Exception as error:
            text = f"{self.name} failed in {what}: {type(error).__name__}: {error}"
            raise SystemFailed("refused", text) from error

    async def _run(self, work: Coroutine[Any, Any, T], what: str) -> T:
        """Does the work in the system's thread; SystemFailed where no call ends for too long."""
        if self._gone:
            work.close()
            raise SystemFailed("hung", self._gone)
        self._progress.done = 0
        running = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        seen, quiet = 0, 0.0
        while not (await asyncio.wait({running}, timeout=min(LOOK_S, self._timeout_s)))[0]:
            quiet = 0.0 if self._progress.done != seen else quiet + min(LOOK_S, self._timeout_s)
            seen = self._progress.done
            if quiet >= self._timeout_s:
                self._gone = f"{self.name} hung in {what}: nothing came of a call for {self._timeout_s:g} s"
                running.cancel()
                raise SystemFailed("hung", self._gone, done=seen)
        return running.result()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Runs a loop until it is stopped, and ends what is left in it."""

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await loop.shutdown_asyncgens()

    try:
        loop.run_forever()
        loop.run_until_complete(end())
    finally:
        loop.close()


def competitor(adapter: object) -> Entrant:
    """What takes part in a comparison: a system's name, a class that a process of its own can import and call, or an
    object with the methods of ``memory.base.MemorySystem``.  UsageError for anything else."""
    if isinstance(adapter, str):
        return replace(entrants([adapter])[0], asked_for=True)
    made_by = adapter if isinstance(adapter, type) else type(adapter)
    lacking = [name for name in NEEDED if not callable(getattr(adapter, name, None))]
    if lacking:
        raise UsageError(
            f"{made_by.__name__} is no memory system: it has no {', '.join(lacking)} (perfsuite.MemorySystem says what "
            "a system has)"
        )
    if isinstance(adapter, type):
        if adapter.__module__ == "__main__" or "<locals>" in adapter.__qualname__:
            raise UsageError(
                f"{adapter.__name__} cannot be imported by a process of its own: give an object, {adapter.__name__}(…),"
                " which takes part in this process"
            )
        return replace(entrants([f"{adapter.__module__}:{adapter.__qualname__}"])[0], asked_for=True)
    name = getattr(adapter, "name", None)
    return _of_object(adapter, name if isinstance(name, str) and name else made_by.__name__)


def _of_object(adapter: object, name: str) -> Entrant:
    def start(
        workdir: Path, *, model_url: str | None, dim: int, timeout_s: float, meter: Meter
    ) -> AbstractAsyncContextManager[System]:
        return _opened(Here(name, adapter, workdir, timeout_s, meter), model_url, dim)

    return Entrant(name=name, start=start, note=NOTE, lasts=False)


@asynccontextmanager
async def _opened(system: Here, model_url: str | None, dim: int) -> AsyncIterator[System]:
    """Opened on its folder and reset, so that an object that was used before has a fresh state too."""
    try:
        await system.open(model_url, dim)
        await system.reset()
        yield system
    finally:
        with suppress(SystemFailed):
            await system.close()
