"""Threads for a user's function that nobody has to wait for."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Work = tuple["Future[Any]", Callable[[], Any]]


class DaemonThreads(Executor):
    """A pool of ``most`` threads that start as they are needed.

    ThreadPoolExecutor's are joined when the interpreter ends, so that one function that hangs would keep a finished run
    from ever ending; these are daemons.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._threads = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Calls it in a thread; RuntimeError after ``shutdown``."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("these threads are shut down")
            self._queue.put((future, lambda: fn(*args, **kwargs)))
            if not self._idle.acquire(blocking=False) and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._threads}", daemon=True).start()
        return future

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            future, call = work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # noqa: BLE001 - whoever awaits the future gets it
                    future.set_exception(error)
            del work, future, call  # an idle thread holds on to nothing
            self._idle.release()
        self._queue.put(None)  # for the next one

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = True) -> None:
        """Lets idle threads end, and those at work when they are done.  Waits for none, whatever ``wait`` is."""
        with self._lock:
            self._closed = True
            with contextlib.suppress(Empty):
                while cancel_futures:
                    work = self._queue.get_nowait()
                    if work is not None:
                        work[0].cancel()
            self._queue.put(None)
