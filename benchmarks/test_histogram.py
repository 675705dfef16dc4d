"""Recording a latency, timing a lap, counting a million values, asking for p99: ours and the peers'.

All contenders of a group record the same log-normal values, few enough to stay in the nearest cache, as a latency just
measured does (the empty call does not look at its value).  Each is driven by map() into an empty deque, which costs
less than a `for` loop and the same for all; that is in every figure, in the empty call's too.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import struct
import subprocess
import tempfile
import time
from array import array
from collections import deque
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perfsuite._core import Histogram, Stopwatch, _noop

Contenders = dict[str, tuple[Callable[[], object], int]]
CALLS, SAMPLES, MANY = 1_000, 5_000, 1_000_000
PASSES = 20  # over the values, by each: a call of microseconds would time its own start
_rng = random.Random(7)
VALUES = [_rng.lognormvariate(3, 1) for _ in range(CALLS)]
QUANTILES = (0.5, 0.99, 0.999)

missing: dict[str, str] = {}


def _module(label: str, name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError as error:
        missing[label] = f"not installed: {error}"
        return None


def _each(record: Callable[[float], object]) -> tuple[Callable[[], object], int]:
    def call() -> None:
        for _ in range(PASSES):
            deque(map(record, VALUES), maxlen=0)

    return call, PASSES * CALLS


def _otel_record() -> Callable[[float], object] | None:
    if _module("opentelemetry-sdk", "opentelemetry.sdk.metrics") is None:
        return None
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    return provider.get_meter("benchmark").create_histogram("latency").record


def _recorders() -> dict[str, Callable[[float], object]]:
    """How each peer records one value."""
    found: dict[str, Callable[[float], object]] = {}
    if datasketches := _module("datasketches KLL", "datasketches"):
        found["datasketches KLL"] = datasketches.kll_doubles_sketch(200).update
    if tdigest := _module("tdigest", "tdigest"):
        found["tdigest"] = tdigest.TDigest().update
    if ddsketch := _module("ddsketch", "ddsketch"):
        found["ddsketch"] = ddsketch.DDSketch(0.004).add
    if prometheus := _module("prometheus-client", "prometheus_client"):
        found["prometheus-client"] = prometheus.Histogram("latency", "of a request", registry=None).observe
    if hdrh := _module("hdrhistogram", "hdrh.histogram"):
        record = hdrh.HdrHistogram(1, 3_600_000_000, 3).record_value
        found["hdrhistogram"] = lambda value: record(int(value * 1000))
    if otel := _otel_record():
        found["opentelemetry-sdk"] = otel
    return found


def contenders() -> Contenders:
    """Recording one value."""
    kept: list[float] = []

    def append() -> None:
        kept.clear()
        for _ in range(PASSES):
            deque(map(kept.append, VALUES), maxlen=0)

    found = {"perfsuite": _each(Histogram().record), "empty METH_O call": _each(_noop)}
    found["list.append"] = append, PASSES * CALLS
    return found | {label: _each(record) for label, record in _recorders().items()}


def lap_contenders() -> Contenders:
    """Timing one lap and keeping it."""
    watch = Stopwatch(Histogram())
    watch.start()
    lap = watch.lap
    kept: list[float] = []

    def ours() -> None:
        for _ in VALUES:
            lap()

    def plain() -> None:
        clock = time.perf_counter
        kept.clear()
        keep = kept.append
        for _ in VALUES:
            start = clock()
            keep((clock() - start) * 1e3)

    return {"perfsuite": (ours, CALLS), "two perf_counter + append": (plain, CALLS)}


def _four_tables(values: array[float]) -> Callable[[], object] | None:
    """four_tables.c, compiled as setup.py compiles us, on these values."""
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        missing["four tables in C"] = f"no C compiler {compiler!r}"
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = str(Path(folder) / "four_tables.so")
        source = Path(__file__).with_name("four_tables.c")
        subprocess.run([compiler, "-O3", "-shared", "-fPIC", str(source), "-o", library], check=True)
        count = ctypes.CDLL(library).four_tables
    cells = 4096
    tables, address = (ctypes.c_uint32 * (4 * cells))(), ctypes.c_void_p(values.buffer_info()[0])
    first = ctypes.c_uint64(int.from_bytes(struct.pack("<d", min(values)), "little") >> 45)

    def call() -> None:
        ctypes.memset(tables, 0, ctypes.sizeof(tables))
        count(tables, first, address, ctypes.c_size_t(len(values)))

    call()
    stray = sum(tables[cells - 1 :: cells])
    if sum(tables) != len(values) or stray:
        raise AssertionError(f"four_tables.c counted {sum(tables)} of {len(values)}, {stray} outside its window")
    return call


def many_contenders() -> Contenders:
    """Counting a million values: each peer into as many bins as cover them as finely as it can."""
    values = array("d", (_rng.lognormvariate(3, 1) for _ in range(MANY)))
    found: dict[str, tuple[Callable[[], object], int]] = {
        "perfsuite": (lambda: Histogram().record_many(values), MANY),
    }
    if floor := _four_tables(values):
        found["four tables in C"] = (floor, MANY)
    if numpy := _module("numpy", "numpy"):
        data = numpy.frombuffer(values)

        def bincount() -> object:  # the same buckets: the top bits of each double
            keys = (data.view("i8") >> 45) - 0x1FD00
            return numpy.bincount(keys)

        ready = (data.view("i8") >> 45) - (data.view("i8") >> 45).min()
        found["np.bincount of ready indices"] = (lambda: numpy.bincount(ready), MANY)
        found["np.bincount"] = (bincount, MANY)
        found["np.sort"] = (lambda: numpy.sort(data), MANY)
        if boost := _module("boost-histogram", "boost_histogram"):
            axis = boost.axis.Regular(2000, 0.01, 1e5, transform=boost.axis.transform.log)
            regular = boost.axis.Regular(2000, 0.0, 5000.0)
            found["boost-histogram, logarithmic"] = (lambda: boost.Histogram(axis).fill(data), MANY)
            found["boost-histogram, linear"] = (lambda: boost.Histogram(regular).fill(data), MANY)
    return found


def p99_contenders() -> Contenders:
    """Asking for the 99th percentile of a million values."""
    values = array("d", (_rng.lognormvariate(3, 1) for _ in range(MANY)))
    ours = Histogram()
    ours.record_many(values)
    times = 1000

    def repeated(ask: Callable[[float], object], q: float, count: int) -> tuple[Callable[[], object], int]:
        def call() -> None:
            for _ in range(count):
                ask(q)

        return call, count

    found = {"perfsuite": repeated(ours.quantile, 0.99, times)}
    if numpy := _module("numpy", "numpy"):
        data = numpy.frombuffer(values)
        found["np.percentile"] = (lambda: numpy.percentile(data, 99), 1)
        if datasketches := _module("datasketches KLL", "datasketches"):
            sketch = datasketches.kll_doubles_sketch(200)
            sketch.update(data)
            found["datasketches KLL"] = repeated(sketch.get_quantile, 0.99, times)
    if hdrh := _module("hdrhistogram", "hdrh.histogram"):
        theirs = hdrh.HdrHistogram(1, 3_600_000_000, 3)
        for value in values[:20_000]:
            theirs.record_value(int(value * 1000))
        found["hdrhistogram"] = repeated(theirs.get_value_at_percentile, 99.0, 1)
    return found


PEERS = [
    ("record a value", contenders),
    ("stopwatch lap", lap_contenders),
    ("record_many, a million values", many_contenders),
    ("p99 of a million values", p99_contenders),
]
GOALS = {
    "record a value": {
        "empty METH_O call": 1 / 1.15, "datasketches KLL": 6.0, "ddsketch": 40.0, "hdrhistogram": 40.0
    },
    "stopwatch lap": {"two perf_counter + append": 2.0},
    "record_many, a million values": {"four tables in C": 1 / 1.25},
    "p99 of a million values": {"perfsuite": 200.0},
}  # fmt: skip


def relative_errors() -> dict[str, list[float]]:
    """The worst relative error over eight data sets of 5,000 values of each quantile, by sketch."""
    worst: dict[str, list[float]] = {}
    for seed in range(8):
        rng = random.Random(seed)
        values = [rng.lognormvariate(3, 1) for _ in range(SAMPLES)]
        ordered = sorted(values)
        true = [ordered[-(-round(q * 1000) * SAMPLES // 1000) - 1] for q in QUANTILES]
        asked: dict[str, Callable[[float], float]] = {}
        ours = Histogram()
        ours.record_many(values)
        asked["perfsuite"] = ours.quantile
        if datasketches := _module("datasketches KLL", "datasketches"):
            kll = datasketches.kll_doubles_sketch(200)
            for value in values:
                kll.update(value)
            asked["datasketches KLL"] = kll.get_quantile
        if ddsketch := _module("ddsketch", "ddsketch"):
            dd = ddsketch.DDSketch(0.01)
            for value in values:
                dd.add(value)
            asked["ddsketch"] = dd.get_quantile_value
        for label, ask in asked.items():
            row = worst.setdefault(label, [0.0] * len(QUANTILES))
            for i, q in enumerate(QUANTILES):
                row[i] = max(row[i], abs(ask(q) - true[i]) / true[i])
    return worst


def worst_errors() -> dict[str, float]:
    """The worst of them, in percent."""
    return {label: 100 * max(row) for label, row in relative_errors().items()}


FIGURES = [("relative error of p50, p99, p99.9", "%", worst_errors, 0.4)]


def _run(benchmark: Any, build: Callable[[], Contenders], label: str) -> None:
    benchmark.group = {build: title for title, build in PEERS}[build]
    found = build()
    if label not in found:
        pytest.skip(missing.get(label, f"{label} needs numpy, which is not installed"))
    call, benchmark.extra_info["operations"] = found[label]
    benchmark(call)


@pytest.mark.parametrize(
    "label",
    ["perfsuite", "empty METH_O call", "list.append", "datasketches KLL", "tdigest", "ddsketch", "prometheus-client",
     "hdrhistogram", "opentelemetry-sdk"],
)  # fmt: skip
def test_record(benchmark: Any, label: str) -> None:
    _run(benchmark, contenders, label)


@pytest.mark.parametrize("label", ["perfsuite", "two perf_counter + append"])
def test_lap(benchmark: Any, label: str) -> None:
    _run(benchmark, lap_contenders, label)


@pytest.mark.parametrize(
    "label",
    ["perfsuite", "four tables in C", "np.bincount of ready indices", "np.bincount", "np.sort",
     "boost-histogram, logarithmic", "boost-histogram, linear"],
)  # fmt: skip
def test_record_many(benchmark: Any, label: str) -> None:
    _run(benchmark, many_contenders, label)


@pytest.mark.parametrize("label", ["perfsuite", "datasketches KLL", "hdrhistogram", "np.percentile"])
def test_p99(benchmark: Any, label: str) -> None:
    _run(benchmark, p99_contenders, label)


def test_relative_error(benchmark: Any) -> None:
    errors = benchmark.pedantic(relative_errors, rounds=1)
    benchmark.extra_info["worst relative error"] = errors
    assert max(errors["perfsuite"]) <= 2**-8
