"""One heap and one timer for everything that is due at an instant.

The event loop's own timers are rounded up to milliseconds and cost an object each; 512 streams of 20 ms tokens are
25,600 wake-ups a second.  Here a Linux timerfd is set to the earliest instant of the heap, whatever is due when it
fires is run in one go, and a stream that goes on is put back with its next instant.  Where there is no timerfd, the
loop's timer is used and ``precise`` is False.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from perfsuite.loadgen.alarm import make_timer

SECOND = 1_000_000_000
MOST_AT_ONCE = 512
"""So many are run before the loop looks at its sockets again."""

Step = Callable[[int], int]
"""Called at its instant with that instant; returns the next, or 0 for none."""


class Pacer:
    """Runs steps when they are due.  Of one event loop; to be closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heap: list[tuple[int, int, Step]] = []
        self._order = count()
        self._armed = 0
        self._running = False
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._fd = -1
        try:
            self._fd, self._set = make_timer()
            self._loop.add_reader(self._fd, self._expired)
        except (OSError, NotImplementedError, AttributeError):
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        self.precise = self._fd >= 0

    def __len__(self) -> int:
        """Steps that wait."""
        return len(self._heap)

    def at(self, due_ns: int, step: Step) -> None:
        """Runs ``step`` at an instant of ``time.monotonic_ns``, or as soon as may be after it."""
        if self._closed:
            return
        heappush(self._heap, (due_ns, next(self._order), step))
        if not self._running and (not self._armed or due_ns < self._armed):
            self._arm(due_ns)

    def catch_up(self) -> None:
        """Runs what is due by now: a burst of requests, read in one turn of the loop, must not hold back tokens."""
        if not self._running and self._heap and self._heap[0][0] <= time.monotonic_ns():
            self._run()

    async def until(self, due_ns: int) -> None:
        """Sleeps until an instant."""
        future = self._loop.create_future()

        def wake(due: int) -> int:
            if not future.done():
                future.set_result(None)
            return 0

        self.at(due_ns, wake)
        await future

    def _arm(self, due_ns: int) -> None:
        self._armed = due_ns
        if self._fd >= 0:
            self._set(self._fd, max(due_ns, 1))
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0, due_ns - time.monotonic_ns()) / SECOND, self._run)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it expired
        self._run()

    def _run(self) -> None:
        if self._closed:
            return
        heap, order, now_ns = self._heap, self._order, time.monotonic_ns
        self._armed = 0
        self._running = True
        left = MOST_AT_ONCE
        try:
            while heap and left:
                due, _, step = heap[0]
                if due > now_ns():
                    break
                heappop(heap)
                following = step(due)
                if following:
                    heappush(heap, (following, next(order), step))
                left -= 1
        finally:
            self._running = False
            if heap and not self._closed:
                self._arm(heap[0][0])

    def close(self) -> None:
        """Releases the timer; what waits is dropped."""
        self._closed = True
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
