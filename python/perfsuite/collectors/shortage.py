"""Whether the CPU was short: how long this process's threads were ready to run and had to wait.

``/proc/self/task/*/schedstat`` (Linux, Documentation/scheduler/sched-stats.rst) counts it for each thread, and
``/proc/stat`` the time that a host of virtual machines gave to others.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TASKS = Path("/proc/self/task")
STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Shortage:
    """``waited``: seconds a second that the process's threads waited for a processor, together.  ``stolen``: the share
    of the machine's time that its host took.  None: this system does not tell.  ``load``: the load average."""

    waited: float | None
    stolen: float | None
    load: float | None


class CpuWatch:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._waits = _waits()
        self._times = _times()

    def seen(self) -> Shortage:
        """What was seen so far.  A thread that has ended meanwhile is left out."""
        elapsed = time.monotonic() - self._at
        waits, times = _waits(), _times()
        waited = stolen = None
        if waits is not None and self._waits is not None and elapsed > 0.0:
            waited = sum(now - self._waits.get(thread, 0) for thread, now in waits.items()) / 1e9 / elapsed
        if times is not None and self._times is not None and times[1] > self._times[1]:
            stolen = (times[0] - self._times[0]) / (times[1] - self._times[1])
        return Shortage(waited, stolen, os.getloadavg()[0] if hasattr(os, "getloadavg") else None)


def _waits() -> dict[str, int] | None:
    """Nanoseconds on the run queue, by thread; None where the kernel does not count them."""
    found: dict[str, int] = {}
    try:
        threads = os.listdir(TASKS)
    except OSError:
        return None
    for thread in threads:
        try:
            fields = (TASKS / thread / "schedstat").read_text(encoding="ascii").split()
        except OSError:
            continue  # it has ended
        if len(fields) >= 2 and fields[1].isdigit():
            found[thread] = int(fields[1])
    return found or None


def _times() -> tuple[int, int] | None:
    """(stolen, all) in ticks, of all processors."""
    try:
        first = STAT.read_text(encoding="ascii", errors="replace").partition("\n")[0].split()
        ticks = [int(field) for field in first[1:9]]
    except (OSError, ValueError):
        return None
    return (ticks[7], sum(ticks)) if first[:1] == ["cpu"] and len(ticks) == 8 else None
