"""A Python function as a target: ``python:package.module:function``.

``f(messages)`` gets OpenAI-style messages and gives the answer as text, or as an iterator of pieces of text (streamed);
it, or its iterator, may be async.  A plain function runs in a thread, one for each request in flight; async ones share
an event loop of their own.  One that blocks that loop is measured as it is, and the result says that it did.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from perfsuite.errors import UsageError, unknown
from perfsuite.targets.base import Failure, Reply, Request, Target
from perfsuite.targets.in_process import InProcess
from perfsuite.targets.own_loop import OwnLoop
from perfsuite.targets.threads import DaemonThreads
from perfsuite.units import figure

if TYPE_CHECKING:
    from perfsuite._core import Row
    from perfsuite.plan import Plan

THREADS = 512
"""Threads for plain functions, at most; a request beyond them waits, and its wait counts."""
_END = object()


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The target ``python:…``.  A module in the current folder is found there."""
    if plan.models:
        raise UsageError("a function has no --model: give it one target for each")
    return FunctionTarget(load_function(rest), rest)


def load_function(path: str) -> Callable[..., object]:
    """The function ``package.module:function`` (or ``…:Class.method``); UsageError says what is wrong with the path."""
    module_name, colon, attribute = path.partition(":")
    if not (module_name and colon and attribute):
        raise UsageError(f"python:{path} does not name a function; write python:package.module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise UsageError(
                f"python:{path}: there is no module {error.name!r}; run from its folder, or install it here"
            ) from error
        raise UsageError(f"python:{path}: importing {module_name} fails: {error}") from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise UsageError(f"python:{path}: importing {module_name} fails: {type(error).__name__}: {error}") from error
    where = module_name
    for name in attribute.split("."):
        if not hasattr(found, name):
            public = [one for one in dir(found) if not one.startswith("_")]
            raise unknown("function", name, public, where)
        found = getattr(found, name)
        where = f"{where}.{name}"
    if not callable(found):
        raise UsageError(f"python:{path} is {_kind(found)}, not a function that can be called with messages")
    return cast("Callable[..., object]", found)


class FunctionTarget(InProcess):
    """A function of the user's behind the protocol of targets: a black box."""

    simulated: tuple[str, ...] = ()
    stamps = "monotonic clock, in the process, as each piece is given"

    def __init__(self, function: Callable[..., object], path: str) -> None:
        self.name = f"python:{path}"
        self._function = function
        call = getattr(function, "__call__", None)  # noqa: B004 - an instance's may be the async one
        self._async = any(
            inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (function, call)
        )
        self._threads: DaemonThreads | None = None
        self._loop: OwnLoop | None = None

    @property
    def warnings(self) -> Sequence[str]:
        """That it held up its event loop, if it did."""
        held = self._loop.held_up if self._loop is not None else None
        if held is None or not held.times:
            return ()
        longest = figure(held.longest_s, "s")
        stretches = "once" if held.times == 1 else f"{held.times:,} times, the longest for {longest}"
        return (
            f"{self.name} blocked its event loop for {figure(held.total_s, 's')} ({stretches}): its other requests "
            "waited meanwhile; await in it, or hand what takes long to asyncio.to_thread",
        )

    async def open(self) -> None:
        """Makes the threads ready; they start as they are needed."""
        if self._threads is None:
            self._threads = DaemonThreads(THREADS, "perfsuite-target")

    async def send(self, request: Request, row: Row) -> Reply:
        """Calls the function; each piece that it gives is a chunk."""
        messages = [dict(message) for message in request.messages]
        row.sent()
        heard = _Heard(self.name, row)
        if self._async:
            got = await self._in_loop(heard.answer, self._function, messages)
        else:
            got = await self._in_thread(self._function, messages)
            if inspect.isawaitable(got) or isinstance(got, AsyncIterator):
                got = await self._in_loop(heard.answer, _given, got)
        if isinstance(got, Iterator):
            while (piece := await self._in_thread(next, got, _END)) is not _END:
                heard.took(piece)
        elif got is not heard:
            heard.whole(got)
        return Reply(text="".join(heard.pieces), ended_ns=heard.ended_ns)

    async def _in_thread(self, function: Callable[..., object], *arguments: object) -> object:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _called, function, *arguments)

    async def _in_loop(self, function: Callable[..., Coroutine[Any, Any, object]], *arguments: object) -> object:
        if self._loop is None:
            self._loop = OwnLoop("perfsuite-target-loop")
        return await self._loop.call(function, *arguments)

    async def close(self) -> None:
        """Lets the threads and the loop end; one that hangs in the function is not waited for."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None
        if self._loop is not None:
            await self._loop.close()


class _Heard:
    """An answer as it comes, stamped where it comes."""

    def __init__(self, name: str, row: Row) -> None:
        self.pieces: list[str] = []
        self.ended_ns: int | None = None
        self._name = name
        self._row = row

    def took(self, piece: object) -> None:
        """One piece of it."""
        if not isinstance(piece, str):
            raise Failure("target", f"{self._name} gave a piece of {_kind(piece)}; pieces must be text")
        if piece:
            self._row.token()
            self.pieces.append(piece)

    def whole(self, got: object) -> None:
        """All of it, if it is text."""
        if not isinstance(got, str):
            raise Failure(
                "target", f"{self._name} returned {_kind(got)}; it must return text, or an iterator of pieces of text"
            )
        self.took(got)

    async def answer(self, function: Callable[..., object], *arguments: object) -> object:
        """Calls an async function and hears it to its end; returns this, or an iterator, which may block and is for a
        thread to hear."""
        try:
            got = function(*arguments)
            if inspect.isawaitable(got):
                got = await got
            if isinstance(got, AsyncIterator):
                async for piece in got:
                    self.took(piece)
            elif isinstance(got, Iterator):
                return got
            else:
                self.whole(got)
        except (KeyboardInterrupt, SystemExit) as error:  # a task would end its loop with them
            raise Failure("target", f"{type(error).__name__}: {error}") from error
        self.ended_ns = time.monotonic_ns()
        return self


def _given(value: object) -> object:
    return value


def _called(function: Callable[..., object], *arguments: object) -> object:
    """What the function gives.  An error that is no Exception, and StopIteration, which no future can carry, are its
    failure too: neither sys.exit() nor a bare next() in a user's function may end the run or hang it."""
    try:
        return function(*arguments)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            raise
        raise Failure("target", f"{type(error).__name__}: {error}") from error


def _kind(value: object) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
