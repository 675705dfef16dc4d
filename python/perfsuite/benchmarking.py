"""The Python interface of the memory suite's document: ``BenchmarkRunner``, ``BenchmarkBase`` and what they give.

``await BenchmarkRunner(BenchmarkConfig(n_samples=5000)).run_latency()`` is what ``perfsuite latency`` does, with the
figures at hand as attributes.  A benchmark of one's own extends ``BenchmarkBase``; its ``engine`` is the memory system.
"""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.scratch import scratch_folder

if TYPE_CHECKING:
    import os

    from perfsuite._core import Histogram
    from perfsuite.memory.base import Hit
    from perfsuite.memory.host import Hosted, Outcome
    from perfsuite.result import PhaseResult, Result

MIB = 1 << 20
CALLS = ("store", "recall", "synthesize")
TIERS = ("hot", "warm", "cold")
SETTINGS = {"n_samples": "samples", "output_dir": "output"}
"""How fields of the configuration are called among the settings, where the document's name is another."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is measured, and how much.

    ``dimension``: floats of an embedding, where the system takes them from a model (the reference memory's own have
    384).  ``n_samples``: of each call of latency, and operations of throughput.  ``system`` is a name of
    ``perfsuite.memory.registry``, or ``module:Class``.  ``workers`` of throughput, ``max_scale`` memories of footprint
    at most.  ``duration``: the longest that a benchmark samples, such as ``"30s"`` [an hour].

    Raises UsageError, which names the field, for a value that cannot be used.
    """

    dimension: int = 384
    n_samples: int = 1000
    output_dir: str | os.PathLike[str] = "benchmark_results"
    system: str = "reference"
    workers: int = 10
    max_scale: int = 10_000
    seed: int = 0
    duration: str | float | None = None

    def __post_init__(self) -> None:
        from perfsuite.errors import Mistakes
        from perfsuite.settings import BY_NAME

        mistakes = Mistakes()
        for field_, value in asdict(self).items():
            option = BY_NAME.get(SETTINGS.get(field_, field_))
            if option is not None and value is not None:
                with mistakes.noted():
                    option.parse(value, field_)
        mistakes.check()


