"""A collector: how many files a process holds open."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class OpenFiles:
    """Of the process of that id, or of this one."""

    name = "open_files"

    def __init__(self, pid: int | None) -> None:
        self._folder = Path("/proc", "self" if pid is None else str(pid), "fd")

    @property
    def absent(self) -> str | None:
        """Another user's process shows none."""
        return None if os.access(self._folder, os.R_OK) else f"{self._folder} cannot be read"

    def sample(self) -> Mapping[str, float]:
        """``count``."""
        return {"count": float(len(os.listdir(self._folder)))}
