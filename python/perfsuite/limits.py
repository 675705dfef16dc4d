"""Rate limits: a token bucket to take from or to wait for, and a bucket for each of many keys.

Both are the generic cell rate algorithm in C (csrc/core/pfs_bucket.c); this module adds the waiting.
"""

from __future__ import annotations

import _thread
import os
import time
import weakref

from perfsuite import _core
from perfsuite._core import RateLimiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["RateLimiter", "TokenBucket"]

_LONGEST_SLEEP_S = 3600.0  # one sleep of a long wait; lock and timer calls overflow on more than some years


class _Line:
    """The waiters of one event loop, first come first served (asyncio.Lock is)."""

    __slots__ = ("lock", "waiting")

    def __init__(self, lock: asyncio.Lock) -> None:
        self.lock = lock
        self.waiting = 0


class TokenBucket(_core.TokenBucket):
    """A bucket of `capacity` tokens, full at first, that gains `rate` tokens a second.

    rate: 0 or more; 0 gives the first `capacity` tokens and never another, infinity gives any number of times.
    capacity: above 0, at most 2**50.  Tokens may be fractions.  Raises ValueError for anything else.

    Safe to use from many threads and event loops.  A clock that steps back neither refills nor drains it.

    clock: called for nanoseconds in place of the monotonic clock (for tests; waits still sleep real time).

    Fairness: the tasks of one event loop that `wait` stand in a line, and so do the threads that `acquire`.  Only the
    first of a line tries, and takes its tokens at the moment it gets them; so nobody in the line overtakes a large
    request, and one who gives up has taken nothing.  Tasks are served in the order in which they came; which thread is
    next, and which line gets the next tokens, is the operating system's choice.  `try_acquire` does not stand in line.
    """

    __slots__ = ("__weakref__", "_lines", "_turn")

    _turn: _thread.LockType
    _lines: dict[asyncio.AbstractEventLoop, _Line]  # only of loops in which somebody waits: a line holds its loop

    def __init__(self, rate: float, capacity: float, *, clock: Callable[[], int] | None = None) -> None:
        self._turn = _thread.allocate_lock()
        self._lines = {}
        _BUCKETS[id(self)] = self

    def acquire(self, n: float = 1, timeout: float | None = None) -> bool:
        """Take n tokens, waiting for them up to `timeout` seconds (None, infinity: as long as it takes); whether taken.

        Other threads run meanwhile and signals are handled (Ctrl-C raises, with nothing taken).  Raises ValueError when
        n tokens can never be there: n above the capacity, or, with no timeout, an empty bucket whose rate is 0.
        """
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout is {timeout!r}; it must be 0 or more seconds, or None to wait without limit")
        if not self._turn.locked() and self.try_acquire(n):
            return True
        self._possible(n)
        deadline = None if timeout is None or timeout == float("inf") else time.monotonic() + timeout
        while not self._turn.acquire(timeout=self._longest(deadline)):
            if deadline is not None and time.monotonic() >= deadline:
                return False
        try:
            while not self.try_acquire(n):
                delay = self.retry_after(n)
                if deadline is None:
                    self._promised(delay, n)
                elif time.monotonic() >= deadline:
                    return False
                time.sleep(min(delay, self._longest(deadline)))
            return True
        finally:
            self._turn.release()

    async def wait(self, n: float = 1) -> None:
        """Take n tokens, waiting for them in the running event loop.

        A wait that is cancelled has taken nothing.  Raises ValueError as `acquire` does.
        """
        if not self._lines and self.try_acquire(n):
            return
        self._possible(n)
        import asyncio

        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line(asyncio.Lock())
        line.waiting += 1
        try:
            async with line.lock:
                while not self.try_acquire(n):
                    delay = self.retry_after(n)
                    self._promised(delay, n)
                    await asyncio.sleep(min(delay, _LONGEST_SLEEP_S))
        finally:
            line.waiting -= 1
            if line.waiting == 0:
                del self._lines[loop]

    def _possible(self, n: float) -> None:
        if self.retry_after(n) == float("inf") and n > self.capacity:  # retry_after refuses what is no number of tokens
            raise ValueError(f"n is {n!r}, more than the capacity of {self.capacity:g}: it can never be taken at once")

    def _promised(self, delay: float, n: float) -> None:
        if delay == float("inf"):
            raise ValueError(f"{n!r} tokens will never be there: the bucket holds {self.available:g} and its rate is 0")

    @staticmethod
    def _longest(deadline: float | None) -> float:
        if deadline is None:
            return _LONGEST_SLEEP_S
        return min(max(deadline - time.monotonic(), 0.0), _LONGEST_SLEEP_S)


_BUCKETS: weakref.WeakValueDictionary[int, TokenBucket] = weakref.WeakValueDictionary()


def _after_fork() -> None:
    """In a forked child: a turn held by a thread that was not forked would never be given back."""
    for bucket in _BUCKETS.values():
        bucket._turn = _thread.allocate_lock()


os.register_at_fork(after_in_child=_after_fork)
