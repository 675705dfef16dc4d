"""A result, finished or so far, as Prometheus text: for a ``/metrics`` page or node_exporter's textfile collector."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from perfsuite.errors import MissingExtra
from perfsuite.exports.bounds import counted, octaves

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from perfsuite._core import Histogram
    from perfsuite.result import MetricResult, PhaseResult, Result

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""What a server says of ``exposition``'s bytes."""


class Form(NamedTuple):
    """How a unit is written: the end of the name, what a value is multiplied by, the octaves of the buckets."""

    suffix: str
    scale: float
    octaves: tuple[int, int]


FORMS = {
    "ms": Form("seconds", 1e-3, (-4, 18)),
    "s": Form("seconds", 1.0, (-14, 12)),
    "bytes": Form("bytes", 1.0, (0, 40)),
    "tokens": Form("tokens", 1.0, (0, 20)),
    "ratio": Form("ratio", 1.0, (-10, 1)),
    "%": Form("percent", 1.0, (-4, 8)),
    "1/s": Form("per_second", 1.0, (-4, 20)),
    "count": Form("", 1.0, (0, 20)),
}
"""By perfsuite's units.  Times are in seconds, as Prometheus wants them."""
OTHER = FORMS["count"]


def check() -> None:
    """Raises MissingExtra where prometheus_client is not installed."""
    from importlib.util import find_spec

    if find_spec("prometheus_client") is None:
        raise MissingExtra("prometheus_client", "prometheus", "Prometheus text")


def exposition(result: Result) -> bytes:
    """The text: each metric of each phase, histograms with their buckets, the criteria, requests and errors, the last
    of each resource, and who ran.  The buckets' bounds are always the same, so that what is scraped can be added up.

    Raises MissingExtra without prometheus_client.
    """
    check()
    from prometheus_client import CollectorRegistry, generate_latest

    class Source:
        def collect(self) -> Iterable[Metric]:
            return _families(result)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Source())
    return bytes(generate_latest(registry))


def name_of(metric: str, unit: str) -> str:
    """The family of a metric: ``perfsuite_ttft_seconds``."""
    suffix = FORMS.get(unit, OTHER).suffix
    said = metric.endswith(suffix) or (suffix == "per_second" and metric.endswith("_per_s"))
    return f"perfsuite_{metric}" if said else f"perfsuite_{metric}_{suffix}"


def buckets(histogram: Histogram, form: Form) -> list[tuple[str, float]]:
    """How many values are at or below each of the form's bounds."""
    bounds = octaves(*form.octaves)
    limits = [*(repr(bound * form.scale) for bound in bounds), "+Inf"]
    return list(zip(limits, map(float, itertools.accumulate(counted(histogram, bounds))), strict=True))


def _families(result: Result) -> Iterator[Metric]:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    run, where = result.run, result.environment
    about = InfoMetricFamily("perfsuite_run", "The run that these figures are of.")
    about.add_metric(
        [],
        {"run": run.id, "target": run.target, "profile": run.profile, "verdict": run.verdict, "host": where.host}
        | {"perfsuite": where.perfsuite, "started": run.started},
    )
    yield about
    lasted = GaugeMetricFamily("perfsuite_phase_duration_seconds", "How long the phase took so far.", labels=["phase"])
    verdict = GaugeMetricFamily(
        "perfsuite_phase_verdict", "1 for the phase's verdict as it stands.", labels=["phase", "verdict"]
    )
    requests = CounterMetricFamily("perfsuite_requests", "Requests that came to an end.", labels=["phase", "outcome"])
    errors = CounterMetricFamily("perfsuite_errors", "Failed requests by kind.", labels=["phase", "kind"])
    for phase in result.phases:
        lasted.add_metric([phase.name], phase.duration_s)
        verdict.add_metric([phase.name, phase.verdict], 1.0)
        for outcome in ("completed", "failed"):
            if outcome in phase.delivered:
                requests.add_metric([phase.name, outcome], float(phase.delivered[outcome]))
        for error in phase.errors:
            errors.add_metric([phase.name, error.kind], float(error.count))
    yield from (lasted, verdict, requests, errors)
    yield from _resources(result)
    yield from _metrics(result)
    yield from _criteria(result)


def _resources(result: Result) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily

    families: dict[str, Any] = {}
    for phase in result.phases:
        for series, resource in phase.resources.items():
            last = next((value for _, value in reversed(resource.series) if value is not None), None)
            if last is None:
                continue
            form = FORMS.get(resource.unit, OTHER)
            name = f"perfsuite_resource_{form.suffix or 'value'}"
            family = families.setdefault(
                name, GaugeMetricFamily(name, "The last sample of each resource.", labels=["phase", "series"])
            )
            family.add_metric([phase.name, series], last * form.scale)
    yield from families.values()


def _metrics(result: Result) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily

    families: dict[str, Any] = {}
    seen = set()
    for phase, metric in _each(result):
        if (phase.name, metric.name) in seen:
            continue  # held against a further criterion: the same figures
        form = FORMS.get(metric.unit, OTHER)
        name = name_of(metric.name, metric.unit)
        said = metric.definition or metric.name
        distribution = metric.distribution()
        if distribution is not None:
            family = families.setdefault(name, HistogramMetricFamily(name, said, labels=["phase"]))
            if not isinstance(family, HistogramMetricFamily):
                continue  # in another phase it is no distribution: one name cannot be both
            family.add_metric([phase.name], buckets(distribution, form), distribution.sum * form.scale)
        elif metric.value is not None:
            family = families.setdefault(name, GaugeMetricFamily(name, said, labels=["phase"]))
            if isinstance(family, GaugeMetricFamily):
                family.add_metric([phase.name], metric.value * form.scale)
        else:
            continue
        seen.add((phase.name, metric.name))
    yield from families.values()


def _criteria(result: Result) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily

    labels = ["phase", "metric", "stat", "unit"]
    value = GaugeMetricFamily("perfsuite_criterion_value", "What is held against the target.", labels=labels)
    target = GaugeMetricFamily(
        "perfsuite_criterion_target", "The target of a criterion.", labels=[*labels, "comparison"]
    )
    verdict = GaugeMetricFamily(
        "perfsuite_criterion_verdict", "1 for the criterion's verdict as it stands.", labels=[*labels, "verdict"]
    )
    seen = set()
    for phase, metric in _each(result):
        key = [phase.name, metric.name, metric.stat, metric.unit]
        which = (*key, metric.comparison)
        if metric.target is None or which in seen:
            continue
        if metric.value is not None and (*key, None) not in seen:
            value.add_metric(key, metric.value)
        seen.update({which, (*key, None)})
        target.add_metric([*key, metric.comparison or ""], metric.target)
        verdict.add_metric([*key, metric.verdict], 1.0)
    yield from (value, target, verdict)


def _each(result: Result) -> Iterator[tuple[PhaseResult, MetricResult]]:
    return ((phase, metric) for phase in result.phases for metric in phase.metrics)
