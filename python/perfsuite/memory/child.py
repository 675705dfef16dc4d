"""A memory system in a process of its own: what that process runs.  host.py starts it, and is its only caller.

It may run under another Python, in an environment that has neither this package nor what it needs: so it knows the
standard library alone, and takes the package from the folder that it lies in, adding nothing else to where the system's
own imports are looked for.

The talk goes over one socket: a length in four bytes, then JSON.  A request is a batch of calls; each call is timed by
the monotonic clock around it alone, its result is looked at after the whole batch, and the answer carries the samples
and the results.  What the system prints goes elsewhere and harms nothing.  Beside answers there are notes of progress
between calls, so that the host can tell a system that hangs from one that has much to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Call = list[Any]
    """[method, argument…]; of ``store``: text, metadata, session, timestamp."""

LENGTH = struct.Struct(">I")
PROGRESS_S = 0.2
"""Between two notes of progress, at least."""
LONGEST_ERROR = 2_000
TIERS = ("hot", "warm", "cold", None)


class Bound(NamedTuple):
    """A call that is ready to be made."""

    method: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    is_async: bool


class Empty:
    """A system that does nothing: what a batch of its calls takes is what the measuring takes."""

    def call(self) -> None:
        """Nothing."""

    async def acall(self) -> None:
        """Nothing, as a coroutine."""


class Channel:
    """Frames to the host.  Methods may be called from any thread."""

    def __init__(self, talk: socket.socket) -> None:
        self._talk = talk
        self._lock = threading.Lock()
        self._noted = time.monotonic()

    def send(self, message: dict[str, Any]) -> None:
        """One frame, whole."""
        data = json.dumps(message, allow_nan=True).encode("ascii")
        with self._lock:
            self._talk.sendall(LENGTH.pack(len(data)) + data)

    def progress(self, done: int) -> None:
        """A note that ``done`` calls of the batch are through, unless the last was a moment ago."""
        now = time.monotonic()
        if now - self._noted >= PROGRESS_S:
            self._noted = now
            self.send({"progress": done})

    def read(self) -> dict[str, Any] | None:
        """The next request, None when the host is gone; blocks."""
        head = self._exactly(LENGTH.size)
        data = None if head is None else self._exactly(LENGTH.unpack(head)[0])
        return None if data is None else json.loads(data)

    def _exactly(self, size: int) -> bytes | None:
        pieces = []
        while size:
            piece = self._talk.recv(min(size, 1 << 20))
            if not piece:
                return None
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


class Batch:
    """What comes of a batch of calls, by the index of the call."""

    def __init__(self, size: int, longest_s: float | None = None) -> None:
        self.until_ns = None if longest_s is None else time.perf_counter_ns() + int(longest_s * 1e9)
        self.begun_ns = [0] * size
        self.took_ns = [0] * size
        self.results: list[Any] = [None] * size
        self.errors: dict[int, str] = {}
        self.next = 0
        self.done = 0

    def take(self) -> int | None:
        """The index of the next call to make; None when there is none, or its time is over (one is made at least)."""
        index = self.next
        late = index and self.until_ns is not None and time.perf_counter_ns() >= self.until_ns
        if late or index >= len(self.results):
            return None
        self.next = index + 1
        return index


class Driver:
    """Makes the calls on one system."""

    def __init__(self, system: Any, channel: Channel) -> None:
        self.system = system
        self.concurrent = False
        self._channel = channel

    async def calls(self, calls: list[Call], workers: int, longest_s: float | None = None) -> dict[str, Any]:
        """A batch under so many workers; each takes the next call when its last one is through, and none when
        ``longest_s`` are over: the answer is of the calls that were made.

        Calls of a system that is not concurrent never overlap, so that it has one worker whatever is asked for.
        Plain methods run in the workers' own threads when there are several, coroutines on the loop.
        """
        bound = [self._bind(call) for call in calls]
        workers = max(1, min(workers, len(calls))) if self.concurrent else 1
        batch = Batch(len(calls), longest_s)
        begun = time.perf_counter_ns()
        if workers == 1:
            await self._work(bound, batch, None)
        elif any(one.is_async for one in bound):
            with ThreadPoolExecutor(workers) as threads:
                await asyncio.gather(*(self._work(bound, batch, threads) for _ in range(workers)))
        else:
            await asyncio.to_thread(self._work_in_threads, bound, batch, workers)
        wall = time.perf_counter_ns() - begun
        made = batch.next
        for index, call in enumerate(calls[:made]):
            if index not in batch.errors:
                try:
                    batch.results[index] = checked(call, batch.results[index])
                except Exception as error:  # noqa: BLE001 - a result may raise anything when it is looked at
                    batch.results[index] = None
                    batch.errors[index] = f"wrong result: {_text(error)}"
        return {
            "took_ns": batch.took_ns[:made],
            "begun_ns": [at - begun for at in batch.begun_ns[:made]],
            "wall_ns": wall,
            "results": batch.results[:made],
            "errors": sorted(batch.errors.items()),
            "workers": workers,
        }

    async def overhead(self, count: int, workers: int) -> dict[str, Any]:
        """What measuring takes itself: batches of calls that do nothing, plain and as coroutines, under as many workers
        as this system would have."""
        empty = Driver(Empty(), self._channel)
        empty.concurrent = self.concurrent
        found = {}
        for name in ("call", "acall"):
            answer = await empty.calls([[name]] * count, workers)
            found[name] = {"took_ns": answer["took_ns"], "wall_ns": answer["wall_ns"]}
        return found

    def is_async(self, method: str) -> bool:
        """Whether a method of the system is a coroutine function."""
        return _is_async(getattr(self.system, method, None))

    def _bind(self, call: Call) -> Bound:
        name, *arguments = call
        method = getattr(self.system, name, None)
        if method is None:
            raise AttributeError(f"the system has no method {name}")
        if name == "store":
            text, metadata, session, stamp = arguments
            keywords = {"metadata": metadata, "session": session, "timestamp": stamp}
            return Bound(method, (text,), keywords, _is_async(method))
        if name == "recall":
            return Bound(method, (arguments[0],), {"k": arguments[1]}, _is_async(method))
        return Bound(method, tuple(arguments), {}, _is_async(method))

    async def _work(self, bound: list[Bound], batch: Batch, threads: ThreadPoolExecutor | None) -> None:
        clock = time.perf_counter_ns
        while (index := batch.take()) is not None:
            method, arguments, keywords, is_async = one = bound[index]
            if threads is not None and not is_async:
                await asyncio.get_running_loop().run_in_executor(threads, self._once, one, batch, index)
            else:
                begun = clock()
                try:
                    result = method(*arguments, **keywords)
                    if is_async:
                        result = await result
                    took = clock() - begun
                    if hasattr(result, "__await__"):  # a plain function that gives an awaitable
                        result = await result
                        took = clock() - begun
                    batch.results[index] = result
                except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a system raises is its failure
                    took = clock() - begun
                    batch.errors[index] = _text(error)
                batch.begun_ns[index] = begun
                batch.took_ns[index] = took
            batch.done += 1
            self._channel.progress(batch.done)

    def _once(self, bound: Bound, batch: Batch, index: int) -> None:
        method, arguments, keywords, _ = bound
        begun = time.perf_counter_ns()
        try:
            result = method(*arguments, **keywords)
            took = time.perf_counter_ns() - begun
            batch.results[index] = result
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a system raises is its failure
            took = time.perf_counter_ns() - begun
            batch.errors[index] = _text(error)
        batch.begun_ns[index] = begun
        batch.took_ns[index] = took

    def _work_in_threads(self, bound: list[Bound], batch: Batch, workers: int) -> None:
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    index = batch.take()
                if index is None:
                    return
                self._once(bound[index], batch, index)
                with lock:
                    batch.done += 1
                self._channel.progress(batch.done)

        started = [threading.Thread(target=work, name=f"worker {n}") for n in range(workers)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()


def checked(call: Call, result: Any) -> Any:
    """A result as data, or TypeError or ValueError that says what is wrong with its shape."""
    method = call[0]
    if method == "recall":
        hits = [_hit(hit) for hit in _several(result, "hits")]
        if len(hits) > call[2]:
            raise ValueError(f"recall gave {len(hits)} hits where at most {call[2]} were asked for")
        return hits
    if method == "store":
        ids = _several(result, "ids")
        for one in ids:
            if not isinstance(one, str):
                raise TypeError(f"store gave an id of type {type(one).__name__}, not str")
        return ids
    if method == "store_many":
        lists = [checked(["store"], ids) for ids in _several(result, "lists of ids")]
        if len(lists) != len(call[1]):
            raise ValueError(f"store_many gave ids of {len(lists)} memories where {len(call[1])} were stored")
        return lists
    if method == "tier_of":
        if result not in TIERS:
            raise ValueError(f"tier_of gave {str(result)[:60]!r}, not hot, warm, cold or None")
        return result
    if method == "synthesize" and not isinstance(result, str):
        raise TypeError(f"synthesize gave {type(result).__name__}, not str")
    return result if isinstance(result, (str, int, float, bool)) else None


def _several(result: Any, what: str) -> list[Any]:
    if result is None or isinstance(result, (str, bytes, dict)):
        raise TypeError(f"it gave {type(result).__name__}, not a list of {what}")
    try:
        return list(result)
    except TypeError:
        raise TypeError(f"it gave {type(result).__name__}, not a list of {what}") from None


def _hit(hit: Any) -> list[Any]:
    try:
        identifier, text, score = hit
    except (TypeError, ValueError):
        raise TypeError(f"recall gave {type(hit).__name__} in place of a hit (id, text, score)") from None
    if not isinstance(identifier, str) or not isinstance(text, str):
        raise TypeError(
            f"recall gave a hit whose id is {type(identifier).__name__} and whose text is {type(text).__name__}; "
            "both must be str"
        )
    return [identifier, text, float(score)]


def _is_async(method: Any) -> bool:
    return inspect.iscoroutinefunction(method)


def _text(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an error whose text fails has none
        text = ""
    return f"{type(error).__name__}: {text}"[:LONGEST_ERROR] if text else type(error).__name__


async def _maybe(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result


def _make(factory: str, options: dict[str, Any]) -> Any:
    module, _, name = factory.partition(":")
    made: Any = importlib.import_module(module)
    for part in name.split("."):
        made = getattr(made, part)
    return made(**options)


async def _answer(request: dict[str, Any], driver: Driver) -> dict[str, Any]:
    what = request["do"]
    system = driver.system
    if what == "calls":
        return await driver.calls(request["calls"], request["workers"], request["longest_s"])
    if what == "overhead":
        return await driver.overhead(request["count"], request["workers"])
    if what == "info":
        info = dict(await _maybe(system.info()))
        driver.concurrent = bool(info.get("concurrent"))
        optional = ("update", "delete", "tier_of", "synthesize", "store_many")
        offers = [name for name in optional if callable(getattr(system, name, None))]
        waits = [name for name in (*optional, "store", "recall") if driver.is_async(name)]
        return {"info": json.loads(json.dumps(info, default=str)), "offers": offers, "coroutines": waits}
    if what in ("flush", "reset", "close"):
        begun = time.perf_counter_ns()
        await _maybe(getattr(system, what)())
        return {"took_ns": time.perf_counter_ns() - begun}
    raise ValueError(f"the child knows no request {what!r}")


async def _serve(channel: Channel) -> None:
    from pathlib import Path

    loop = asyncio.get_running_loop()
    requests: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def listen() -> None:
        # Reads in a thread, so that the end of the host is seen whatever the system does on the loop.
        try:
            while (request := channel.read()) is not None:
                loop.call_soon_threadsafe(requests.put_nowait, request)
        finally:
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=listen, name="host", daemon=True).start()
    driver: Driver | None = None
    while True:
        request = await requests.get()
        try:
            if request["do"] == "start":
                sys.path[:0] = [entry for entry in request["path"] if entry not in sys.path]
                begun = time.perf_counter_ns()
                driver = Driver(_make(request["factory"], request["options"]), channel)
                made = time.perf_counter_ns()
                await _maybe(
                    driver.system.initialize(Path(request["workdir"]), request["model_url"], int(request["dim"]))
                )
                opened = time.perf_counter_ns()
                answer: dict[str, Any] = {"import_ns": made - begun, "initialize_ns": opened - made}
                answer["pid"] = os.getpid()
            else:
                assert driver is not None
                answer = await _answer(request, driver)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is told to the host, who decides
            answer = {"failed": _text(error)}
        channel.send(answer)
        if request["do"] == "close":
            return


def _adopt(folder: str) -> None:
    """Makes the package importable from its folder, and nothing else that lies beside it."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(
        "perfsuite", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["perfsuite"] = module
    spec.loader.exec_module(module)


def main() -> None:
    """Serves the socket whose number is the first argument, until the host closes it."""
    number = int(sys.argv[1])
    os.set_inheritable(number, False)  # what the system starts must not keep the talk open
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    _adopt(folder)
    talk = socket.socket(fileno=number)
    talk.setblocking(True)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        asyncio.run(_serve(Channel(talk)))
    # What a system leaves running (threads, loops) must not keep the process: its files are closed by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
