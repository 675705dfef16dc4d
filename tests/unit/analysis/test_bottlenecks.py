"""What gives out first, and nothing where nothing did."""

from __future__ import annotations

import pytest

from perfsuite.analysis.bottlenecks import bottlenecks, stages
from perfsuite.result import MetricResult, PhaseResult, Resource, Stats


def resource(*values: float | None, unit: str = "%") -> Resource:
    return Resource(unit=unit, series=[(float(t), value) for t, value in enumerate(values)])


def timed(**means: float) -> list[MetricResult]:
    return [
        MetricResult(name=name, unit="ms", kind="histogram", stats=Stats(mean=mean)) for name, mean in means.items()
    ]


def phase(**fields: object) -> PhaseResult:
    return PhaseResult(**{"name": "load", "verdict": "passed", **fields})  # type: ignore[arg-type]


def test_resources_come_by_when_they_were_full() -> None:
    found = bottlenecks(
        [
            phase(
                resources={
                    "host.memory_percent": resource(50, 60, 95, 95, 95, 95),
                    "host.cpu_percent": resource(50, 92, 99, 100, 100, 100),
                    "host.disk_read_bytes": resource(1e9, 1e9, 1e9, 1e9, unit="bytes"),
                }
            )
        ],
        2,
    )
    assert [(one.what, one.since_s) for one in found] == [("host.cpu_percent", 1.0), ("host.memory_percent", 2.0)]
    assert "1 s into load" in found[0].text
    assert found[1].share == pytest.approx(0.95)


@pytest.mark.parametrize("values", [(99, 99, 10, 99, 99), (89, 89, 89, 89), (99, None, 99, 99), ()])
def test_a_hiccup_is_no_bottleneck(values: tuple[float | None, ...]) -> None:
    assert bottlenecks([phase(resources={"host.cpu_percent": resource(*values)})], 2) == []


def test_a_process_that_uses_one_of_several_processors_is_told_from_one_that_uses_all() -> None:
    def said(*values: float, cores: int) -> str:
        (one,) = bottlenecks([phase(resources={"process.cpu_percent": resource(*values)})], cores)
        return one.text

    assert "one whole processor" in said(99, 99, 99, 99, cores=4)
    assert "all processors" in said(399, 399, 399, 399, cores=4)
    assert "its one processor" in said(99, 99, 99, 99, cores=1)
    assert bottlenecks([phase(resources={"process.cpu_percent": resource(250, 250, 250, 250)})], 4) == []


def test_a_servers_queue_counts_once_it_stays() -> None:
    (one,) = bottlenecks([phase(resources={"server.requests_waiting": resource(0, 0, 3, 5, 4, unit="count")})], 2)
    assert one.since_s == 2.0
    assert "up to 5 requests" in one.text
    assert bottlenecks([phase(resources={"server.requests_waiting": resource(0, 3, 0, 5, 0, unit="count")})], 2) == []


@pytest.mark.parametrize(
    ("means", "what"),
    [
        ({"response_time": 1000.0, "service_time": 300.0, "service_ttft": 100.0}, "waiting"),
        ({"response_time": 310.0, "service_time": 300.0, "service_ttft": 250.0}, "first token"),
        ({"response_time": 310.0, "service_time": 300.0, "service_ttft": 50.0}, "generation"),
    ],
)
def test_the_stage_that_takes_the_most_is_named(means: dict[str, float], what: str) -> None:
    measured = phase(metrics=timed(**means))
    (one,) = bottlenecks([measured], 2)
    assert (one.what, one.kind) == (what, "stage")
    took = stages(measured)
    assert took is not None
    assert took.whole == means["response_time"]


@pytest.mark.parametrize(
    "means",
    [
        {"response_time": 300.0, "service_time": 200.0, "service_ttft": 100.0},
        {"response_time": 300.0, "service_time": 200.0},
        {"response_time": 0.0, "service_time": 0.0, "service_ttft": 0.0},
        {},
    ],
)
def test_no_stage_is_named_where_none_stands_out_or_none_was_measured(means: dict[str, float]) -> None:
    assert bottlenecks([phase(metrics=timed(**means))], 2) == []


def test_a_late_client_is_named_and_a_punctual_one_is_not() -> None:
    (one,) = bottlenecks([phase(delivered={"late_sends": 20, "requests": 100})], 2)
    assert one.kind == "client"
    assert bottlenecks([phase(delivered={"late_sends": 4, "requests": 100})], 2) == []
