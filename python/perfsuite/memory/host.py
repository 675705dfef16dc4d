"""A memory system in a process of its own, and the batches of calls that are made on it.

The child (child.py, held by guard.py) times each call around it alone and sends the samples back with the results:
pipes, encoding and this process are in no figure.  A child that hangs, dies or talks nonsense is a SystemFailed with
what it said last; no process of the tree, none that left it, and no temporary file outlives the ``async with``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from perfsuite import pythonpath
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.memory.child import LENGTH
from perfsuite.memory.operations import Item, Operation, Outcome, Overhead, as_call, as_outcome
from perfsuite.memory.registry import Known
from perfsuite.memory.usage import Usage, usage_of
from perfsuite.scratch import scratch_folder

__all__ = ["Failing", "Hosted", "Item", "Operation", "Outcome", "Overhead", "SystemFailed"]

TIMEOUT_S = 60.0
LOOK_S = 0.5
GUARD_S = 10.0
"""For the guard to kill what is left, before it is killed itself."""
TAIL_BYTES = 8192
BATCH = 2000
"""Calls that are sent at once: it bounds what the child holds for the measuring's sake."""
LARGEST_FRAME = 1 << 30

Failing = Literal["start", "refused", "hung", "died", "garbage"]


class SystemFailed(PerfsuiteError):
    """A system is gone, or could not do what was asked of it at all.

    ``kind``: ``start`` (it could not be opened), ``refused`` (a request as a whole failed), ``hung``, ``died``,
    ``garbage`` (its process broke the protocol).  ``last_words`` is what it printed last.  ``done``: calls of the batch
    that are known to have been through.
    """

    def __init__(self, kind: Failing, text: str, last_words: str = "", done: int = 0) -> None:
        words = f"; it said last: {last_words.splitlines()[-1][:300]}" if last_words else ""
        super().__init__(text + words)
        self.kind = kind
        self.last_words = last_words
        self.done = done


