"""The Python interface of the memory suite's document: its examples as they are printed, and what they give."""

from __future__ import annotations

import asyncio
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import perfsuite
from perfsuite import (
    BenchmarkBase,
    BenchmarkConfig,
    BenchmarkResult,
    BenchmarkRunner,
    PerfsuiteError,
    UsageError,
    compute_percentiles,
)
from perfsuite.history.store import History

PROGRAMMATIC = """
import asyncio
from benchmarks.runner import BenchmarkRunner, BenchmarkConfig

async def run_custom_benchmark():
    config = BenchmarkConfig(
        dimension=8192,
        n_samples=5000,
        output_dir="my_benchmarks",
    )

    runner = BenchmarkRunner(config)

    # Run individual benchmarks
    latency_result = await runner.run_latency()
    throughput_result = await runner.run_throughput()

    print(f"Latency P99: {latency_result.p99_ms:.2f}ms")
    print(f"Throughput: {throughput_result.throughput_ops:.2f} ops/sec")

asyncio.run(run_custom_benchmark())
"""

EXTENDING = """
from benchmarks.base import BenchmarkBase, BenchmarkResult

class MyBenchmark(BenchmarkBase):
    async def run(self) -> BenchmarkResult:
        await self.setup()

        try:
            # Your benchmark logic here
            latencies = []
            for _ in range(self.config.n_samples):
                start = time.time()
                await self.engine.store("test")
                latencies.append((time.time() - start) * 1000)

            # Compute stats
            stats = compute_percentiles(latencies)

            return BenchmarkResult(
                name="my_benchmark",
                category="custom",
                timestamp=time.time(),
                duration_ms=sum(latencies),
                samples=len(latencies),
                mean_ms=stats["mean"],
                median_ms=stats["median"],
                p50_ms=stats["p50"],
                p95_ms=stats["p95"],
                p99_ms=stats["p99"],
                min_ms=stats["min"],
                max_ms=stats["max"],
            )
        finally:
            await self.teardown()
"""

COMPARING = """
from benchmarks.comparison import ComparisonBenchmark, MySystemAdapter

config = BenchmarkConfig(dimension=4096)
comparison = ComparisonBenchmark(config)

comparison.add_competitor(MySystemAdapter(config))
result = await comparison.run()
"""


def renamed(example: str) -> str:
    """The package's name, and the imports that the example lacks."""
    for module in ("benchmarks.runner", "benchmarks.base"):
        example = example.replace(f"from {module} import", "from perfsuite import")
    return "import time\nfrom perfsuite import compute_percentiles\n" + example


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Runs of two seconds at most, in a folder of their own."""
    monkeypatch.setenv("PERFSUITE_DURATION", "2s")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_document_s_program_runs_as_printed(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(renamed(PROGRAMMATIC), "document", "exec"), {"__name__": "__main__"})
    latency, throughput = capsys.readouterr().out.splitlines()
    assert latency.startswith("Latency P99: ")
    assert float(latency.removeprefix("Latency P99: ").removesuffix("ms")) > 0
    assert float(throughput.removeprefix("Throughput: ").removesuffix(" ops/sec")) > 0
    names = [path.name for path in (short / "my_benchmarks").iterdir()]
    assert any(name.startswith("latency_tier_latency_") for name in names)
    assert any(name.startswith("throughput_concurrent_throughput_") for name in names)


def test_it_runs_where_a_loop_is_running_already(short: Path) -> None:
    """As a notebook does: what the document's program awaits is awaited in the cell."""
    body = renamed(PROGRAMMATIC).replace("asyncio.run(run_custom_benchmark())", "")

    async def cell() -> None:
        names: dict[str, Any] = {}
        exec(compile(body, "cell", "exec"), names)
        await names["run_custom_benchmark"]()

    asyncio.run(cell())


def test_the_document_s_own_benchmark_runs_as_printed() -> None:
    names: dict[str, Any] = {}
    exec(compile(renamed(EXTENDING), "document", "exec"), names)
    mine = names["MyBenchmark"]
    result = asyncio.run(mine(BenchmarkConfig(n_samples=20)).run())
    assert (result.name, result.category, result.samples) == ("my_benchmark", "custom", 20)
    assert 0 < result.min_ms <= result.p50_ms <= result.p95_ms <= result.p99_ms <= result.max_ms
    assert result.median_ms == result.p50_ms


