"""What a monitor has seen since it was started, as Prometheus text for its ``/metrics`` page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from perfsuite.exports.prometheus import FORMS, buckets, check

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from perfsuite._core import Histogram


class Watched(NamedTuple):
    """``errors``: failed requests by kind; ``times``: ms by metric; ``firing``: name and kind of each alert."""

    target: str
    ok: int
    errors: Mapping[str, int]
    times: Mapping[str, Histogram]
    firing: Sequence[tuple[str, str]]


def exposition(watched: Watched) -> bytes:
    """The text.  Its counts begin at nothing when the monitor is started: what reads it knows of such resets.

    Raises MissingExtra without prometheus_client.
    """
    check()
    from prometheus_client import CollectorRegistry, generate_latest

    class Source:
        def collect(self) -> Iterable[Metric]:
            return _families(watched)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Source())
    return bytes(generate_latest(registry))


def _families(watched: Watched) -> Iterator[Metric]:
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        InfoMetricFamily,
    )

    yield InfoMetricFamily("perfsuite_monitor", "What is monitored.", value={"target": watched.target})
    requests = CounterMetricFamily("perfsuite_monitor_requests", "Requests that ended.", labels=["outcome"])
    requests.add_metric(["completed"], float(watched.ok))
    requests.add_metric(["failed"], float(sum(watched.errors.values())))
    yield requests
    errors = CounterMetricFamily("perfsuite_monitor_errors", "Failed requests by kind.", labels=["kind"])
    for kind, count in watched.errors.items():
        errors.add_metric([kind], float(count))
    yield errors
    form = FORMS["ms"]
    for name, histogram in watched.times.items():
        yield HistogramMetricFamily(
            f"perfsuite_monitor_{name}_{form.suffix}",
            f"{name} of the requests that were answered.",
            buckets=buckets(histogram, form),
            sum_value=histogram.sum * form.scale,
        )
    alerts = GaugeMetricFamily("perfsuite_monitor_alert_firing", "1 for each alert.", labels=["alert", "kind"])
    for alert, of in watched.firing:
        alerts.add_metric([alert, of], 1.0)
    yield alerts
