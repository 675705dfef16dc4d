"""What the kernel tells of a process and of those below it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil


def pss_bytes(pid: int) -> int | None:
    """Proportional set size of one process in bytes, or None where the kernel does not show it."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    return None


def children_of(pid: int) -> list[int] | None:
    """The children of a process; None where it has ended, or the kernel has no list of them (CONFIG_PROC_CHILDREN)."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            try:
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_bytes().split())
            except OSError:
                if os.path.exists(f"/proc/{pid}/task/{task}"):
                    return None
    except OSError:
        return None
    return found


def descendants(root: psutil.Process) -> list[psutil.Process]:
    """All processes below one.  Raises psutil.Error when it has ended."""
    found: list[psutil.Process] = []
    open_ids = [root.pid]
    while open_ids:
        below = children_of(open_ids.pop())
        if below is None:
            return root.children(recursive=True)
        for pid in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
                open_ids.append(pid)
    return found


def files_of(process: psutil.Process) -> int:
    """Its open files.  Raises psutil.Error."""
    try:
        told = os.stat(f"/proc/{process.pid}/fd").st_size  # since Linux 6.2; before it is 0
    except OSError:
        told = 0
    return told or process.num_fds()
