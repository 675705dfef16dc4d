"""One run of an operation, timed: as a context manager, plain and async, and as a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import aclosing
from typing import Any, Literal, TypeVar, cast

from perfsuite import _core

Function = TypeVar("Function", bound=Callable[..., Any])


class Operation(_core.OperationTimer):
    """One run of an operation, timed: for ``with`` and ``async with``, or as a decorator.

    As a decorator it times every call: of a coroutine function until it returns, of a generator until it is exhausted.
    ``elapsed_ms`` is there after the end.
    """

    __slots__ = ()

    async def __aenter__(self) -> Operation:
        return self.__enter__()

    async def __aexit__(
        self, error: type[BaseException] | None, value: BaseException | None, where: object
    ) -> Literal[False]:
        return self.__exit__(error, value, where)

    def __call__(self, function: Function) -> Function:
        if not callable(function):
            raise TypeError(f"{self.operation.name} can time a function, not {type(function).__name__}")
        wraps = (
            (inspect.iscoroutinefunction, _coroutine),
            (inspect.isasyncgenfunction, _async_generator),
            (inspect.isgeneratorfunction, _generator),
        )
        wrap = next((wrap for is_one, wrap in wraps if is_one(function)), _plain)
        return cast("Function", functools.wraps(function)(wrap(self.operation, function)))


def _coroutine(operation: _core.Operation, function: Callable[..., Any]) -> Callable[..., Any]:
    async def timed(*args: Any, **kwargs: Any) -> Any:
        with Operation(operation):
            return await function(*args, **kwargs)

    return timed


def _async_generator(operation: _core.Operation, function: Callable[..., Any]) -> Callable[..., Any]:
    async def timed(*args: Any, **kwargs: Any) -> Any:
        with Operation(operation):
            async with aclosing(function(*args, **kwargs)) as inner:  # ``yield from``, which async functions have not
                step = inner.asend(None)
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - it is the function's to handle
                        step = inner.athrow(error)
                    else:
                        step = inner.asend(sent)

    return timed


def _generator(operation: _core.Operation, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        with Operation(operation):
            return (yield from function(*args, **kwargs))

    return timed


def _plain(operation: _core.Operation, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        with Operation(operation):
            return function(*args, **kwargs)

    return timed