@dataclass(kw_only=True)
class BenchmarkResult:
    """The figures of one benchmark; times in ms, ``timestamp`` in seconds since 1970.

    ``throughput_ops``: operations a second, ``memory_mb_per_1k`` and ``disk_mb_per_1k``: MiB for each 1,000 memories;
    None where the benchmark does not tell.  ``metadata``: what else it has to say, ``result`` the whole of it, with
    intervals and verdicts.
    """

    name: str
    category: str
    timestamp: float
    duration_ms: float
    samples: int
    mean_ms: float | None = None
    median_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    throughput_ops: float | None = None
    memory_mb_per_1k: float | None = None
    disk_mb_per_1k: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    result: Result | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The figures, without ``result``."""
        figures = asdict(BenchmarkResult(**{**self.__dict__, "result": None}))
        del figures["result"]
        return figures


def compute_percentiles(latencies: Sequence[float]) -> dict[str, float]:
    """``mean median p50 p95 p99 p999 min max stdev`` of some latencies, in their own unit.

    A percentile is the value of rank ceil(q N), a value that occurred.  Raises ValueError when there is none.
    """
    from perfsuite import stats

    values = [float(value) for value in latencies]
    if not values:
        raise ValueError("there are no latencies to compute percentiles of")
    p50, p95, p99, p999 = stats.quantiles(values, (0.5, 0.95, 0.99, 0.999))
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    return {
        "mean": mean,
        "median": p50,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "p999": p999,
        "min": min(values),
        "max": max(values),
        "stdev": variance**0.5,
    }


class Engine:
    """The memory system of a benchmark of one's own; every method is awaited.

    It runs in this process where its dependencies allow it, so that nothing but the call is between two readings of a
    clock; else in one of its own (``in_process`` is False), and a call has its way there and back in it.
    """

    def __init__(self, system: Any, *, in_process: bool) -> None:
        self.in_process = in_process
        self._system = system

    async def store(self, text: str, **about: Any) -> Sequence[str]:
        """Stores a memory (``metadata``, ``session``, ``timestamp``); its ids."""
        if not self.in_process:
            from perfsuite.memory.host import Item

            return _only(await self._system.store([Item(text, **about)]))  # type: ignore[no-any-return]
        return await self._call("store", text, **about)  # type: ignore[no-any-return]

    async def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """At most ``k`` memories about a query."""
        if not self.in_process:
            return _only(await self._system.recall([query], k))  # type: ignore[no-any-return]
        return await self._call("recall", query, k=k)  # type: ignore[no-any-return]

    async def synthesize(self, query: str) -> str:
        """What the system makes of what it knows; AttributeError where it does not."""
        return await self._optional("synthesize", query)  # type: ignore[no-any-return]

    async def tier_of(self, id: str) -> str | None:
        """Where a memory is; AttributeError where the system does not say."""
        return await self._optional("tier_of", id)  # type: ignore[no-any-return]

    async def flush(self) -> None:
        """Returns when what was stored is durable."""
        await self._call("flush")

    async def reset(self) -> None:
        """Forgets everything."""
        await self._call("reset")

    async def close(self) -> None:
        """Closes the system."""
        await self._call("close")

    async def _optional(self, name: str, argument: str) -> Any:
        if self.in_process:
            return await self._call(name, argument)
        if name not in self._system.offers:
            raise AttributeError(f"{self._system.name} has no {name}")
        return _only(await getattr(self._system, name)([argument]))

    async def _call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        result = getattr(self._system, name)(*arguments, **keywords)
        return await result if inspect.isawaitable(result) else result


def _only(outcome: Outcome) -> Any:
    """The result of a batch of one call; its error raised."""
    if outcome.errors:
        raise PerfsuiteError(outcome.errors[0][1])
    return outcome.results[0]


class BenchmarkBase(ABC):
    """A benchmark of one's own: ``run`` awaits ``setup``, uses ``self.engine``, returns a BenchmarkResult, and awaits
    ``teardown`` whatever happens."""

    engine: Engine

    def __init__(self, config: BenchmarkConfig | None = None) -> None:
        self.config = config or BenchmarkConfig()
        self._open = AsyncExitStack()

    async def setup(self) -> None:
        """Opens the system of the configuration on an empty folder, as ``self.engine``."""
        try:
            await self._opened()
        except BaseException:
            await self._open.aclose()
            raise

    async def teardown(self) -> None:
        """Closes what ``setup`` opened.  Twice is harmless."""
        await self._open.aclose()

    @abstractmethod
    async def run(self) -> BenchmarkResult:
        """The benchmark."""

    async def _opened(self) -> None:
        from perfsuite.memory import registry

        system = registry.find(self.config.system)
        folder = self._open.enter_context(scratch_folder("benchmark"))
        model_url = await self._model()
        if registry.shares_this_environment(system):
            adapter = _made(system.factory)
            self.engine = Engine(adapter, in_process=True)
            self._open.push_async_callback(self.engine.close)
            started = adapter.initialize(folder, model_url, self.config.dimension)
            if inspect.isawaitable(started):
                await started
        else:
            self.engine = Engine(await self._hosted(folder, model_url), in_process=False)

    async def _model(self) -> str:
        from perfsuite.serve.standin import StandIn

        model = await self._open.enter_async_context(StandIn(dim=self.config.dimension))
        return model.url_of("benchmark")

    async def _hosted(self, folder: Path, model_url: str) -> Hosted:
        from perfsuite.memory.host import Hosted

        config = self.config
        return await self._open.enter_async_context(
            Hosted.start(config.system, workdir=folder, model_url=model_url, dim=config.dimension)
        )


class BenchmarkRunner:
    """Runs the benchmarks of the suite, and those of one's own that were added; files go to ``output_dir``."""

    def __init__(self, config: BenchmarkConfig | None = None) -> None:
        self.config = config or BenchmarkConfig()
        self._added: list[type[BenchmarkBase]] = []

    def add(self, benchmark: type[BenchmarkBase]) -> None:
        """A benchmark of one's own, for ``run_all``."""
        if not (isinstance(benchmark, type) and issubclass(benchmark, BenchmarkBase)):
            raise UsageError(f"a benchmark is a class that extends BenchmarkBase, not {benchmark!r}")
        self._added.append(benchmark)

    async def run_latency(self) -> BenchmarkResult:
        """Store, recall and synthesize latency: the distribution of all calls together; each, and each by tier, in
        ``metadata``."""
        phase, result, made = await self._phase("latency")
        whole = _merged(phase, [f"{call}_latency" for call in CALLS])
        names = [f"{call}_latency" for call in CALLS]
        names += [f"{name}_{tier}" for name in names for tier in TIERS]
        return _result(
            "tier_latency", made, result, phase, whole, metadata={name: _told(phase, name) for name in names}
        )

    async def run_throughput(self) -> BenchmarkResult:
        """Operations a second under concurrent workers."""
        phase, result, made = await self._phase("throughput")
        whole = _merged(phase, ["operation_latency"])
        found = _result(
            "concurrent_throughput", made, result, phase, whole, metadata={"throughput": _told(phase, "throughput")}
        )
        found.throughput_ops = _value(phase, "throughput")
        return found

    async def run_footprint(self) -> BenchmarkResult:
        """Bytes for each 1,000 memories."""
        phase, result, made = await self._phase("footprint")
        metadata = {name: _told(phase, name) for name in ("memory_per_1000", "disk_per_1000")}
        found = _result("memory_footprint", made, result, phase, None, metadata=metadata)
        memory, disk = (_value(phase, name) for name in ("memory_per_1000", "disk_per_1000"))
        found.memory_mb_per_1k = None if memory is None else memory / MIB
        found.disk_mb_per_1k = None if disk is None else disk / MIB
        return found

    async def run_all(self) -> dict[str, BenchmarkResult]:
        """All of them in turn, by name."""
        found = [await self.run_latency(), await self.run_throughput(), await self.run_footprint()]
        found += [await benchmark(self.config).run() for benchmark in self._added]
        return {one.name: one for one in found}

    async def _phase(self, name: str) -> tuple[PhaseResult, Result, float]:
        from perfsuite.api import arun

        config = self.config
        settings: dict[str, object] = {
            "dimension": config.dimension,
            "samples": config.n_samples,
            "workers": config.workers,
            "max_scale": config.max_scale,
            "seed": config.seed,
            "output": str(config.output_dir),
            "profile": "full",
        }
        if config.duration is not None:
            settings["duration"] = config.duration
        made = time.time()
        result = await arun(name, f"memory:{config.system}", **settings)
        if result.run.error is not None:
            raise PerfsuiteError(result.run.error)
        phase = result.phase(name)
        if phase.unhandled:
            raise PerfsuiteError("; ".join(phase.unhandled))
        return phase, result, made


