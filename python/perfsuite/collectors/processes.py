"""Memory and CPU of a process tree.

Memory is the proportional set size (PSS: pages shared with others count by their share), summed over the tree, where
the kernel lets it be read (``/proc/PID/smaps_rollup``); otherwise the resident set size, and ``memory_kind`` says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence, Set

import psutil

from perfsuite.errors import UsageError
from perfsuite.process_tree import descendants, files_of, pss_bytes

TREE_AGE_S = 2.0
"""How old the list of children may be: finding them may mean reading every process of the machine."""


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

    @property
    def first(self) -> int:
        """The id of the first root."""
        return self._roots[0].pid

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
