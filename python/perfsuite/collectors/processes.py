"""Memory and CPU of a process tree.

Memory is the proportional set size (PSS: pages shared with others count by their share), summed over the tree, where
the kernel lets it be read (``/proc/PID/smaps_rollup``); otherwise the resident set size, and ``memory_kind`` says so.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import psutil

from perfsuite.errors import UsageError

TREE_AGE_S = 2.0
"""How old the list of children may be: finding them may mean reading every process of the machine."""


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


class ProcessCollector:
    """The process trees with the given roots; this process when none is given.

    ``own`` are processes of the suite itself, which are not part of what is measured; the set may grow.
    """

    name = "process"

    def __init__(self, pids: Sequence[int] = (), own: Set[int] = frozenset()) -> None:
        self._own = own
        self._roots: list[psutil.Process] = []
        for pid in pids or [os.getpid()]:
            try:
                self._roots.append(psutil.Process(pid))
            except psutil.NoSuchProcess:
                raise UsageError(f"no process {pid} on this machine; --pid: the system under test's") from None
        self._known: dict[int, psutil.Process] = {}
        self._looked = float("-inf")
        self.memory_kind = "PSS" if all(pss_bytes(root.pid) is not None for root in self._roots) else "RSS"

    @property
    def absent(self) -> str | None:
        """Why there is nothing to sample: the processes have ended."""
        return None if any(root.is_running() for root in self._roots) else "the process has ended"

    def memory_bytes(self) -> int:
        """Memory of the tree now."""
        return sum(self._memory_of(process) for process in self._tree())

    def resident_bytes(self) -> int:
        """Resident set size of the tree now; quicker to read than the proportional one."""
        total = 0
        for process in self._tree():
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
        return total

    def sample(self) -> Mapping[str, float]:
        """``memory_bytes``, ``cpu_percent`` (of one core), ``threads``, ``files``, ``processes``."""
        memory = cpu = threads = files = 0.0
        tree = self._tree()
        for process in tree:
            try:
                memory += self._memory_of(process)
                cpu += process.cpu_percent()
                threads += process.num_threads()
                files += files_of(process)
            except psutil.Error:
                continue
        return {
            "memory_bytes": memory,
            "cpu_percent": cpu,
            "threads": threads,
            "files": files,
            "processes": float(len(tree)),
        }

    def _memory_of(self, process: psutil.Process) -> int:
        if self.memory_kind == "PSS":
            found = pss_bytes(process.pid)
            if found is not None:
                return found
        try:
            return int(process.memory_info().rss)
        except psutil.Error:
            return 0

    def _tree(self) -> list[psutil.Process]:
        # Process objects are kept, because cpu_percent is the use since the last call on the same object.
        if time.monotonic() - self._looked < TREE_AGE_S:
            return [process for process in self._known.values() if process.pid not in self._own]
        self._looked = time.monotonic()
        found: dict[int, psutil.Process] = {}
        for root in self._roots:
            try:
                for process in [root, *descendants(root)]:
                    found[process.pid] = self._known.get(process.pid, process)
            except psutil.Error:
                continue
        self._known = found
        return [process for process in found.values() if process.pid not in self._own]
