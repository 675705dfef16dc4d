"""What a process tree holds and has used, and the bytes of a folder."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from perfsuite.process_tree import pss_bytes

BLOCK = 512
"""What stat counts blocks in, whatever the file system's own are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """``resident_bytes``: resident set size, summed over the tree.  ``memory_bytes``: its proportional set size where
    the kernel shows it (``memory_kind`` "PSS"), else the resident one ("RSS").  ``peak_bytes``: the most that the
    system's own process was resident with, 0 where the kernel does not say.  ``cpu_s``: processor time of the tree,
    that of children that have ended included.  ``disk_bytes``: what the folder's files occupy; ``file_bytes``: their
    lengths."""

    resident_bytes: int
    memory_bytes: int
    memory_kind: str
    peak_bytes: int
    cpu_s: float
    threads: int
    processes: int
    disk_bytes: int
    file_bytes: int


def usage_of(guard: int, system: int, folder: Path) -> Usage:
    """Of all that ``guard`` holds but itself, ``system`` the first of them, and of the folder.  Of processes that have
    ended the processor time counts alone."""
    import psutil

    resident = proportional = threads = processes = 0
    cpu = 0.0
    kind = "PSS"
    tree: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(guard)
        tree = root.children(recursive=True)
        times = root.cpu_times()
        cpu = times.children_user + times.children_system  # of detached processes that have ended
    for process in tree:
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue  # it has ended, and the guard has not looked yet
            rss = int(process.memory_info().rss)
            times = process.cpu_times()
            pss = pss_bytes(process.pid)
            if pss is None:
                kind = "RSS"
            resident += rss
            proportional += rss if pss is None else pss
            cpu += times.user + times.system + times.children_user + times.children_system
            threads += process.num_threads()
            processes += 1
    disk, length = folder_bytes(folder)
    return Usage(
        resident_bytes=resident,
        memory_bytes=proportional,
        memory_kind=kind,
        peak_bytes=_peak(system),
        cpu_s=cpu,
        threads=threads,
        processes=processes,
        disk_bytes=disk,
        file_bytes=length,
    )


def folder_bytes(folder: Path) -> tuple[int, int]:
    """(occupied, length) of a folder's files, those of folders in it too; links are not followed."""
    occupied = length = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it went meanwhile
                status = os.lstat(os.path.join(path, name))
                occupied += status.st_blocks * BLOCK
                length += status.st_size
    return occupied, length


def _peak(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
