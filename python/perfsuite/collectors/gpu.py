"""NVIDIA GPUs, by NVML (``perfsuite[gpu]``): how busy each is, and its memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LACKING = "nvidia-ml-py is not installed: pip install perfsuite[gpu]"
NO_DRIVER = "no NVIDIA driver here"


class GpuCollector:
    """All GPUs of the machine; ``absent`` where there is none, or no driver, or no library."""

    name = "gpu"

    def __init__(self) -> None:
        self.absent: str | None = None
        self._handles: list[Any] = []
        self.names: list[str] = []
        try:
            import pynvml
        except ModuleNotFoundError:
            self.absent = LACKING
            return
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            self.names = [_text(pynvml.nvmlDeviceGetName(handle)) for handle in self._handles]
        except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
            self.absent = NO_DRIVER
        except pynvml.NVMLError as error:
            self.absent = f"NVML: {error}"
        if self.absent is None and not self._handles:
            self.absent = "no NVIDIA GPU here"

    def says(self) -> str:
        """What there is, in words for the result's environment and ``doctor``."""
        return ", ".join(self.names) if self.absent is None else f"absent: {self.absent}"

    def sample(self) -> Mapping[str, float]:
        """Of each GPU by its number ``0_busy_percent``, ``0_memory_bytes`` in use and ``0_memory_percent`` of all."""
        values: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            values[f"{number}_memory_bytes"] = float(memory.used)
            values[f"{number}_memory_percent"] = 100.0 * memory.used / max(memory.total, 1)
            try:
                values[f"{number}_busy_percent"] = float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            except self._nvml.NVMLError:
                continue  # some do not count it, as parts of one that is shared out
        return values


def _text(name: object) -> str:
    """Older versions of the library give bytes."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
