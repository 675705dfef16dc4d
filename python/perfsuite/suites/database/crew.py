"""The workers, as the benchmark sees them: started together, asked together, none left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING

from perfsuite import pythonpath
from perfsuite.errors import PerfsuiteError
from perfsuite.suites.database.work import Done, Opening, Work

if TYPE_CHECKING:
    from perfsuite.database.opening import Opened
    from perfsuite.database.queries import NamedQuery

LONGEST_SLICE_S = 1.0
SHORTEST_SLICE_S = 0.02
"""Of time that a crew is given for one kind of work before the next has its turn."""
TOGETHER_S = 0.01
"""From the message to the first query: so long it takes until the last worker has read it."""
START_S = 30.0
"""In which the processes must be up."""
PATIENCE_S = 30.0
"""Beyond its time, until a worker counts as hung: a statement waits 5 s for a lock."""
_LEAVE_S = 2.0


class CrewLost(PerfsuiteError):
    """A worker hangs or is gone; the benchmark cannot go on."""


class Crew:
    """``workers`` processes, each with a connection of its own.  To be used from one thread at a time."""

    def __init__(self, database: Opened, workers: int, *, patience_s: float = PATIENCE_S) -> None:
        self._database = database
        self.workers = workers
        self._patience_s = patience_s
        self._pipes: list[Connection] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Crew:
        pairs = [multiprocessing.Pipe() for _ in range(self.workers)]
        self._pipes = [mine for mine, _ in pairs]
        numbers = [theirs.fileno() for _, theirs in pairs]
        command = [sys.executable, "-P", "-m", "perfsuite.suites.database.worker", ",".join(map(str, numbers))]
        try:
            # A session of its own: Ctrl-C is this process's to hear, and all of them end by one signal.
            self._process = subprocess.Popen(
                command,
                env={**os.environ, pythonpath.VARIABLE: pythonpath.joined([pythonpath.package()])},
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            self.close()
            raise
        finally:
            for _, theirs in pairs:
                theirs.close()
        for number, pipe in enumerate(self._pipes):
            pipe.send(Opening(url=self._database.reveal(), ours=self._database.ours, number=number))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The first of its processes, which the others are children of, while they run."""
        assert self._process is not None
        return self._process.pid

    def up(self) -> list[int]:
        """Returns their process ids when all of them can be asked: the start of Python is no part of a measurement.
        Raises CrewLost."""
        ready = self._pipes
        deadline = time.monotonic() + START_S
        while waiting := [pipe for pipe in ready if not pipe.poll(0)]:
            if time.monotonic() > deadline or not wait(waiting, timeout=START_S):
                raise CrewLost(f"{len(waiting)} of {self.workers} workers did not start within {START_S:g} s")
        try:
            return [self.pid, *(pipe.recv() for pipe in self._pipes)]
        except (EOFError, OSError) as error:
            raise CrewLost("a worker ended before it was asked anything") from error

    def run(self, query: NamedQuery, seconds: float, seed: str) -> Done:
        """The query by all workers at a time, for ``seconds``; what came of it together.  Raises CrewLost."""
        start_ns = time.monotonic_ns() + int(TOGETHER_S * 1e9)
        work = Work(query=query, seconds=seconds, start_ns=start_ns, seed=seed)
        whole = Done()
        waiting = dict(enumerate(self._pipes))
        try:
            for pipe in self._pipes:
                pipe.send(work)
            deadline = time.monotonic() + seconds + self._patience_s
            while waiting:
                ready = wait(list(waiting.values()), timeout=max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise CrewLost(
                        f"{len(waiting)} of {self.workers} workers have not come back from {query.name!r} for "
                        f"{self._patience_s:g} s: the database does not answer"
                    )
                for number, pipe in list(waiting.items()):
                    if pipe in ready:
                        whole.take(pipe.recv())
                        del waiting[number]
        except (EOFError, OSError) as error:
            raise CrewLost(f"a worker ended in {query.name!r}: {error or 'its pipe is closed'}") from error
        return whole

    def close(self) -> None:
        """Ends them: those that are in a statement too."""
        for pipe in self._pipes:
            pipe.close()
        self._pipes = []
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_S)
        with contextlib.suppress(ProcessLookupError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
