"""Where a run takes place: the part of a result that says which figures may be compared."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import psutil

from perfsuite import __version__
from perfsuite.collectors import said_of
from perfsuite.plugins import Plugin
from perfsuite.result import Environment

PACKAGES = ("bokeh", "msgspec", "psutil", "SQLAlchemy", "zstandard", "lz4", "brotli", "tiktoken")


def environment(stamps: str, named: Sequence[Plugin] = ()) -> Environment:
    """This machine and this Python.  ``stamps``: where the times of a run come from; ``named``: a plan's collectors."""
    resolution = time.get_clock_info("monotonic").resolution
    return Environment(
        host=socket.gethostname(),
        os=f"{platform.system()} {platform.release()}",
        cpu=cpu_name(),
        cores=usable_cores(),
        memory_bytes=psutil.virtual_memory().total,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        perfsuite=__version__,
        commit=commit_of(Path.cwd()),
        clock=f"CLOCK_MONOTONIC, resolution {resolution * 1e9:.0f} ns",
        stamps=stamps,
        packages=versions(),
        collectors=said_of(named),
    )


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: the portable name below
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def commit_of(folder: Path) -> str | None:
    """The git commit that a folder is at, ``+`` appended when there are changes; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def versions() -> dict[str, str]:
    """The installed versions of the packages that figures depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
