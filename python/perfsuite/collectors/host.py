"""The machine that a run is on: its CPU, memory and disk."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


class HostCollector:
    """CPU use of all cores, memory in use, and disk traffic since the last sample."""

    name = "host"

    def __init__(self) -> None:
        psutil.cpu_percent()  # the first call only sets the mark that the next one counts from
        self._disk = psutil.disk_io_counters()

    @property
    def absent(self) -> str | None:
        """Never absent."""
        return None

    def sample(self) -> Mapping[str, float]:
        """``cpu_percent`` (of the whole machine), ``memory_percent``, ``disk_read_bytes`` and ``disk_write_bytes``
        since the last sample; the disk's are left out where the system does not count them."""
        values = {"cpu_percent": psutil.cpu_percent(), "memory_percent": psutil.virtual_memory().percent}
        disk = psutil.disk_io_counters()
        if disk is not None and self._disk is not None:
            values["disk_read_bytes"] = float(disk.read_bytes - self._disk.read_bytes)
            values["disk_write_bytes"] = float(disk.write_bytes - self._disk.write_bytes)
        self._disk = disk
        return values
