"""Locks that a forked child can take, whoever held them in the parent."""

from __future__ import annotations

import _thread
import os
import weakref

_LOCKS: weakref.WeakSet[Lock] = weakref.WeakSet()


class Lock:
    """A lock for ``with``; in a forked child it is free, for the thread that held it is not there."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def _after_fork() -> None:
    for lock in _LOCKS:
        lock._lock = _thread.allocate_lock()


os.register_at_fork(after_in_child=_after_fork)
