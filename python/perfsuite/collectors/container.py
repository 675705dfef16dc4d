"""The container that a process is in: its limits, what it uses of them, and what they cost it.

Read from the kernel's control groups, version 2 or 1 (https://docs.kernel.org/admin-guide/cgroup-v2.html and
cgroup-v1/); a limit is the narrowest of the group's own and of those above it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
PROCESSES = Path("/proc")
UNLIMITED = 1 << 60
"""Bytes from which on version 1 means that there is no limit."""

Values = dict[str, float]


class ContainerCollector:
    """Memory and CPU of the control group of a process; ``groups`` and ``processes`` are where the kernel shows it."""

    name = "container"

    def __init__(self, pid: int | str = "self", groups: Path = GROUPS, processes: Path = PROCESSES) -> None:
        self.absent: str | None = None
        self._memory: list[Path] = []
        self._cpu: list[Path] = []
        self._accounts: Path | None = None
        try:
            paths = _membership((processes / str(pid) / "cgroup").read_text(encoding="utf-8", errors="replace"))
        except OSError as error:
            paths = {}
            self.absent = f"the control group of process {pid} cannot be read: {error.strerror or error}"
        self.version = 2
        unified = _chain(groups, paths.get("", "/"))
        if unified and (unified[0] / "memory.current").exists():
            self._memory = self._cpu = unified
        else:
            self.version = 1
            self._memory = _with(_chain(groups / "memory", paths.get("memory", "/")), "memory.usage_in_bytes")
            self._cpu = _with(_chain(groups / "cpu", paths.get("cpu", "/")), "cpu.stat")
            accounts = _with(_chain(groups / "cpuacct", paths.get("cpuacct", "/")), "cpuacct.usage")
            self._accounts = accounts[0] if accounts else None
        if self.absent is None and not self._memory:
            self.absent = "no control group with memory or CPU of its own here"
        self._used: tuple[float, float] | None = None
        self._first = {} if self.absent else {name: value for name, value in self._read() if name in _SINCE_START}

    def says(self) -> str:
        """What there is, in words for the result's environment and ``doctor``."""
        from perfsuite.units import figure

        if self.absent is not None:
            return f"absent: {self.absent}"
        found = dict(self._read())
        memory = figure(found["memory_limit_bytes"], "bytes") if "memory_limit_bytes" in found else "no limit"
        cores = f"{found['cpu_limit_cores']:g} cores" if "cpu_limit_cores" in found else "no limit"
        return f"control groups v{self.version}: memory {memory}, CPU {cores}"

    def sample(self) -> Mapping[str, float]:
        """``memory_bytes``, ``memory_limit_bytes`` and ``memory_percent`` of it, ``cpu_percent`` (of one core, since
        the last sample), ``cpu_limit_cores``; since the start of the phase ``throttled_seconds``,
        ``throttled_periods`` and ``oom_kills``.  What the kernel does not tell is left out."""
        values = dict(self._read())
        for name, first in self._first.items():
            if name in values:
                values[name] -= first
        if "memory_limit_bytes" in values and "memory_bytes" in values:
            values["memory_percent"] = 100.0 * values["memory_bytes"] / max(values["memory_limit_bytes"], 1.0)
        used, now = values.pop("cpu_seconds", None), time.monotonic()
        if used is not None:
            if self._used is not None and now > self._used[1]:
                values["cpu_percent"] = 100.0 * (used - self._used[0]) / (now - self._used[1])
            self._used = (used, now)
        return values

    def _read(self) -> Iterator[tuple[str, float]]:
        yield from (self._version_2() if self.version == 2 else self._version_1()).items()

    def _version_2(self) -> Values:
        own = self._memory[0]
        values: Values = {}
        _put(values, "memory_bytes", _number(own / "memory.current"))
        _put(values, "memory_limit_bytes", _least(_number(group / "memory.max") for group in self._memory))
        _put(values, "oom_kills", _table(own / "memory.events").get("oom_kill"))
        _put(values, "cpu_limit_cores", _least(_cores(_words(group / "cpu.max")) for group in self._cpu))
        cpu = _table(own / "cpu.stat")
        _put(values, "cpu_seconds", cpu.get("usage_usec"), 1e-6)
        _put(values, "throttled_seconds", cpu.get("throttled_usec"), 1e-6)
        _put(values, "throttled_periods", cpu.get("nr_throttled"))
        return values

    def _version_1(self) -> Values:
        values: Values = {}
        if self._memory:
            own = self._memory[0]
            _put(values, "memory_bytes", _number(own / "memory.usage_in_bytes"))
            limits = (_number(group / "memory.limit_in_bytes") for group in self._memory)
            _put(values, "memory_limit_bytes", _least(x for x in limits if x is not None and x < UNLIMITED))
            _put(values, "oom_kills", _table(own / "memory.oom_control").get("oom_kill"))
        if self._cpu:
            both = ([*_words(g / "cpu.cfs_quota_us"), *_words(g / "cpu.cfs_period_us")] for g in self._cpu)
            _put(values, "cpu_limit_cores", _least(_cores(words) for words in both))
            cpu = _table(self._cpu[0] / "cpu.stat")
            _put(values, "throttled_seconds", cpu.get("throttled_time"), 1e-9)
            _put(values, "throttled_periods", cpu.get("nr_throttled"))
        if self._accounts is not None:
            _put(values, "cpu_seconds", _number(self._accounts / "cpuacct.usage"), 1e-9)
        return values


_SINCE_START = ("throttled_seconds", "throttled_periods", "oom_kills")


def _membership(text: str) -> dict[str, str]:
    """Controller → the path of its group; the unified hierarchy's is under the empty name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon:
            found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _chain(root: Path, path: str) -> list[Path]:
    """The group and those above it, innermost first; in a container, which sees its own group as the root, the root."""
    parts = [part for part in path.split("/") if part]
    if ".." in parts or not root.joinpath(*parts).is_dir():
        parts = []
    return [root.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)] if root.is_dir() else []


def _with(groups: list[Path], file: str) -> list[Path]:
    return groups if groups and (groups[0] / file).exists() else []


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return []


def _number(file: Path) -> float | None:
    words = _words(file)
    return float(words[0]) if words and words[0].isdigit() else None


def _table(file: Path) -> dict[str, float]:
    words = _words(file)
    return {name: float(value) for name, value in zip(words[::2], words[1::2], strict=False) if value.isdigit()}


def _cores(words: list[str]) -> float | None:
    """A quota and a period, in microseconds; no number, or -1, is no limit."""
    limited = len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0
    return int(words[0]) / int(words[1]) if limited else None


def _least(values: Iterator[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _put(values: Values, name: str, value: float | None, scale: float = 1.0) -> None:
    if value is not None:
        values[name] = value * scale
