"""perfsuite measures LLM chat and agent-memory systems.

``python -m perfsuite run`` measures the embedded reference system; ``perfsuite.run(...)`` does the same from Python.
The names below load when they are first used: ``import perfsuite`` itself needs nothing.
"""

# No import here, not even of __future__: Python runs this before __main__.py can answer Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite import stats as stats
    from perfsuite._core import Histogram as Histogram
    from perfsuite._core import LRUCache as LRUCache
    from perfsuite._core import Stopwatch as Stopwatch
    from perfsuite.api import arun as arun
    from perfsuite.api import compare as compare
    from perfsuite.api import load as load
    from perfsuite.api import run as run
    from perfsuite.benchmarking import BenchmarkBase as BenchmarkBase
    from perfsuite.benchmarking import BenchmarkConfig as BenchmarkConfig
    from perfsuite.benchmarking import BenchmarkResult as BenchmarkResult
    from perfsuite.benchmarking import BenchmarkRunner as BenchmarkRunner
    from perfsuite.benchmarking import compute_percentiles as compute_percentiles
    from perfsuite.chatloop.alerts import Alert as Alert
    from perfsuite.chatloop.config import ChatLoopConfig as ChatLoopConfig
    from perfsuite.chatloop.loop import ChatLoop as ChatLoop
    from perfsuite.chatloop.monitor import PerformanceMonitor as PerformanceMonitor
    from perfsuite.collectors.base import Collector as Collector
    from perfsuite.comparison_benchmark import ComparisonBenchmark as ComparisonBenchmark
    from perfsuite.compression import measure_compression as measure_compression
    from perfsuite.embeddings import EmbeddingCache as EmbeddingCache
    from perfsuite.errors import MissingExtra as MissingExtra
    from perfsuite.errors import PerfsuiteError as PerfsuiteError
    from perfsuite.errors import UsageError as UsageError
    from perfsuite.limits import RateLimiter as RateLimiter
    from perfsuite.limits import TokenBucket as TokenBucket
    from perfsuite.memory.base import Hit as Hit
    from perfsuite.memory.base import MemorySystem as MemorySystem
    from perfsuite.preservation import text_preservation as text_preservation
    from perfsuite.result import Result as Result
    from perfsuite.suites.benchmarks import Benchmark as Benchmark
    from perfsuite.suites.probes import Probe as Probe
    from perfsuite.targets.base import Target as Target
    from perfsuite.trimming import TrimPolicy as TrimPolicy
    from perfsuite.trimming import TrimReport as TrimReport
    from perfsuite.trimming import trim as trim

__version__ = "0.1.0"

# Public name → the module that has it; a name that is itself a module maps to that module.
LAZY = {
    "Alert": "perfsuite.chatloop.alerts",
    "Benchmark": "perfsuite.suites.benchmarks",
    "BenchmarkBase": "perfsuite.benchmarking",
    "BenchmarkConfig": "perfsuite.benchmarking",
    "BenchmarkResult": "perfsuite.benchmarking",
    "BenchmarkRunner": "perfsuite.benchmarking",
    "ChatLoop": "perfsuite.chatloop.loop",
    "ChatLoopConfig": "perfsuite.chatloop.config",
    "Collector": "perfsuite.collectors.base",
    "ComparisonBenchmark": "perfsuite.comparison_benchmark",
    "EmbeddingCache": "perfsuite.embeddings",
    "Histogram": "perfsuite._core",
    "Hit": "perfsuite.memory.base",
    "LRUCache": "perfsuite._core",
    "MemorySystem": "perfsuite.memory.base",
    "MissingExtra": "perfsuite.errors",
    "PerformanceMonitor": "perfsuite.chatloop.monitor",
    "PerfsuiteError": "perfsuite.errors",
    "Probe": "perfsuite.suites.probes",
    "RateLimiter": "perfsuite.limits",
    "Result": "perfsuite.result",
    "Stopwatch": "perfsuite._core",
    "Target": "perfsuite.targets.base",
    "TokenBucket": "perfsuite.limits",
    "TrimPolicy": "perfsuite.trimming",
    "TrimReport": "perfsuite.trimming",
    "UsageError": "perfsuite.errors",
    "arun": "perfsuite.api",
    "compare": "perfsuite.api",
    "compute_percentiles": "perfsuite.benchmarking",
    "load": "perfsuite.api",
    "measure_compression": "perfsuite.compression",
    "run": "perfsuite.api",
    "stats": "perfsuite.stats",
    "trim": "perfsuite.trimming",
    "text_preservation": "perfsuite.preservation",
}

__all__ = ["__version__", *LAZY]


def __getattr__(name: str) -> object:
    where = LAZY.get(name)
    if where is None:
        raise AttributeError(f"module 'perfsuite' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(where)
    value = module if where == f"perfsuite.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *LAZY])
