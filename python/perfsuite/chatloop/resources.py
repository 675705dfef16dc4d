"""Memory, CPU and disk of this process, cheaply enough for a service to look at them all the time."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from perfsuite.chatloop.forking import Lock

PAGE = os.sysconf("SC_PAGE_SIZE")
CPU_OVER_S = 0.5
"""The CPU's use is told of at least so many seconds, however often it is asked for."""
POINTS = 600
"""Of a series of memory, at most one a second: the last ten minutes."""
CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int:
    """Resident memory of this process."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read().split()[1]) * PAGE
    except OSError:  # not Linux
        import psutil

        return int(psutil.Process().memory_info().rss)


def memory_limit_bytes() -> int:
    """What this process may have: its container's limit, or the machine's memory."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in CGROUPS:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return min(total, int(text))
    return total


class Disk(NamedTuple):
    """Bytes that this process read from and wrote to disks; None where the system does not tell."""

    read: int | None
    written: int | None


def disk() -> Disk:
    """Since the process began."""
    import psutil

    try:
        counts = psutil.Process().io_counters()
    except (psutil.Error, AttributeError, NotImplementedError, OSError):
        return Disk(None, None)
    return Disk(int(counts.read_bytes), int(counts.write_bytes))


def memory_percent() -> float:
    """Of the machine's memory, how much is in use by all."""
    import psutil

    return float(psutil.virtual_memory().percent)


class Cpu:
    """This process's share of one core, in per cent (above 100 with several busy threads)."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._mark = (time.monotonic(), time.process_time())
        self._percent = 0.0

    def percent(self) -> float:
        """Since it was last asked for, or since the time before where that is less than CPU_OVER_S ago."""
        with self._lock:
            now, used = time.monotonic(), time.process_time()
            began, before = self._mark
            if now - began >= CPU_OVER_S:
                if used >= before:  # else this is a forked child, whose use begins anew
                    self._percent = 100.0 * (used - before) / (now - began)
                self._mark = (now, used)
            return self._percent


class MemorySeries:
    """Memory by time: the last, the highest, and where it is heading.  Not thread-safe: its owner locks."""

    def __init__(self) -> None:
        self.current: int | None = None
        self.peak: int | None = None
        self._points: deque[tuple[float, float]] = deque(maxlen=POINTS)

    @property
    def age_s(self) -> float:
        """Seconds since the last point; infinite before the first."""
        return time.monotonic() - self._points[-1][0] if self._points else float("inf")

    def add(self, value: int) -> None:
        """Of the values of one second the highest stays."""
        now = time.monotonic()
        self.current = value
        self.peak = value if self.peak is None else max(self.peak, value)
        if self._points and int(self._points[-1][0]) == int(now):
            self._points[-1] = (self._points[-1][0], max(self._points[-1][1], float(value)))
        else:
            self._points.append((now, float(value)))

    def points(self) -> list[tuple[float, float]]:
        """(monotonic seconds, bytes), oldest first."""
        return list(self._points)


def trend_per_minute(points: list[tuple[float, float]]) -> float | None:
    """Bytes a minute by which memory grows (Theil and Sen's line); None for fewer than three points."""
    if len(points) < 3:
        return None
    from perfsuite.stats import trend

    return trend([value for _, value in points], [t for t, _ in points]).slope * 60.0
