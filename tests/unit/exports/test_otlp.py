"""Figures sent to an OpenTelemetry collector on the loopback, decoded by OpenTelemetry's own protobuf."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perfsuite import runner
from perfsuite._core import Histogram
from perfsuite.configuration import configure
from perfsuite.errors import MissingExtra, UsageError
from perfsuite.exports import otlp
from perfsuite.exports.genai import DURATION, families, request_of
from perfsuite.exports.otlp import OtlpOutlet, endpoint_of, named_by
from perfsuite.exports.outlets import open_outlets
from perfsuite.plan import Plan
from perfsuite.result import ErrorCount, MetricResult, PhaseResult, Result, encode_histogram
from perfsuite.values import Place
from results_made import environment, full, run

VALUES = [12.0, 30.0, 30.5, 400.0, 2000.0]


class Collector:
    """Takes OTLP over HTTP, and keeps what came; ``answer`` is the status that it gives."""

    def __init__(self) -> None:
        self.answer = 200
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.held: threading.Event | None = None
        self.url = ""

    def metrics(self, number: int = -1) -> dict[str, Any]:
        service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
        message = service.ExportMetricsServiceRequest.FromString(self.bodies[number])
        (resource,) = message.resource_metrics
        (scope,) = resource.scope_metrics
        assert scope.scope.name == "perfsuite"
        assert attributes(resource.resource)["service.name"] == "perfsuite"
        return {metric.name: metric for metric in scope.metrics}


def attributes(of: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.held is not None:
                collector.held.wait(60)
            collector.bodies.append(body)
            collector.paths.append(self.path)
            collector.headers.append(dict(self.headers))
            self.send_response(collector.answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def measured(values: list[float] = VALUES, **changes: Any) -> Result:
    histogram = Histogram(10)
    histogram.record_many(values)
    data = encode_histogram(histogram)
    metrics = [
        MetricResult(name=name, unit=unit, kind="histogram", histogram=data)
        for name, unit in [
            ("service_time", "ms"), ("service_ttft", "ms"), ("tpot", "ms"), ("prompt_tokens", "tokens"),
            ("completion_tokens", "tokens"), ("response_time", "ms"),
        ]
    ]  # fmt: skip
    phase = PhaseResult(
        name="load", verdict="passed", metrics=[*metrics, MetricResult(name="error_rate", unit="ratio", kind="ratio",
        value=0.25)], errors=[ErrorCount(kind="timeout", count=2), ErrorCount(kind="http_5xx", count=1)],
        delivered={"completed": len(values), "failed": 3},
    )  # fmt: skip
    about = {"target": "anthropic+http://127.0.0.1:9/v1", "plan": {"models": [{"name": "m-1", "url": None}]}, **changes}
    return Result(run=run(**about), environment=environment(), phases=[phase])


def sent(result: Result, collector: Collector) -> OtlpOutlet:
    outlet = OtlpOutlet(Place(endpoint_of(collector.url)))
    outlet.close(result)
    return outlet


def test_the_names_units_and_attributes_of_the_conventions() -> None:
    with collecting() as collector:
        assert sent(measured(), collector).trouble is None
        found = collector.metrics()
    assert collector.paths == ["/v1/metrics"]
    seconds = {"operation.duration": "client", "time_to_first_token": "server", "time_per_output_token": "server"}
    for name, side in seconds.items():
        assert found[f"gen_ai.{side}.{name}"].unit == "s"
    point = found["gen_ai.server.time_to_first_token"].histogram.data_points[0]
    assert attributes(point) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.system": "anthropic",
        "gen_ai.request.model": "m-1", "server.address": "127.0.0.1", "server.port": 9, "perfsuite.phase": "load",
    }  # fmt: skip
    assert (point.count, point.sum, point.min, point.max) == (5, pytest.approx(2.4725), 0.012, 2.0)
    assert list(point.explicit_bounds)[:3] == [0.001, 0.005, 0.01]
    by_bound = dict(zip(point.explicit_bounds, point.bucket_counts, strict=False))
    assert {bound: count for bound, count in by_bound.items() if count} == {0.02: 1, 0.04: 2, 0.5: 1, 2.5: 1}
    tokens = found["gen_ai.client.token.usage"]
    assert tokens.unit == "{token}"
    assert [attributes(point)["gen_ai.token.type"] for point in tokens.histogram.data_points] == ["input", "output"]


def test_every_histogram_is_whole_and_what_reads_it_back_takes_nothing_broken() -> None:
    from google.protobuf.message import DecodeError

    with collecting() as collector:
        sent(measured(), collector)
        points = [p for metric in collector.metrics().values() for p in metric.histogram.data_points]
        told = [point for point in points if point.HasField("sum")]  # of those that failed there is a count alone
        assert len(points) > len(told) >= 4
        for point in told:
            assert sum(point.bucket_counts) == point.count
            assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
            assert list(point.explicit_bounds) == sorted(set(point.explicit_bounds))
        (body,) = collector.bodies
        for broken in (body[:-1], b"\x0b" + body, b"perfsuite_requests_total 405\n"):
            collector.bodies.append(broken)
            with pytest.raises(DecodeError):
                collector.metrics()


def test_what_failed_is_counted_by_its_kind() -> None:
    with collecting() as collector:
        sent(measured(), collector)
        found = collector.metrics()
    points = {
        attributes(p).get("error.type"): p for p in found["gen_ai.client.operation.duration"].histogram.data_points
    }
    assert {kind: point.count for kind, point in points.items()} == {None: 5, "timeout": 2, "http_5xx": 1}
    assert not points["timeout"].HasField("sum")  # how long they took is not known
    requests = found["perfsuite.requests"].sum
    assert requests.is_monotonic
    assert sorted(point.as_double for point in requests.data_points) == [1.0, 2.0, 5.0]
    (rate,) = found["perfsuite.error_rate"].gauge.data_points
    assert rate.as_double == 0.25


def test_the_provider_is_told_by_the_target() -> None:
    def provider(target: str) -> object:
        return request_of(measured(target=target))["gen_ai.provider.name"]

    assert provider("http://box:8000/v1") == provider("responses+https://box/v1") == "openai"
    assert (provider("ollama+http://box"), provider("reference")) == ("ollama", "reference")
    assert "secret" not in str(request_of(measured(target="http://user:secret@box/v1")))
    assert "gen_ai.request.model" not in request_of(measured(plan={}))


def test_a_name_comes_once_and_has_one_kind() -> None:
    result = measured()
    gauge = PhaseResult(name="b", verdict="passed", metrics=[MetricResult(name="tpot", unit="ms", kind="g", value=1.0)])  # type: ignore[arg-type]
    found = families(msgspec.structs.replace(result, phases=[*result.phases, gauge]))
    names = [family.name for family in found]
    assert len(names) == len(set(names))
    assert len(next(family for family in found if family.name == "perfsuite.tpot").points) == 1
    assert DURATION.name in names


def test_a_series_that_becomes_less_has_begun_anew() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    cumulative = otlp._Cumulative()

    def starts(result: Result) -> tuple[int, int]:
        metrics = cumulative.data(result).resource_metrics[0].scope_metrics[0].metrics
        point = next(one for one in metrics if one.name == DURATION.name).data.data_points[0]
        return point.start_time_unix_nano, point.time_unix_nano

    begun, first = starts(measured(VALUES))
    assert starts(measured([*VALUES, 5.0]))[0] == begun == starts(measured([*VALUES, 5.0]))[0] < first
    again, now = starts(measured([1.0]))
    assert first < again < now
    assert starts(measured([1.0, 2.0]))[0] == again


def test_a_run_sends_at_the_end_of_each_phase_and_at_its_end() -> None:
    with collecting() as collector:
        plan = configure(
            {"phase": ["baseline", "load"], "duration": 0.3, "otlp": collector.url}, environment={}, keywords=True
        )
        result = asyncio.run(runner.execute_async(plan))
        assert len(collector.bodies) >= 1
        phases = {
            attributes(p)["perfsuite.phase"] for p in collector.metrics()["perfsuite.phase.duration"].gauge.data_points
        }
    assert phases == {"baseline", "load"}
    assert not [note for note in result.run.notes if "OpenTelemetry" in note]


def test_a_collector_that_is_down_is_one_note_with_the_reason(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with socket.socket() as closed:  # bound and not listening: nobody else can get the port
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        plan = configure({"phase": ["load"], "duration": 0.3, "otlp": url}, environment={}, keywords=True)
        result = asyncio.run(runner.execute_async(plan))
    assert result.run.error is None
    assert result.phases[0].metrics
    (note,) = [note for note in result.run.notes if "OpenTelemetry" in note]
    assert url in note
    assert "took 0 of" in note
    assert "refused" in note
    assert "export" not in capfd.readouterr().err
    assert not logging.getLogger(otlp.LOGGER).handlers


def test_a_collector_that_refuses_is_named_with_what_it_said() -> None:
    with collecting() as collector:
        collector.answer = 401
        trouble = sent(measured(), collector).trouble
    assert trouble is not None
    assert "took 0 of 1" in trouble
    assert "401" in trouble


def test_a_collector_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "CLOSING_S", 0.2)
    with collecting() as collector:
        collector.held = threading.Event()
        outlet = sent(measured(), collector)
        assert outlet.trouble is not None
        assert "took too long" in outlet.trouble
        collector.held.set()
        assert outlet._thread is not None
        outlet._thread.join(60)


def test_what_comes_while_it_sends_is_left_out_for_the_newest() -> None:
    with collecting() as collector:
        collector.held = threading.Event()
        outlet = OtlpOutlet(Place(endpoint_of(collector.url)))
        for count in range(1, 9):
            outlet.publish(measured([1.0] * count))
        collector.held.set()
        outlet.close(measured([1.0] * 9))
        assert len(collector.bodies) < 9
        assert collector.metrics()[DURATION.name].histogram.data_points[0].count == 9


def test_the_standard_variables_name_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(**variables: str) -> str | None:
        place = named_by(variables)
        return None if place is None else place.reveal()

    assert named(OTEL_EXPORTER_OTLP_ENDPOINT="http://box:4318/") == "http://box:4318/v1/metrics"
    assert named(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://box/own") == "http://box/own"
    assert named() is None
    both = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://box:4318"}
    assert named(**both, OTEL_SDK_DISABLED="true") is named(**both, OTEL_METRICS_EXPORTER="none") is None
    assert endpoint_of("http://box:4318") == endpoint_of("http://box:4318/v1/metrics")
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    (missing,) = open_outlets(Plan(), both)
    assert "perfsuite[otel]" in str(missing.trouble)
    missing.publish(full())
    missing.close(full())
    with pytest.raises(MissingExtra, match=r"perfsuite\[otel\]"):
        open_outlets(Plan(otlp=Place("http://box:4318")), {})
    assert open_outlets(Plan(), {}) == []


@pytest.mark.parametrize("url", ["box:4318", "grpc://box:4317", "http://", "http://box:port", "off"])
def test_what_is_no_collector_is_wrong_usage(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="http://HOST:4318"):
        configure({"otlp": url}, folder=tmp_path, environment={}, keywords=True)
