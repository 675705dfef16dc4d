"""Coroutines that a test makes and never runs: whoever times those times nothing.

``benchmark(fetch)`` of a coroutine function passes, and shows how long it takes to *make* a coroutine.  The fixture
stays what it is: of the object that another plug-in gave, only the class is exchanged for one derived from it, which
looks at what is called and at what came of it.  What the test makes elsewhere and never awaits is heard of from the
interpreter, which warns of each such coroutine as it goes.
"""

from __future__ import annotations

import functools
import gc
import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

FIXTURES = ("benchmark", "codspeed_benchmark")
PLUGINS = ("pytest_benchmark", "pytest_codspeed")
"""Whose objects are looked after; a fixture of another make may well know what to do with a coroutine."""
NEVER = "was never awaited"
HOW = (
    "time it with perfsuite's fixture perf_async (await perf_async.time(f)), or give benchmark a plain function that "
    "runs it, such as lambda: runner.run(f()) with an asyncio.Runner"
)


class NotAwaited(TypeError):
    """A coroutine was made and nothing of it ran."""


class _Refused(Exception):
    """Ends the call of a benchmark that must not be made."""


def is_async(function: object) -> bool:
    """Whether a call of it gives something that is yet to be run: a coroutine function, or an async generator's; by
    itself, in a partial, as a method, or as ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    call = type(function).__call__ if callable(function) else None
    return any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (function, call) if one)


def name_of(function: object) -> str:
    """What to call it."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__).replace("<locals>.", "")


def look_after(value: object) -> None:
    """Makes a fixture of a plug-in that is known refuse coroutine functions; leaves any other alone."""
    known: Any = type(value)
    if known.__module__.partition(".")[0] in PLUGINS and callable(value):
        # By object's own descriptor: one plug-in has a property in its place.
        object.__dict__["__class__"].__set__(value, _guarded(known))


def misuse(value: object) -> str:
    """What was wrong with the use of a fixture that is looked after; empty where nothing was."""
    return str(vars(value).get("_perfsuite_misuse", "")) if hasattr(value, "__dict__") else ""


def spoil(fixture: Any, text: str) -> None:
    """Marks what a fixture timed as worth nothing, for its own plug-in too."""
    fixture.has_error = True
    fixture._perfsuite_misuse = text


@functools.cache
def _guarded(known: type[Any]) -> type[Any]:
    def called(self: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        _refuse_async(self, known, function)
        return _checked(self, function, known.__call__(self, function, *args, **kwargs))

    def pedantic(self: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        _refuse_async(self, known, target)
        return _checked(self, target, known.pedantic(self, target, *args, **kwargs))

    own = {"__call__": called, "__module__": __name__} | ({"pedantic": pedantic} if hasattr(known, "pedantic") else {})
    return type(known.__name__, (known,), own)


def _refuse_async(fixture: Any, known: type[Any], function: object) -> None:
    __tracebackhide__ = True
    if is_async(function):
        with suppress(_Refused):
            known.__call__(fixture, _refuse)  # it is used, and has failed: as far as its own plug-in goes
        _fail(fixture, f"benchmark({name_of(function)}) would time nothing: calling it makes a coroutine and runs "
                       f"nothing of it; {HOW}")  # fmt: skip


def _refuse() -> None:
    raise _Refused


def _checked(fixture: Any, function: object, result: Any) -> Any:
    __tracebackhide__ = True
    unrun = (inspect.iscoroutine(result) and inspect.getcoroutinestate(result) == inspect.CORO_CREATED) or (
        inspect.isasyncgen(result)
    )
    if unrun:
        if inspect.iscoroutine(result):
            result.close()
        _fail(fixture, f"benchmark({name_of(function)}) timed nothing: it returned a coroutine, of which nothing ran; "
                       f"{HOW}")  # fmt: skip
    return result


def _fail(fixture: Any, text: str) -> None:
    __tracebackhide__ = True
    spoil(fixture, text)
    raise NotAwaited(text)


@contextmanager
def heard() -> Iterator[Counter[str]]:
    """Counts, by name, the coroutines that go without having been awaited, whatever the filters of warnings are; all
    other warnings take their usual way."""
    found: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("always", f".*{NEVER}", RuntimeWarning)
        others: Callable[..., object] = warnings.showwarning

        def show(message: Any, category: Any, *args: Any, **kwargs: Any) -> object:
            text = str(message)
            if issubclass(category, RuntimeWarning) and NEVER in text:
                found[text.partition("'")[2].partition("'")[0].replace("<locals>.", "") or text] += 1
                return None
            return others(message, category, *args, **kwargs)

        warnings.showwarning = show  # type: ignore[assignment]
        yield found
        gc.collect()
