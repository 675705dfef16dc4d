"""Wakes a coroutine at an instant of the monotonic clock.

An event loop over epoll rounds its time-outs up to whole milliseconds, so ``call_at`` wakes up to a millisecond late.
A Linux timerfd in the same epoll wakes within tens of microseconds and needs no spinning, which would take the
processor from a target on the same machine.  Where there is none, ``call_at`` is used and ``precise`` is False; what
is late either way is in the recorder's ``lateness``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable

SECOND = 1_000_000_000


class Alarm:
    """One sleeper at a time.  To be closed; also a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._fd = -1
        self._set: Callable[[int, int], None] = _no_timer
        try:
            self._fd, self._set = make_timer()
            self._loop.add_reader(self._fd, self._expired)
        except (OSError, NotImplementedError, AttributeError):  # not Linux, out of descriptors, a loop without readers
            self.close()
        self.precise = self._fd >= 0

    async def until(self, at_ns: int) -> None:
        """Sleeps until a stamp of ``time.monotonic_ns``, or until ``ring``; always lets other tasks run."""
        left = at_ns - time.monotonic_ns()
        if left <= 0:
            await asyncio.sleep(0)
            return
        self._waiting = self._loop.create_future()
        timer = None
        if self._fd >= 0:
            self._set(self._fd, at_ns)
        else:
            timer = self._loop.call_later(left / SECOND, self.ring)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()

    def ring(self) -> None:
        """Wakes the sleeper now, if there is one."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it expired
        self.ring()

    def close(self) -> None:
        """Releases the timer; a sleeper is woken."""
        self.ring()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Alarm:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _no_timer(fd: int, at_ns: int) -> None:
    raise NotImplementedError("there is no timerfd here")


def make_timer() -> tuple[int, Callable[[int, int], None]]:
    """A timerfd on the monotonic clock, and the function that sets one to an instant."""
    if sys.version_info >= (3, 13):
        fd = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

        def set_at(timer: int, at_ns: int) -> None:
            os.timerfd_settime_ns(timer, flags=os.TFD_TIMER_ABSTIME, initial=at_ns)

        return fd, set_at
    return _make_timer_by_ctypes()


def _make_timer_by_ctypes() -> tuple[int, Callable[[int, int], None]]:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)  # AttributeError below where it has no timerfd
    fd = int(libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create failed")
    spec = (ctypes.c_long * 4)()  # struct itimerspec: interval and value, seconds and nanoseconds each

    def set_at(timer: int, at_ns: int) -> None:
        spec[2], spec[3] = divmod(at_ns, SECOND)
        if libc.timerfd_settime(timer, 1, ctypes.byref(spec), None) != 0:  # 1: TFD_TIMER_ABSTIME
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

    return fd, set_at
