"""Calls with a deadline, each in a thread: Python cannot end a call, only stop waiting for it.

A call that is late is left behind and counted until it ends; when too many hang, further calls are refused rather than
threads piled up.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from perfsuite.chatloop.forking import Lock
from perfsuite.errors import PerfsuiteError

IDLE_S = 10.0
"""A thread without work ends after so long."""
MOST_HANGING = 128
"""Calls that were given up and have not ended, in the whole process."""

Job = tuple["Future[Any]", contextvars.Context, Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class TooManyHanging(PerfsuiteError):
    """As many calls as may be left behind have not ended yet."""


class Workers:
    """Threads for calls.  They are daemons: a call that hangs does not keep the process alive."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: list[queue.SimpleQueue[Job]] = []
        self._pid = os.getpid()
        self._hanging = 0

    @property
    def hanging(self) -> int:
        """Calls that were given up and have not ended."""
        return self._hanging

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Calls the function in a thread, in a copy of this context; TooManyHanging when too many hang."""
        future: Future[Any] = Future()
        job = (future, contextvars.copy_context(), function, args, kwargs)
        with self._lock:
            if self._pid != os.getpid():  # a forked child: the threads are not there
                self._pid, self._idle, self._hanging = os.getpid(), [], 0
            if self._hanging >= MOST_HANGING:
                raise TooManyHanging(
                    f"{self._hanging} calls that took too long have not ended yet; no further one is made. Give the "
                    "model and the tools time-outs of their own"
                )
            jobs = self._idle.pop() if self._idle else None
        if jobs is None:
            jobs = queue.SimpleQueue()
            threading.Thread(target=self._work, args=(jobs,), name="perfsuite-call", daemon=True).start()
        jobs.put(job)
        return future

    def give_up(self, future: Future[Any]) -> None:
        """Nobody waits for it any more; it is counted as hanging until it ends."""
        with self._lock:
            self._hanging += 1
        future.add_done_callback(self._ended)

    def _ended(self, future: Future[Any]) -> None:
        with self._lock:
            self._hanging -= 1
        if not future.cancelled():
            future.exception()  # nobody is there to hear of it: the time-out was the news

    def _work(self, jobs: queue.SimpleQueue[Job]) -> None:
        while True:
            try:
                future, context, function, args, kwargs = jobs.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:
                    if jobs in self._idle:
                        self._idle.remove(jobs)
                        return
                continue  # a job is on its way
            if not future.set_running_or_notify_cancel():  # cancelled before it began: nobody waits for it
                del future, context, function, args, kwargs
                with self._lock:
                    self._idle.append(jobs)
                continue
            # From here on, who stops waiting does not end it.
            try:
                result = context.run(function, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                outcome, failed = error, True
            else:
                outcome, failed = result, False
                del result
            with self._lock:
                self._idle.append(jobs)  # first, so that who waits finds it idle
            if failed:
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
            del future, context, function, args, kwargs, outcome


WORKERS = Workers()
"""Those of this process."""
