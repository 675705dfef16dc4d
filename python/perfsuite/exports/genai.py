"""A result in the names of OpenTelemetry's conventions for generative AI, and the rest of it in perfsuite's own.

Conventions: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/ with the buckets that they advise.
Times are in seconds, as they want them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

from perfsuite.exports.bounds import counted

if TYPE_CHECKING:
    from perfsuite.result import MetricResult, PhaseResult, Result

Attributes = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Counts by bucket, one more than ``bounds``; neither, and no sum, where only a number of requests is known."""

    count: int
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    sum: float | None = None
    min: float | None = None
    max: float | None = None


class Point(NamedTuple):
    """A value with what it is of."""

    attributes: Attributes
    value: float | Distribution


class Family(NamedTuple):
    """A metric: a ``histogram`` of Distributions, a ``sum`` that only grows, or a ``gauge``."""

    name: str
    unit: str
    description: str
    kind: Literal["histogram", "sum", "gauge"]
    points: list[Point]


class Convention(NamedTuple):
    """A metric of the conventions: its name, unit and advised bounds, and what of a result it is."""

    name: str
    unit: str
    bounds: tuple[float, ...]
    of: str
    scale: float
    description: str
    attributes: tuple[tuple[str, str], ...] = ()


_OPERATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKENS = tuple(float(4**power) for power in range(14))

DURATION = Convention(
    "gen_ai.client.operation.duration", "s", _OPERATION, "service_time", 1e-3, "From the send to the last byte."
)
CONVENTIONS = (
    DURATION,
    Convention(
        "gen_ai.server.time_to_first_token", "s", _FIRST, "service_ttft", 1e-3, "From the send to the first token."
    ),
    Convention(
        "gen_ai.server.time_per_output_token", "s", _EACH, "tpot", 1e-3, "From each token to the next, after the first."
    ),
    Convention(
        "gen_ai.client.token.usage", "{token}", _TOKENS, "prompt_tokens", 1.0, "Tokens of a request and its answer.",
        (("gen_ai.token.type", "input"),),
    ),
    Convention(
        "gen_ai.client.token.usage", "{token}", _TOKENS, "completion_tokens", 1.0,
        "Tokens of a request and its answer.", (("gen_ai.token.type", "output"),),
    ),
)  # fmt: skip

UNITS = {"ms": ("s", 1e-3), "bytes": ("By", 1.0), "tokens": ("{token}", 1.0), "ratio": ("1", 1.0), "%": ("%", 1.0)}
"""perfsuite's unit → the one of UCUM, and what a value is multiplied by.  Others are as they are."""
_OWN_BOUNDS = {"s": (*_FIRST, 25.0, 50.0, 100.0), "{token}": _TOKENS, "By": tuple(4.0**n for n in range(21))}
_OTHER_BOUNDS = tuple(sorted(step * 10.0**power for power in range(-3, 7) for step in (1.0, 2.5, 5.0)))


def resource_of(result: Result) -> Attributes:
    """What all of it is of."""
    run = result.run
    return {
        "service.name": "perfsuite",
        "service.version": result.environment.perfsuite,
        "service.instance.id": run.id,
        "host.name": result.environment.host,
        "perfsuite.run.id": run.id,
        "perfsuite.profile": run.profile,
    }


def request_of(result: Result) -> Attributes:
    """What every request of a run has in common: the operation, who provides it, the model where one is asked for."""
    target = result.run.target
    scheme, colon, rest = target.partition("://")
    dialect, plus, _ = scheme.rpartition("+")
    provider = (dialect if plus else "openai") if colon else target.partition(":")[0]
    provider = {"responses": "openai", "realtime": "openai"}.get(provider, provider)
    found: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.system": provider,
    }
    models = [str(model["name"]) for model in result.run.plan.get("models") or () if "name" in model]
    if len(models) == 1:
        found["gen_ai.request.model"] = models[0]
    if colon:
        where = urlsplit(f"//{rest}")
        if where.hostname:
            found["server.address"] = where.hostname
        if where.port is not None:
            found["server.port"] = where.port
    return found


def families(result: Result) -> list[Family]:
    """All figures of a result."""
    found: dict[str, Family] = {}
    for family in (*_conventional(result), *_own(result), *_requests(result)):
        known = found.setdefault(family.name, family._replace(points=[]))
        if known.kind == family.kind:  # a name of two kinds in two phases is the one that came first
            known.points.extend(family.points)
    return [family for family in found.values() if family.points]


def _conventional(result: Result) -> Iterator[Family]:
    common = request_of(result)
    for convention in CONVENTIONS:
        for phase in result.phases:
            metric = phase.metric(convention.of)
            spread = None if metric is None else _spread(metric, convention.bounds, convention.scale)
            attributes = {**common, **dict(convention.attributes), "perfsuite.phase": phase.name}
            points = [] if spread is None else [Point(attributes, spread)]
            if convention is DURATION:  # how long they took is not known by kind
                points += [
                    Point({**attributes, "error.type": error.kind}, Distribution(count=error.count))
                    for error in phase.errors
                ]
            yield Family(convention.name, convention.unit, convention.description, "histogram", points)


def _own(result: Result) -> Iterator[Family]:
    each = [(phase, metric) for phase in result.phases for metric in phase.metrics]
    for phase, metric in each:
        if metric is not phase.metric(metric.name):
            continue  # held against a further criterion: the same figures
        unit, scale = UNITS.get(metric.unit, (metric.unit, 1.0))
        attributes = {"perfsuite.phase": phase.name}
        spread = _spread(metric, _OWN_BOUNDS.get(unit, _OTHER_BOUNDS), scale)
        said = (f"perfsuite.{metric.name}", unit, metric.definition)
        if spread is not None:
            yield Family(*said, "histogram", [Point(attributes, spread)])
        elif metric.value is not None:
            yield Family(*said, "gauge", [Point(attributes, metric.value * scale)])


def _requests(result: Result) -> Iterator[Family]:
    points: list[Point] = []
    for phase in result.phases:
        attributes: dict[str, str | int] = {**request_of(result), "perfsuite.phase": phase.name}
        if "completed" in phase.delivered:
            points.append(Point(attributes, float(phase.delivered["completed"])))
        points += [Point({**attributes, "error.type": error.kind}, float(error.count)) for error in phase.errors]
    yield Family("perfsuite.requests", "{request}", "Requests that came to an end.", "sum", points)
    lasted = [Point({"perfsuite.phase": phase.name, **_verdict(phase)}, phase.duration_s) for phase in result.phases]
    yield Family("perfsuite.phase.duration", "s", "How long the phase took so far.", "gauge", lasted)


def _verdict(phase: PhaseResult) -> Attributes:
    return {"perfsuite.verdict": phase.verdict}


def _spread(metric: MetricResult, bounds: tuple[float, ...], scale: float) -> Distribution | None:
    histogram = metric.distribution()
    if histogram is None or not histogram.count:
        return None
    counts = counted(histogram, [bound / scale for bound in bounds])
    low, high = histogram.min * scale, histogram.max * scale
    return Distribution(
        count=histogram.count, bounds=bounds, counts=tuple(counts), sum=histogram.sum * scale, min=low, max=high
    )
