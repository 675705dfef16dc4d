"""What is sampled beside a run: processes and the host."""

from __future__ import annotations

from perfsuite.collectors.base import Collector, Sampler
from perfsuite.collectors.host import HostCollector
from perfsuite.collectors.processes import ProcessCollector

__all__ = ["Collector", "HostCollector", "ProcessCollector", "Sampler"]
