"""The memory suite under pytest-benchmark, as its document runs it:

    pytest benchmarks/pytest_benchmarks.py -v
    pytest benchmarks/pytest_benchmarks.py -k latency -v
    pytest benchmarks/pytest_benchmarks.py --benchmark-only --benchmark-histogram

pip install "perfsuite[benchmark]" brings what --benchmark-histogram draws with.  Latencies are of the adapters' calls
alone, in this process; ``perfsuite latency`` has them by tier, with their intervals.  PERFSUITE_MEMORY names other
systems than the two that need nothing, separated by commas.  An objective is missed where its whole interval is.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from perfsuite import BenchmarkConfig, BenchmarkRunner, compute_percentiles, stats
from perfsuite.memory import registry
from perfsuite.workloads.memories import SeededCase

pytest.importorskip("pytest_benchmark")

SYSTEMS = [name.strip() for name in os.environ.get("PERFSUITE_MEMORY", "reference,fts5").split(",")]
STORED = 200
ROUNDS = 200
OBJECTIVE_MS = 50.0
OPERATIONS_PER_S = 100.0
MIB_PER_1000 = 50e6 / (1 << 20)


class System:
    """A memory system of this environment, open, with memories in it."""

    def __init__(self, name: str, folder: Path) -> None:
        known = registry.find(name)
        if not registry.shares_this_environment(known):
            pytest.skip(f"{name} does not run in this environment: perfsuite latency --target memory:{name}")
        module, _, made = known.factory.partition(":")
        self.name = name
        self.adapter = getattr(import_module(module), made)()
        self.loop = asyncio.new_event_loop()
        self.memories = SeededCase(1, 20_000, STORED).memories()
        self.questions = itertools.cycle([one.text for one in SeededCase(1, STORED).questions()])
        self.call("initialize", folder, None, 384)
        for memory in itertools.islice(self.memories, STORED):
            self.call("store", memory.text)

    def call(self, name: str, *arguments: Any) -> Any:
        """One call, awaited where it has to be."""
        result = getattr(self.adapter, name)(*arguments)
        return self.loop.run_until_complete(result) if inspect.isawaitable(result) else result

    def timed(self, benchmark: Any, name: str, arguments: Iterator[str]) -> None:
        """Rounds of one call each, its argument drawn outside of what is timed; p99 below the objective."""
        method = getattr(self.adapter, name)
        if inspect.iscoroutinefunction(method):
            method = functools.partial(self.call, name)
        benchmark.pedantic(method, setup=lambda: ((next(arguments),), {}), rounds=ROUNDS, warmup_rounds=5)
        held(benchmark)


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    made = System(request.param, tmp_path)
    yield made
    made.call("close")
    made.loop.close()


def held(benchmark: Any) -> None:
    """p99 with its interval, in the table's extra columns; below the objective as far as the samples tell."""
    if benchmark.stats is None:  # --benchmark-disable
        return
    samples = [seconds * 1000 for seconds in benchmark.stats.stats.data]
    found = stats.quantile_interval(samples, 0.99)
    benchmark.extra_info |= {"p99_ms": compute_percentiles(samples)["p99"], "p99_interval_ms": [found.low, found.high]}
    assert found.low < OBJECTIVE_MS


def test_store_latency(benchmark: Any, system: System) -> None:
    system.timed(benchmark, "store", (memory.text for memory in system.memories))


def test_recall_latency(benchmark: Any, system: System) -> None:
    system.timed(benchmark, "recall", system.questions)


def test_synthesize_latency(benchmark: Any, system: System) -> None:
    if not hasattr(system.adapter, "synthesize"):
        pytest.skip(f"{system.name} does not synthesize")
    system.timed(benchmark, "synthesize", system.questions)


@pytest.mark.parametrize("name", SYSTEMS)
def test_throughput(benchmark: Any, name: str, tmp_path: Path) -> None:
    config = BenchmarkConfig(system=name, n_samples=400, output_dir=tmp_path, duration="20s")
    found = benchmark.pedantic(lambda: asyncio.run(BenchmarkRunner(config).run_throughput()), rounds=1)
    benchmark.extra_info["operations_per_s"] = found.throughput_ops
    low, high = found.metadata["throughput"]["interval"]
    benchmark.extra_info["interval"] = [low, high]
    assert high is None or high > OPERATIONS_PER_S


@pytest.mark.parametrize("name", SYSTEMS)
def test_footprint(benchmark: Any, name: str, tmp_path: Path) -> None:
    config = BenchmarkConfig(system=name, max_scale=1000, output_dir=tmp_path)
    found = benchmark.pedantic(lambda: asyncio.run(BenchmarkRunner(config).run_footprint()), rounds=1)
    benchmark.extra_info["mib_per_1000"] = found.memory_mb_per_1k
    assert found.metadata["memory_per_1000"]["interval"][0] / (1 << 20) < MIB_PER_1000
