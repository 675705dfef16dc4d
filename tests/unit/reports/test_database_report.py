"""What a database's measurement says in lines."""

from __future__ import annotations

from typing import Any

import pytest

from perfsuite.reports import checkpoint, database
from perfsuite.result import MetricResult, PhaseResult, Stats


def row(times: float | None, low: float = 0.0, high: float | None = 0.0, **fields: Any) -> dict[str, Any]:
    known = times is not None
    return {
        "index": "idx",
        "used": True,
        "times_quicker": times,
        "times_slower": 1.0 / times if times is not None else None,
        "interval": [low, high] if known else None,
        "p10_with_ms": 0.2 if known else None,
        "p10_without_ms": 0.2 * times if times is not None else None,
        "answered_with": 5,
        "answered_without": 5,
        **fields,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (row(10.0, 8.0, 12.0), "idx: 200 µs with it, 2 ms without: 10 times quicker ✓"),
        (row(10.0, 8.0, None), "idx: 200 µs with it, 2 ms without: 10 times quicker ✓"),
        (row(10.0, 8.0, 12.0, used=False), "idx: 200 µs with it, 2 ms without: 10 times quicker ✗ not in the plan"),
        (
            row(0.5, 0.4, 0.6),
            "idx: 200 µs with it, 100 µs without: 2 times slower ✗ the plan uses it all the same",
        ),
        (row(0.5, 0.4, 0.6, used=None), "idx: 200 µs with it, 100 µs without: 2 times slower"),
        (
            row(0.9, 0.5, 1.5),
            "idx: 200 µs with it, 180 µs without: 0.9 times as quick, not certain (0.5 to 1.5) ✓",
        ),
        (
            row(3.0, 0.5, None),
            "idx: 200 µs with it, 600 µs without: 3 times as quick, not certain (0.5 to ∞) ✓",
        ),
        (row(None, answered_with=0), "idx: no figure, for no look-up was answered with it ✓"),
        (row(None, answered_without=0), "idx: no figure, for no look-up was answered without it ✓"),
    ],
)
def test_what_an_index_is_worth_is_said_as_it_was_found(given: dict[str, Any], said: str) -> None:
    assert database.index_line(given) == said


def phase(stats: Stats) -> PhaseResult:
    given = {"unit": "ms", "kind": "histogram", "value": stats.mean, "stats": stats, "samples": 100}
    metrics = [MetricResult(name=name, **given) for name in ("query_time", "named_query_time")]  # type: ignore[arg-type]
    return PhaseResult(name="database", verdict="passed", metrics=metrics)


@pytest.mark.parametrize(
    ("stats", "said"),
    [
        (Stats(mean=2.0, p50=1.0, p95=4.0), "your queries: 1 ms (95 % within 4 ms), 100 times"),
        (Stats(mean=2.0, p50=1.0, p95=None), "your queries: 1 ms (more than 5 % failed), 100 times"),
        (Stats(mean=2.0, p50=None, p95=None), "your queries: no median, for half of them failed, 100 times"),
    ],
)
def test_a_quantile_that_failures_hide_says_so(stats: Stats, said: str) -> None:
    assert list(database.speeds(phase(stats))) == [said]


def test_each_query_of_the_users_own_has_a_line() -> None:
    times = {"p50_ms": 1.0, "p95_ms": 4.0}
    rows = [
        {"query": "orders", "times": 90, "failed": 0, **times},
        {"query": "carts", "times": 7, "failed": 3, **times},
        {"query": "none", "times": 0, "failed": 3, "p50_ms": None, "p95_ms": None},
    ]
    found = MetricResult(
        name="named_query_time", unit="ms", kind="histogram", stats=Stats(mean=2.0, p50=1.0, p95=4.0), samples=100,
        details={"queries": rows},
    )  # fmt: skip
    assert list(database.speeds(PhaseResult(name="database", verdict="passed", metrics=[found])))[1:] == [
        "  orders: 1 ms (95 % within 4 ms), 90 times",
        "  carts: 1 ms (95 % within 4 ms), 7 times, 3 failed",
        "  none: 0 times, 3 failed",
    ]


@pytest.mark.parametrize(
    ("stats", "said"),
    [
        (Stats(mean=0.28, min=0.153, max=2.03), "  • Average query time: 280 µs (153 to 2030)"),
        (Stats(mean=1400.0, min=0.5, max=2100.0), "  • Average query time: 1.4 seconds (0.0005 to 2.1)"),
        (Stats(mean=1.01, min=0.0298, max=125.0), "  • Average query time: 1.01 ms (0.0298 to 125)"),
        (Stats(mean=0.28, min=0.153, max=None), "  • Average query time: 280 µs (153 to –)"),
        (Stats(mean=0.28), "  • Average query time: 280 µs"),
    ],
)
def test_a_line_of_the_checkpoint_has_one_unit(stats: Stats, said: str) -> None:
    assert said in [line.removesuffix(" ✓") for line in checkpoint.summary(phase(stats))]
