"""Calls with a deadline, each in a thread: Python cannot end a call, only stop waiting for it.

A call that is late is left behind and counted until it ends, for whom it was made (``Owner``): whose calls hang has
further ones refused rather than threads piled up, and everybody else gets threads as before.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from perfsuite.chatloop.forking import Lock
from perfsuite.errors import PerfsuiteError

IDLE_S = 10.0
"""A thread without work ends after so long."""
MOST_HANGING = 64
"""Calls of one owner that were given up and have not ended.  As soon as one hangs, those under way count as well, for
they may come to hang too: an owner whose calls hang never has more."""
MOST_IN_PROCESS = 1024
"""Calls of all owners together that were given up and have not ended; with as many, an owner is refused as soon as one
call of its own hangs.  Those under way by then may come to hang too: nobody is refused for the calls of others."""
NAMED = 5
"""Names of hanging calls that a refusal has."""


class TooManyHanging(PerfsuiteError):
    """As many calls as may be left behind have not ended yet, or the system has no more threads."""


class Owner:
    """Whom calls are made for: a loop's tools, its model.  Knows which of them were given up and have not ended, and
    with ``begun`` how many have not ended at all."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._names: Counter[str] = Counter()
        self.begun = 0

    @property
    def hanging(self) -> Counter[str]:
        """How many, by name.  In a forked child none: their threads are not there."""
        if self._pid != os.getpid():
            self._pid, self._names, self.begun = os.getpid(), Counter(), 0
        return self._names

    def __str__(self) -> str:
        """For a refusal."""
        found = self.hanging.most_common()
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        names = ", ".join(f"{name} {count:,} times" if count > 1 else name for name, count in found[:NAMED])
        return f"{self.hanging.total():,} calls were given up and have not ended ({names}{more})"


Job = tuple["Future[Any]", Owner, contextvars.Context, Callable[..., Any], tuple[Any, ...], dict[str, Any]]


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

    def start(self, owner: Owner, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Calls the function in a thread, in a copy of this context; TooManyHanging when too many of this owner's
        hang, or no thread can be had."""
        future: Future[Any] = Future()
        job = (future, owner, contextvars.copy_context(), function, args, kwargs)
        with self._lock:
            if self._pid != os.getpid():  # a forked child: the threads are not there
                self._pid, self._idle, self._hanging = os.getpid(), [], 0
            most = MOST_HANGING if self._hanging < MOST_IN_PROCESS else 1
            if owner.hanging and owner.begun >= most:
                raise TooManyHanging(f"no worker free: {owner}. Give what they wait for a time-out of its own")
            jobs = self._idle.pop() if self._idle else None
            owner.begun += 1
        if jobs is None:
            jobs = queue.SimpleQueue()
            try:
                threading.Thread(target=self._work, args=(jobs,), name="perfsuite-call", daemon=True).start()
            except RuntimeError as error:
                with self._lock:
                    owner.begun -= 1
                raise TooManyHanging(
                    f"no worker free: the system starts no more threads ({error}); {self._hanging:,} calls in this "
                    "process were given up and have not ended"
                ) from error
        jobs.put(job)
        return future

    def give_up(self, future: Future[Any], owner: Owner, name: str) -> None:
        """Nobody waits for it any more; it is counted as hanging until it ends."""
        with self._lock:
            self._hanging += 1
            owner.hanging[name] += 1
        future.add_done_callback(partial(self._ended, owner, name))

    def _ended(self, owner: Owner, name: str, future: Future[Any]) -> None:
        with self._lock:
            self._hanging -= 1
            owner.hanging[name] -= 1
            if owner.hanging[name] <= 0:
                del owner.hanging[name]
        if not future.cancelled():
            future.exception()  # nobody is there to hear of it: the time-out was the news

    def _work(self, jobs: queue.SimpleQueue[Job]) -> None:
        while True:
            try:
                future, owner, context, function, args, kwargs = jobs.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:
                    if jobs in self._idle:
                        self._idle.remove(jobs)
                        return
                continue  # a job is on its way
            if not future.set_running_or_notify_cancel():  # cancelled before it began: nobody waits for it
                with self._lock:
                    self._idle.append(jobs)
                    owner.begun -= 1
                del future, owner, context, function, args, kwargs
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
                self._idle.append(jobs)  # first, so that who waits finds it idle, and the call over
                owner.begun -= 1
            if failed:
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
            del future, owner, context, function, args, kwargs, outcome


WORKERS = Workers()
"""Those of this process."""