def _made(factory: str) -> Any:
    from importlib import import_module

    module, _, name = factory.partition(":")
    return getattr(import_module(module), name)()


def _merged(phase: PhaseResult, names: Sequence[str]) -> Histogram | None:
    """The samples of several metrics together; None where there is none."""
    found: Histogram | None = None
    for name in names:
        metric = phase.metric(name)
        samples = None if metric is None else metric.distribution()
        if samples is not None:
            if found is None:
                found = samples
            else:
                found.merge(samples)
    return found


def _told(phase: PhaseResult, name: str) -> Mapping[str, object]:
    """A metric's figures, or why it has none."""
    metric = phase.metric(name)
    if metric is None or metric.value is None:
        return {"reason": "not measured" if metric is None else metric.reason}
    stats = metric.stats
    shape = {} if stats is None else {f"{stat}_ms": getattr(stats, stat) for stat in ("mean", "p50", "p95", "p99")}
    return {"value": metric.value, "unit": metric.unit, "interval": metric.interval, "verdict": metric.verdict, **shape}


def _value(phase: PhaseResult, name: str) -> float | None:
    metric = phase.metric(name)
    return None if metric is None else metric.value


def _result(
    name: str,
    timestamp: float,
    result: Result,
    phase: PhaseResult,
    whole: Histogram | None,
    metadata: dict[str, Any],
) -> BenchmarkResult:
    found = BenchmarkResult(
        name=name,
        category=phase.name,
        timestamp=timestamp,
        duration_ms=phase.duration_s * 1000,
        samples=max((one.samples for one in phase.metrics), default=0) if whole is None else whole.count,
        metadata={"verdict": phase.verdict, **metadata},
        result=result,
    )
    if whole is not None and whole.count:
        found.mean_ms, found.min_ms, found.max_ms = whole.mean, whole.min, whole.max
        found.p50_ms, found.p95_ms, found.p99_ms = whole.quantiles((0.5, 0.95, 0.99))
        found.median_ms = found.p50_ms
    return found
