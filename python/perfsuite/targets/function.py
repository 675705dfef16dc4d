"""A Python function as a target: ``python:package.module:function``.

``f(messages)`` gets OpenAI-style messages and gives the answer as text, or as an iterator of pieces of text (streamed);
it, or its iterator, may be async.  A plain function runs in a thread, one for each request in flight; an async one on
the event loop, which it must not block.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from perfsuite.errors import UsageError, unknown
from perfsuite.targets.base import Failure, Inspection, Reply, Request, Target
from perfsuite.targets.threads import DaemonThreads

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


class FunctionTarget:
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

    @property
    def inspection(self) -> Inspection | None:
        """None: nothing is known of its inside."""
        return None

    @property
    def process_ids(self) -> Sequence[int]:
        """This process."""
        return (os.getpid(),)

    @property
    def models(self) -> Sequence[str]:
        """None of its own."""
        return ()

    async def open(self) -> None:
        """Makes the threads ready; they start as they are needed."""
        if not self._async and self._threads is None:
            self._threads = DaemonThreads(THREADS, "perfsuite-target")

    async def send(self, request: Request, row: Row) -> Reply:
        """Calls the function; each piece that it gives is a chunk."""
        messages = [dict(message) for message in request.messages]
        row.sent()
        pieces: list[str] = []

        def took(piece: object) -> None:
            if not isinstance(piece, str):
                raise Failure("target", f"{self.name} gave a piece of {_kind(piece)}; pieces must be text")
            if piece:
                row.token()
                pieces.append(piece)

        got = self._function(messages) if self._async else await self._in_thread(self._function, messages)
        if inspect.isawaitable(got):
            got = await got
        if isinstance(got, str):
            took(got)
        elif isinstance(got, AsyncIterator):
            async for piece in got:
                took(piece)
        elif isinstance(got, Iterator):
            while (piece := await self._in_thread(next, got, _END)) is not _END:
                took(piece)
        else:
            raise Failure(
                "target", f"{self.name} returned {_kind(got)}; it must return text, or an iterator of pieces of text"
            )
        return Reply(text="".join(pieces))

    async def _in_thread(self, function: Callable[..., object], *arguments: object) -> object:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _called, function, *arguments)

    async def close(self) -> None:
        """Lets the threads end; one that hangs in the function is not waited for."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None


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