def test_the_document_s_comparison_runs_as_printed(tmp_path: Path) -> None:
    """In the coroutine, and with the adapter, that it lacks; of fewer memories."""
    imports = "from perfsuite import ComparisonBenchmark; from memory_systems import MySystemAdapter"
    body = COMPARING.replace("from benchmarks.comparison import ComparisonBenchmark, MySystemAdapter", imports)
    cell = f"async def cell():\n{textwrap.indent(body, '    ')}\n    return result"
    names: dict[str, Any] = {"BenchmarkConfig": partial(BenchmarkConfig, n_samples=40, output_dir=tmp_path)}
    exec(compile(cell, "document", "exec"), names)
    found = asyncio.run(names["cell"]())
    assert {"fts5", "sqlite-vec"} < {one.name for one in found.systems}  # and the one that was added
    assert len(list(tmp_path.glob("comparison_*.json"))) == 1


def test_the_runner_gives_figures_with_their_intervals(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFSUITE_HISTORY", str(short / "history.db"))
    config = BenchmarkConfig(n_samples=60, max_scale=64, system="fts5", output_dir="out", seed=3)
    found = asyncio.run(BenchmarkRunner(config).run_all())
    assert list(found) == ["tier_latency", "concurrent_throughput", "memory_footprint"]
    latency, throughput, footprint = found.values()
    assert latency.category == "latency"
    assert latency.samples > 0
    assert latency.metadata["store_latency"]["interval"][0] <= latency.metadata["store_latency"]["value"]
    assert "no tier_of" in latency.metadata["recall_latency_hot"]["reason"]
    assert throughput.samples >= 60
    assert throughput.throughput_ops is not None
    assert throughput.throughput_ops > 0
    assert footprint.memory_mb_per_1k is not None
    assert footprint.disk_mb_per_1k is not None
    assert latency.result is not None
    assert latency.result.run.target == "memory:fts5"
    with History(str(short / "history.db")) as history:
        assert {one.id for one in history.runs()} == {one.result.run.id for one in found.values() if one.result}
    assert "result" not in latency.to_dict()
    assert set(latency.to_dict()) >= {"name", "p99_ms", "metadata"}


def test_an_added_benchmark_runs_with_the_others(short: Path) -> None:
    class Mine(BenchmarkBase):
        async def run(self) -> BenchmarkResult:
            await self.setup()
            try:
                (identifier,) = await self.engine.store("the code is 5309x", session="s")
                hits = await self.engine.recall("what is the code", 3)
                assert hits[0].id == identifier
                assert await self.engine.tier_of(identifier) == "hot"
                assert "5309x" in await self.engine.synthesize("the code")
                await self.engine.flush()
                await self.engine.reset()
                assert await self.engine.recall("code") == []
                assert self.engine.in_process
                return BenchmarkResult(name="mine", category="custom", timestamp=0.0, duration_ms=0.0, samples=1)
            finally:
                await self.teardown()
                await self.teardown()

    runner = BenchmarkRunner(BenchmarkConfig(n_samples=20, max_scale=32, output_dir=short))
    runner.add(Mine)
    assert asyncio.run(runner.run_all())["mine"].samples == 1
    with pytest.raises(UsageError, match="extends BenchmarkBase"):
        runner.add(BenchmarkResult)  # type: ignore[arg-type]


def test_a_mistake_in_the_configuration_is_named_as_it_was_written() -> None:
    with pytest.raises(UsageError, match=r"n_samples: 0 is too small; write a whole number of at least 1"):
        BenchmarkConfig(n_samples=0)
    with pytest.raises(UsageError, match=r"(?s)dimension: 0 is too small.*workers: 0 is too small"):
        BenchmarkConfig(dimension=0, workers=0)
    with pytest.raises(UsageError, match="duration: 'zz' is not a duration"):
        BenchmarkConfig(duration="zz")


def test_a_system_that_fails_raises_its_words(short: Path) -> None:
    runner = BenchmarkRunner(BenchmarkConfig(n_samples=20, system="memory_systems:NeverStarts", output_dir=short))
    with pytest.raises(PerfsuiteError, match="no licence found"):
        asyncio.run(runner.run_latency())
    with pytest.raises(UsageError, match="unknown memory system"):
        asyncio.run(BenchmarkRunner(BenchmarkConfig(system="nobody", output_dir=short)).run_latency())


def test_percentiles_are_values_that_occurred() -> None:
    stats = compute_percentiles([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (stats["p50"], stats["median"], stats["p99"], stats["min"], stats["max"]) == (3.0, 3.0, 5.0, 1.0, 5.0)
    assert stats["mean"] == 3.0
    assert stats["stdev"] == pytest.approx(2.5**0.5)
    assert compute_percentiles([7])["p999"] == 7.0
    with pytest.raises(ValueError, match="no latencies"):
        compute_percentiles([])


def test_the_names_are_public() -> None:
    for name in ("BenchmarkRunner", "BenchmarkConfig", "BenchmarkBase", "BenchmarkResult", "MemorySystem"):
        assert getattr(perfsuite, name).__name__ == name
    assert textwrap.dedent(BenchmarkBase.__doc__ or "").startswith("A benchmark")
