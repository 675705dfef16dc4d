"""A run's figures to an OpenTelemetry collector, by OTLP over HTTP (``perfsuite[otel]``), from a thread of its own.

Headers, certificates and compression are those of the standard variables (``OTEL_EXPORTER_OTLP_HEADERS``, …).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from perfsuite.errors import MissingExtra, PerfsuiteError
from perfsuite.exports.genai import Distribution, Family, Point, families, resource_of
from perfsuite.values import Place

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from perfsuite.result import Result

TIMEOUT_S = 5.0
"""For one export, with its retries."""
CLOSING_S = 2 * TIMEOUT_S + 1.0
"""An export that is under way may have to end before the last begins."""
PATH = "/v1/metrics"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
OWN_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
LOGGER = "opentelemetry.exporter.otlp.proto.http.metric_exporter"


def named_by(environment: Mapping[str, str]) -> Place | None:
    """The collector that the standard variables name, as ``OtlpOutlet`` wants it; None where they name none, or turn
    metrics off."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environment.get("OTEL_METRICS_EXPORTER", "otlp").strip().lower() == "none":
        return None
    own, general = environment.get(OWN_ENDPOINT, "").strip(), environment.get(ENDPOINT, "").strip()
    return Place(own) if own else Place(general.rstrip("/") + PATH) if general else None


def endpoint_of(url: str) -> str:
    """Where metrics go at a collector: ``http://host:4318`` has them at ``/v1/metrics``."""
    return url if url.rstrip("/").endswith(PATH) else url.rstrip("/") + PATH


class OtlpOutlet:
    """Sends the newest result that it was given, one at a time; what came while it sent is left out for what came last.

    ``trouble`` counts what a collector did not take, with the last reason.  Raises MissingExtra without the exporter,
    UsageError for what it cannot be made of.
    """

    def __init__(self, endpoint: Place) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.sdk.metrics.export import MetricExportResult
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("opentelemetry"):
                raise
            raise MissingExtra("opentelemetry-exporter-otlp-proto-http", "otel", "sending to OpenTelemetry") from None

        self._endpoint = endpoint
        self._exporter = OTLPMetricExporter(endpoint=endpoint.reveal(), timeout=TIMEOUT_S)
        self._success = MetricExportResult.SUCCESS
        self._wording = _Wording()
        self._logger = logging.getLogger(LOGGER)
        self._cumulative = _Cumulative()
        self._wanted = threading.Condition()
        self._next: Result | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        self._sent = self._failed = 0
        self._why = ""
        self._late = False

    @property
    def trouble(self) -> str | None:
        """What the collector did not get, or None."""
        if self._late:
            return f"OpenTelemetry: {self._endpoint} took too long, and has not got the last figures"
        if not self._failed:
            return None
        return f"OpenTelemetry: {self._endpoint} took {self._sent - self._failed} of {self._sent} exports: {self._why}"

    def publish(self, result: Result) -> None:
        """Leaves the result to be sent."""
        with self._wanted:
            self._next = result
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="perfsuite-otlp", daemon=True)
                self._thread.start()
            self._wanted.notify()

    def close(self, result: Result) -> None:
        """Sends the result and ends; waits for CLOSING_S at most."""
        self.publish(result)
        with self._wanted:
            self._closing = True
            self._wanted.notify()
        thread = self._thread
        assert thread is not None
        thread.join(CLOSING_S)
        self._late = thread.is_alive()
        self._exporter.shutdown()

    def _run(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._next is not None or self._closing)
                result, self._next = self._next, None
            if result is None:
                return
            self._send(result)

    def _send(self, result: Result) -> None:
        # The exporter says by logging what went wrong; on a terminal that would be a line a try.
        before = self._logger.propagate
        self._logger.addHandler(self._wording)
        self._logger.propagate = False
        self._wording.said.clear()
        try:
            sent = self._exporter.export(self._cumulative.data(result)) is self._success
            why = next(iter(self._wording.said), "it was not taken")
        except Exception as error:  # noqa: BLE001 - a run does not end because of who listens to it
            sent, why = False, str(error) if isinstance(error, PerfsuiteError) else f"{type(error).__name__}: {error}"
        finally:
            self._logger.propagate = before
            self._logger.removeHandler(self._wording)
        self._sent += 1
        if not sent:
            self._failed += 1
            self._why = " ".join(why.split())[:500]


class _Wording(logging.Handler):
    """Keeps what a logger says: the first of an export has the reason, the others that it was given up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps it."""
        self.said.append(record.getMessage())


class _Cumulative:
    """Results as OTLP's cumulative metrics: each series has begun with the run, or, where it has become less, anew."""

    def __init__(self) -> None:
        self._series: dict[tuple[object, ...], tuple[float, int]] = {}
        self._before = 0

    def data(self, result: Result) -> MetricsData:
        """All of a result, as the exporter takes it."""
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        now = time.time_ns()
        begun = int(datetime.fromisoformat(result.run.started).timestamp() * 1e9)
        metrics = [self._metric(family, begun, now) for family in families(result)]
        scope = ScopeMetrics(
            scope=InstrumentationScope("perfsuite", result.environment.perfsuite), metrics=metrics, schema_url=""
        )
        resource = Resource(dict(resource_of(result)))
        self._before = now
        return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])

    def _metric(self, family: Family, begun: int, now: int) -> Any:
        from opentelemetry.sdk.metrics import export

        points = [self._point(family, point, begun, now) for point in family.points]
        cumulative = export.AggregationTemporality.CUMULATIVE
        data: Any = (
            export.Histogram(points, cumulative)
            if family.kind == "histogram"
            else export.Sum(points, cumulative, True)
            if family.kind == "sum"
            else export.Gauge(points)
        )
        return export.Metric(family.name, family.description, family.unit, data)

    def _point(self, family: Family, point: Point, begun: int, now: int) -> Any:
        from opentelemetry.sdk.metrics import export

        value = point.value
        if family.kind == "gauge":
            return export.NumberDataPoint(point.attributes, None, now, value)
        key = (family.name, *sorted(point.attributes.items(), key=str))
        total = float(value.count if isinstance(value, Distribution) else value)
        last, start = self._series.get(key, (0.0, begun))
        if total < last:
            start = self._before
        self._series[key] = (total, start)
        if isinstance(value, Distribution):
            spread: Any = (value.count, value.sum, value.counts, value.bounds, value.min, value.max)
            return export.HistogramDataPoint(point.attributes, start, now, *spread)
        return export.NumberDataPoint(point.attributes, start, now, value)
