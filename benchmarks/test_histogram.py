"""Recording a latency, timing a lap, counting a million values, asking for p99: ours and the peers'.

All contenders of a group record the same log-normal values, few enough to stay in the nearest cache, as a latency just
measured does (the empty call does not look at its value).  Each is driven by map() into an empty deque, which costs
less than a `for` loop and the same for all; that is in every figure, in the empty call's too.
`python benchmarks/test_histogram.py` prints the ratios and the relative error of each sketch's quantiles.
"""

from __future__ import annotations

import random
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from importlib import import_module
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


def many_contenders() -> Contenders:
    """Counting a million values: each peer into as many bins as cover them as finely as it can."""
    values = array("d", (_rng.lognormvariate(3, 1) for _ in range(MANY)))
    found: dict[str, tuple[Callable[[], object], int]] = {
        "perfsuite": (lambda: Histogram().record_many(values), MANY),
    }
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
    ["perfsuite", "np.bincount of ready indices", "np.bincount", "np.sort", "boost-histogram, logarithmic",
     "boost-histogram, linear"],
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


def main() -> None:
    """Prints nanoseconds an operation (best of many rounds, the contenders in turn) and ratios to ours."""
    for title, build in PEERS:
        candidates = build()
        best = dict.fromkeys(candidates, float("inf"))
        deadline = time.monotonic() + 4
        for turn in range(1000):
            for label, (call, operations) in candidates.items():
                if turn > 2 and best[label] * operations > 5e7:
                    continue  # a call of over 50 ms has had its turns
                start = time.perf_counter_ns()
                call()
                best[label] = min(best[label], (time.perf_counter_ns() - start) / operations)
            if turn > 2 and time.monotonic() > deadline:
                break
        print(title, *(f"{label} {ns:.2f} ns ({ns / best['perfsuite']:.2f})" for label, ns in best.items()), sep="\n  ")
    print("worst relative error of", QUANTILES)
    for label, row in relative_errors().items():
        print(f"  {label}", *(f"{100 * error:.2f} %" for error in row))
    for label, why in missing.items():
        print(f"missing: {label} ({why})", file=sys.stderr)


if __name__ == "__main__":
    main()