class Hosted:
    """A running system.  Made by ``Hosted.start``; its methods are not to overlap."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], workdir: Path, timeout_s: float) -> None:
        self.name = name
        self.workdir = workdir
        self.offers: frozenset[str] = frozenset()
        self.import_ms = 0.0
        self.initialize_ms = 0.0
        self._process = process
        self._pid = process.pid
        self._timeout_s = timeout_s
        self._meter: Callable[[], Mapping[str, float]] | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._info: dict[str, Any] | None = None
        self._coroutines: frozenset[str] = frozenset()
        self._gone: SystemFailed | None = None
        self._tail = bytearray()
        self._drain = threading.Thread(target=self._drained, name=f"output of {name}", daemon=True)
        self._drain.start()

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        name: str,
        *,
        workdir: Path,
        model_url: str | None = None,
        dim: int = 384,
        python: Path | str | None = None,
        timeout_s: float = TIMEOUT_S,
        start_timeout_s: float | None = None,
        options: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        model_meter: Callable[[], Mapping[str, float]] | None = None,
    ) -> AsyncIterator[Hosted]:
        """The system of that name (registry.find), opened on ``workdir``: its state is what the folder holds.

        ``python``: the interpreter to run it under [the one of its own environment where it needs one, else this one].
        ``timeout_s``: a call that takes longer hangs, and a start that takes longer than ``start_timeout_s`` [what the
        registry has for the system].  ``options`` are the keyword arguments of its class,
        ``environment`` variables for its process.  ``model_meter`` gives what the model's endpoint has counted for it
        up to now, by name; differences of it are the outcome's ``model``.

        Raises UsageError for a name that is not known or a system that is not installed, SystemFailed where it cannot
        be started.
        """
        from perfsuite.memory import registry

        system = registry.find(name)
        python = _python_for(system, python)
        foreign = str(python) != sys.executable
        with scratch_folder("system") as temporary:  # apart from workdir, which is its state
            own = {"TMPDIR": str(temporary), **(environment or {})}
            ours, theirs = socket.socketpair()
            try:
                with theirs:
                    process = _spawn(python, theirs.fileno(), workdir, foreign, own)
                hosted = cls(system.name, process, workdir, timeout_s)
            except BaseException:
                ours.close()
                raise
            try:
                hosted._reader, hosted._writer = await asyncio.open_connection(sock=ours)
                request = {
                    "do": "start",
                    "factory": system.factory,
                    "options": dict(options or {}),
                    "path": [] if foreign else _import_path(name),
                    "workdir": pythonpath.absolute([workdir])[0],
                    "model_url": model_url,
                    "dim": dim,
                }
                longest = system.start_s if start_timeout_s is None else start_timeout_s
                what = f"start (waiting for {system.waits_for})" if system.waits_for else "start"
                answer = await hosted._ask(request, what, longest)
                hosted._pid = answer["pid"]
                hosted.import_ms = answer["import_ns"] / 1e6
                hosted.initialize_ms = answer["initialize_ns"] / 1e6
                await hosted.info()
                hosted._meter = model_meter
                yield hosted
                await hosted.close()
            finally:
                await hosted.kill()

    @property
    def pid(self) -> int:
        """The system's process id; it leads a process group of its own."""
        return self._pid

    @property
    def last_words(self) -> str:
        """The end of what the system printed."""
        return bytes(self._tail).decode("utf-8", "replace").strip()

    async def info(self) -> dict[str, Any]:
        """What the system says of itself (base.MemorySystem.info)."""
        if self._info is None:
            answer = await self._ask({"do": "info"}, "info", self._timeout_s)
            self._info = dict(answer["info"])
            self.offers = frozenset(answer["offers"])
            self._coroutines = frozenset(answer["coroutines"])
        return self._info

    async def store(self, items: Sequence[Item]) -> Outcome:
        """Stores memories one by one; results: the ids that each became."""
        return await self._calls([as_call("store", (item,)) for item in items])

    async def store_many(self, items: Sequence[Item]) -> Outcome:
        """Stores memories together, in one call whose result is a list of ids for each.  Where ``"store_many" in
        offers``; it takes texts alone."""
        return await self._batch([["store_many", [item.text for item in items]]], 1)

    async def recall(self, queries: Sequence[str], k: int = 5) -> Outcome:
        """Asks one question after the other; results: lists of at most ``k`` Hits."""
        return await self._calls([["recall", query, k] for query in queries])

    async def update(self, changes: Sequence[tuple[str, str]]) -> Outcome:
        """Gives memories, by id, another text.  Where ``"update" in offers``."""
        return await self._calls([["update", identifier, text] for identifier, text in changes])

    async def delete(self, identifiers: Sequence[str]) -> Outcome:
        """Forgets memories.  Where ``"delete" in offers``."""
        return await self._calls([["delete", identifier] for identifier in identifiers])

    async def tier_of(self, identifiers: Sequence[str]) -> Outcome:
        """Where memories are; results: hot, warm, cold or None.  Where ``"tier_of" in offers``."""
        return await self._calls([["tier_of", identifier] for identifier in identifiers])

    async def synthesize(self, queries: Sequence[str]) -> Outcome:
        """Results: a text for each.  Where ``"synthesize" in offers``."""
        return await self._calls([["synthesize", query] for query in queries])

    async def mixed(self, operations: Sequence[Operation], workers: int, *, longest_s: float | None = None) -> Outcome:
        """A mix of calls under so many concurrent workers, as one batch; fewer where the system's calls may not overlap
        (``Outcome.workers``).  After ``longest_s`` no further call is made: the outcome has the first ones only."""
        if workers < 1:
            raise UsageError(f"the number of workers must be 1 or more, not {workers}")
        return await self._batch([as_call(one.method, one.arguments) for one in operations], workers, longest_s)

    async def flush(self) -> float:
        """Returns when what was stored is durable and the background is at rest; how long that took, in ms."""
        answer = await self._ask({"do": "flush"}, "flush", self._timeout_s)
        return float(answer["took_ns"]) / 1e6

    async def reset(self) -> None:
        """Forgets everything."""
        await self._ask({"do": "reset"}, "reset", self._timeout_s)

    async def close(self) -> None:
        """Closes the system and ends its process.  Closing twice is harmless."""
        if self._gone is None and self._process.poll() is None:
            await self._ask({"do": "close"}, "close", self._timeout_s)
            self._gone = SystemFailed("refused", f"{self.name} is closed")

    async def kill(self) -> None:
        """SIGKILL to its whole process tree, as a crash would; returns when it is gone."""
        if self._gone is None:
            self._gone = SystemFailed("died", f"{self.name} was killed")
        if hasattr(self, "_writer"):
            self._writer.close()
        await asyncio.to_thread(self._end)

    def rusage(self) -> Usage:
        """What its process tree holds and has used by now, and the bytes of its folder."""
        return usage_of(self._process.pid, self.pid, self.workdir)

    async def overhead(self, method: str, *, workers: int = 1, count: int = 2000) -> Overhead:
        """What measuring a call of ``method`` takes here and now, by calls that do nothing."""
        answer = await self._ask({"do": "overhead", "count": count, "workers": workers}, "overhead", self._timeout_s)
        return Overhead.of(answer["acall" if method in self._coroutines else "call"], count)

    async def _calls(self, calls: Sequence[list[Any]]) -> Outcome:
        outcome = Outcome()
        for start in range(0, len(calls), BATCH):
            outcome.extend(await self._batch(calls[start : start + BATCH], 1))
        return outcome

    async def _batch(self, calls: Sequence[list[Any]], workers: int, longest_s: float | None = None) -> Outcome:
        if not calls:
            return Outcome()
        before = dict(self._meter()) if self._meter is not None else {}
        what = calls[0][0] if all(call[0] == calls[0][0] for call in calls) else "a mix of calls"
        request = {"do": "calls", "calls": list(calls), "workers": workers, "longest_s": longest_s}
        answer = await self._ask(request, what, self._timeout_s)
        after = self._meter() if self._meter is not None else {}
        try:
            outcome = as_outcome(calls, answer)
        except (KeyError, TypeError, ValueError) as error:
            raise self._failed("garbage", f"{self.name} answered {what} with garbage: {error!r}") from error
        outcome.model = {name: value - before.get(name, 0.0) for name, value in after.items()}
        return outcome

    async def _ask(self, request: Mapping[str, Any], what: str, timeout_s: float) -> dict[str, Any]:
        """The answer to one request; raises SystemFailed where there is none, the child dead then."""
        if self._gone is not None:
            raise SystemFailed(self._gone.kind, str(self._gone))
        data = json.dumps(request, default=str).encode("ascii")
        answering = asyncio.ensure_future(self._talk(data))
        progress = self._progress = [0]
        seen, quiet = 0, 0.0
        try:
            while not (await asyncio.wait({answering}, timeout=min(LOOK_S, timeout_s)))[0]:
                quiet = 0.0 if progress[0] != seen else quiet + min(LOOK_S, timeout_s)
                seen = progress[0]
                if quiet >= timeout_s:
                    text = f"{self.name} hung in {what}: nothing came of a call for {timeout_s:g} s; it was killed"
                    raise await self._ended("hung", text, seen)
            answer = answering.result()
        except (OSError, EOFError):
            raise await self._ended("died", f"{self.name} died in {what}", progress[0]) from None
        except (ValueError, TypeError) as error:
            raise await self._ended("garbage", f"{self.name} answered {what} with garbage: {error}", 0) from error
        finally:
            answering.cancel()
        if "failed" in answer:
            starting = request["do"] == "start"
            kind: Failing = "start" if starting else "refused"
            text = f"{self.name} could not {'be started' if starting else f'do {what}'}: {answer['failed']}"
            raise SystemFailed(kind, text, self.last_words)
        return answer

    async def _talk(self, data: bytes) -> dict[str, Any]:
        self._writer.write(LENGTH.pack(len(data)) + data)
        await self._writer.drain()
        while True:
            (size,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            if size > LARGEST_FRAME:
                raise ValueError(f"a frame of {size:,} bytes")
            answer = json.loads(await self._reader.readexactly(size))
            if not isinstance(answer, dict):
                raise TypeError(f"a frame that is {type(answer).__name__}")
            if "progress" not in answer:
                return answer
            self._progress[0] = int(answer["progress"])

    async def _ended(self, kind: Failing, text: str, done: int) -> SystemFailed:
        """Kills what is left and says how it ended."""
        if kind == "died":
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, 2.0)
        code = self._process.poll()
        await asyncio.to_thread(self._end)
        how = "" if kind != "died" or code is None else f" ({_how_it_ended(code)})"
        return self._failed(kind, text + how, done)

    def _failed(self, kind: Failing, text: str, done: int = 0) -> SystemFailed:
        self._gone = SystemFailed(kind, text, self.last_words, done)
        return self._gone

    def _end(self) -> None:
        """Kills the tree, and returns when all of its output is read."""
        _kill_tree(self._process)
        self._process.wait()
        self._drain.join(timeout=2.0)

    def _drained(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output, contextlib.suppress(OSError, ValueError):
            while piece := os.read(output.fileno(), 1 << 16):
                self._tail += piece
                del self._tail[:-TAIL_BYTES]


def _python_for(system: Known, asked: Path | str | None) -> Path | str:
    """The interpreter that a system runs under; UsageError where it is not installed."""
    from perfsuite.memory import environments, registry

    if asked is not None:
        return asked
    if registry.shares_this_environment(system):
        return sys.executable
    lacking = registry.missing(system.name)
    if lacking is not None:
        raise UsageError(lacking)
    return environments.python_of(system) or sys.executable


def _import_path(name: str) -> list[str]:
    """Where the child looks for a system: as here, and for a user's ``module:Class`` in the current folder first."""
    return pythonpath.absolute([*(["."] if ":" in name else []), *sys.path])


def _spawn(
    python: Path | str, number: int, workdir: Path, foreign: bool, extra: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    workdir.mkdir(parents=True, exist_ok=True)
    own = pythonpath.without() if foreign else os.environ  # its own packages, not those of this environment
    environment = {**own, "PYTHONUNBUFFERED": "1", **extra}
    command = [str(python), "-I", "-S", str(Path(__file__).with_name("guard.py")), str(number)]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(number,),
            cwd=workdir,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise SystemFailed("start", f"cannot start {python}: {error.strerror or error}") from error


def _kill_tree(guard: subprocess.Popen[bytes]) -> None:
    """Kills what the guard holds; it ends of itself when nothing is left of that, and the host need not see it all."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for one in psutil.Process(guard.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                one.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        guard.wait(GUARD_S)
    guard.kill()


def _how_it_ended(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"
    return f"exit status {code}"
