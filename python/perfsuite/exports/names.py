"""How files are named where a document says it: the results of the memory suite's benchmarks, and their baselines."""

from __future__ import annotations

DOCUMENTED = {
    "latency": "latency_tier_latency",
    "throughput": "throughput_concurrent_throughput",
    "footprint": "footprint_memory_footprint",
}
"""By benchmark, without the time and the ending; every other is named by its phase."""
