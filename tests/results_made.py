"""Results to test with, built by hand: every verdict, every kind of metric, and text that is out to do harm."""

from __future__ import annotations

import math

from perfsuite._core import Histogram
from perfsuite.result import (
    Environment,
    ErrorCount,
    Event,
    MetricResult,
    PhaseResult,
    PhaseVerdict,
    Recommendation,
    Resource,
    Result,
    Run,
    Stats,
    encode_histogram,
)

HOSTILE = "<script>alert('x')</script> | `code` **b** \x1b[31m\n\u202e& \"quoted\""


def environment() -> Environment:
    return Environment(
        host="box", os="Linux 6.1", cpu="Test CPU", cores=2, memory_bytes=8 << 30, python="3.11.2", perfsuite="0.1.0",
        commit="c03c46f", clock="CLOCK_MONOTONIC, 1 ns", stamps="asyncio reads",
    )  # fmt: skip


def run(**changes: object) -> Run:
    fields = {
        "id": "r1", "started": "2026-11-21T10:15:00+00:00", "ended": "2026-11-21T10:16:00+00:00", "seed": 7,
        "profile": "quick", "target": "reference", "plan": {"profile": "quick", "phases": [{"name": "load"}]},
        "simulated": ["language model: 20 ms to the first token, 2 ms a token"], "exit_code": 3, "verdict": "failed",
    }  # fmt: skip
    return Run(**{**fields, **changes})  # type: ignore[arg-type]


def full() -> Result:
    """A run with one phase of every verdict."""
    series = [(t / 10, 100.0 + 10 * math.sin(t)) for t in range(100)]
    histogram = Histogram(10)
    histogram.record_many([20.0 * 1.0135**i for i in range(396)])
    response = MetricResult(
        name="response_time", unit="ms", kind="histogram", value=2100.0, stat="p95", target=5000.0, comparison="<",
        critical=True, verdict="passed", samples=412, n_effective=212.5, interval=(1900.0, 2600.0),
        stats=Stats(mean=900.0, min=20.0, max=4000.0, p50=800.0, p95=2100.0, p99=3900.0, p999=None), series=series,
        histogram=encode_histogram(histogram),
        definition="From the moment the request was due to its last byte.",
    )  # fmt: skip
    censored = MetricResult(
        name="ttft", unit="ms", kind="histogram", value=60000.0, stat="p95", target=500.0, comparison="<",
        critical=True, verdict="failed", samples=100, interval=(math.inf, math.inf), censored=True,
        reason="7 of 100 requests failed", stats=Stats(p50=40.0),
    )  # fmt: skip
    stability = MetricResult(
        name="system_stability", unit="ratio", kind="ratio", value=1.0, target=0.99, comparison=">=", critical=True,
        verdict="undecided", reason="run 5 min or more", samples=5, interval=(0.55, 1.0),
    )  # fmt: skip
    missing = MetricResult(
        name="cache_hit_rate", unit="ratio", kind="ratio", target=0.9, comparison=">", critical=True,
        verdict="not measured", reason="the target does not show its cache",
    )  # fmt: skip
    growth = MetricResult(
        name="memory_growth", unit="bytes", kind="gauge", value=2.5e6, target=1e8, comparison="<=", critical=True,
        verdict="passed", samples=60, interval=(1.5e6, 3.5e6),
        series=[(float(t), 1e8 + 4e4 * t) for t in range(60)],
    )  # fmt: skip
    load = PhaseResult(
        name="load", title="Load", verdict="failed", duration_s=5.0,
        errors=[ErrorCount(kind="timeout", count=5, first=[HOSTILE]),
                ErrorCount(kind="http_5xx", count=2, first=["503"])],
        requested={"concurrency": 10, "rate": None, "duration_s": 5.0},
        delivered={"max_in_flight": 10, "rate": 9.9, "requests": 412, "completed": 405, "failed": 7, "duration_s": 5.0,
                   "late_sends": 0, "coalesced_reads": 0},
        metrics=[response, censored, stability, missing, growth], events=[Event(t_s=2.0, text=HOSTILE)],
        resources={"rss": Resource(unit="bytes", series=[(float(t), 1e8 + t) for t in range(60)]),
                   "cpu": Resource(unit="ratio", series=[(float(t), 0.5) for t in range(60)])},
        windows={"t_s": [0.0, 1.0, 2.0], "due": [9, 10, 10], "ok": [9, 9, 8], "failed": [0, 1, 2]},
    )  # fmt: skip
    phases: list[tuple[str, PhaseVerdict]] = [
        ("baseline", "passed"), ("token", "undecided"), ("cross-model", "not measured"), ("compression", "interrupted"),
    ]  # fmt: skip
    others = [PhaseResult(name=name, verdict=verdict, reason="for the test") for name, verdict in phases]
    advice = [Recommendation(text="Look at the 5 time-outs.", because=["load.error_rate"])]
    return Result(run=run(), environment=environment(), phases=[load, *others], recommendations=advice)


LEVELS: list[dict[str, object]] = [
    {
        "rate": 20.0,
        "delivered": 20.1,
        "p95_ms": 90.0,
        "error_rate": 0.0,
        "in_flight": 3,
        "verdict": "passed",
        "why": "met",
    },
    {
        "rate": 40.0,
        "delivered": 33.0,
        "p95_ms": 2400.0,
        "error_rate": 0.1,
        "in_flight": 90,
        "verdict": "failed",
        "why": "it grows",
    },
    {
        "rate": 28.3,
        "delivered": 28.0,
        "p95_ms": 130.0,
        "error_rate": 0.0,
        "in_flight": 5,
        "verdict": "undecided",
        "why": HOSTILE,
    },
    {
        "rate": 28.3,
        "delivered": 28.4,
        "p95_ms": 120.0,
        "error_rate": 0.0,
        "in_flight": 4,
        "verdict": "passed",
        "why": "met",
    },
    {
        "rate": 33.6,
        "delivered": None,
        "p95_ms": None,
        "error_rate": None,
        "in_flight": 0,
        "verdict": "undecided",
        "why": "–",
    },
]


def searched(high: float | None = 40.0, value: float = 33.6) -> Result:
    """A run that looked for the highest rate."""
    found = MetricResult(
        name="max_rate", unit="1/s", kind="gauge", value=value, verdict="informative", samples=500,
        interval=(28.3 if value else 0.0, high), details={"levels": LEVELS, "resolution": 0.1},
    )  # fmt: skip
    load = PhaseResult(name="load", title="Load", verdict="passed", duration_s=20.0, metrics=[found])
    return Result(run=run(), environment=environment(), phases=[load])


def empty() -> Result:
    """A run in which nothing was measured."""
    return Result(run=run(verdict="not measured", exit_code=3), environment=environment())
