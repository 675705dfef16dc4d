"""What a turn waits for: calls of the model and of tools, made from a thread or from an event loop.

A turn is one generator (``loop.py``), which yields lists of calls that may run at the same time and is sent their
outcomes; who drives it, ``made`` or ``amade``, is the only difference between a plain and an async turn.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from perfsuite.chatloop.workers import WORKERS, Owner, TooManyHanging
from perfsuite.errors import PerfsuiteError


class TookTooLong(PerfsuiteError, TimeoutError):
    """A call that was not back in time, and is not waited for any more."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments.  ``owner``: whose calls are counted together when they hang.  ``timeout_s``: the
    longest it is waited for.  ``apart``: even without a time-out it must not hold up an event loop.  ``name``: what
    people know it by, where that is not the function's."""

    function: Callable[..., Any]
    owner: Owner
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    apart: bool = False
    name: str = ""

    def give_up(self, future: Future[Outcome]) -> None:
        """Leaves it to itself."""
        WORKERS.give_up(future, self.owner, self.name or named(self.function))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: its value, or the error that it ended with."""

    value: Any
    error: BaseException | None
    elapsed_ms: float


def made(calls: Sequence[Call]) -> list[Outcome]:
    """Makes the calls from this thread: all at the same time where there are several."""
    for call in calls:
        if is_async(call.function):
            raise TypeError(f"{named(call.function)} is async: await arun_iteration() rather than run_iteration()")
    if len(calls) == 1 and calls[0].timeout_s is None:
        return [_directly(calls[0])]
    began = time.monotonic()
    started = [_start(call) for call in calls]
    outcomes = []
    for call, future in zip(calls, started, strict=True):
        if isinstance(future, Outcome):
            outcomes.append(future)
            continue
        left = None if call.timeout_s is None else max(0.0, call.timeout_s - (time.monotonic() - began))
        try:
            outcomes.append(future.result(left))
        except TimeoutError:
            outcomes.append(_late(call, future))
        except BaseException:  # Ctrl-C: nobody waits for any of them any more
            for call, one in zip(calls, started, strict=True):
                if isinstance(one, Future) and not one.done():
                    call.give_up(one)
            raise
    return outcomes


async def amade(calls: Sequence[Call]) -> list[Outcome]:
    """Makes the calls from an event loop: coroutine functions in it, others in threads."""
    if len(calls) == 1:
        return [await _amade(calls[0])]
    outcomes = await asyncio.gather(*(_amade(call) for call in calls), return_exceptions=True)
    return [_ended(outcome) for outcome in outcomes]


def _ended(outcome: Outcome | BaseException) -> Outcome:
    """A call that cancelled the task that it ran in, which is not the turn's: its own end."""
    if isinstance(outcome, asyncio.CancelledError):
        return Outcome(None, outcome, 0.0)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def _amade(call: Call) -> Outcome:
    if is_async(call.function):
        return await _awaited(call)
    if call.timeout_s is None and not call.apart:
        return _directly(call)
    future = _start(call)
    if isinstance(future, Outcome):
        return future
    try:
        async with asyncio.timeout(call.timeout_s):
            outcome: Outcome = await asyncio.wrap_future(future)
            return outcome
    except TimeoutError:
        return _late(call, future)
    except asyncio.CancelledError:
        call.give_up(future)
        raise


async def _awaited(call: Call) -> Outcome:
    """A cancellation that nobody asked this task for is the function's own error, as SystemExit is; Ctrl-C is not.  Nor
    is GeneratorExit where this coroutine is being closed, which no running task is."""
    began = time.monotonic_ns()
    late = asyncio.timeout(call.timeout_s)
    task = asyncio.current_task()
    asked = 0 if task is None else task.cancelling()
    try:
        async with late:
            try:
                value = await call.function(*call.args, **call.kwargs)
            except asyncio.CancelledError as error:
                if task is None or task.cancelling() > asked:  # the time-out's, or the turn's
                    raise
                return Outcome(None, error, _since(began))
    except (Exception, SystemExit, GeneratorExit) as error:
        if isinstance(error, GeneratorExit) and _closing(task):
            raise
        if late.expired():
            return Outcome(None, _too_long(call), _since(began))
        return Outcome(None, error, _since(began))
    return Outcome(value, None, _since(began))


def _closing(task: asyncio.Task[Any] | None) -> bool:
    """Whether the code of a task runs outside of it: nobody goes on with it, it is only closed."""
    try:
        return task is None or asyncio.current_task() is not task
    except RuntimeError:  # nor does its loop run
        return True


def _directly(call: Call) -> Outcome:
    began = time.monotonic_ns()
    try:
        value = call.function(*call.args, **call.kwargs)
    except (Exception, SystemExit, GeneratorExit, asyncio.CancelledError) as error:  # noqa: BLE001 - as above; Ctrl-C goes through
        return Outcome(None, error, _since(began))
    return Outcome(value, None, _since(began))


def _whole(call: Call) -> Outcome:
    """In a thread of its own, where even SystemExit is but the end of a call."""
    began = time.monotonic_ns()
    try:
        value = call.function(*call.args, **call.kwargs)
    except BaseException as error:  # noqa: BLE001
        return Outcome(None, error, _since(began))
    return Outcome(value, None, _since(began))


def _start(call: Call) -> Future[Outcome] | Outcome:
    try:
        return WORKERS.start(call.owner, _whole, call)
    except TooManyHanging as error:
        return Outcome(None, error, 0.0)


def _late(call: Call, future: Future[Outcome]) -> Outcome:
    if future.done() and not future.cancelled():  # at the last moment; a cancelled one had no thread yet
        return future.result()
    call.give_up(future)
    return Outcome(None, _too_long(call), 1e3 * (call.timeout_s or 0.0))


def _too_long(call: Call) -> TookTooLong:
    return TookTooLong(f"{call.name or named(call.function)} was not back after {call.timeout_s:g} s")


def _since(began_ns: int) -> float:
    return (time.monotonic_ns() - began_ns) / 1e6


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def named(function: Callable[..., Any]) -> str:
    """A function's name, for people."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
