"""What a measured capacity model says of a number of users: how it would be, how sure that is, and whether it is beyond
what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from perfsuite.analysis.capacity import Interval, Law, Level, fit, in_flight
from perfsuite.metric import catalogue, labelled
from perfsuite.result import PhaseResult

MEASURED_BY = "peak_throughput"
"""The metric whose details have the levels."""
FURTHEST = 64.0
"""The highest load within the criteria is looked for up to so many times the highest concurrency measured."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A latency at the load asked for, in ms, with two spreads of the levels about their curve either way, and the
    phase's limit on it, where there is one."""

    name: str
    value: Interval
    limit: float | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """``users`` who each think ``think_s`` seconds between an answer and the next message.

    ``times_beyond``: how many times the highest measured concurrency they are; 1 and less: none is extrapolated.
    ``most_users``: who can be had within the criteria; ``copies_peak``: requests a second of two such systems at most,
    if they share nothing.
    """

    users: float
    think_s: float
    concurrency: float
    throughput: Interval
    response_ms: Interval
    latencies: Sequence[Latency]
    times_beyond: float
    measured_to: float
    within: bool | None
    most_users: float | None
    most_beyond: bool
    copies_peak: float | None
    held_out_error: float | None


def levels_of(phase: PhaseResult) -> list[Level]:
    """The levels that a capacity phase measured; empty for another phase, or one that measured none."""
    found = phase.metric(MEASURED_BY)
    rows = found.details.get("levels") if found is not None else None
    levels = []
    for row in rows if isinstance(rows, list) else ():
        latencies = cast("Mapping[str, float]", row["latencies_ms"])
        levels.append(Level(row["concurrency"], row["throughput"], row["error"], dict(latencies)))
    return levels


def predict(phase: PhaseResult, users: float, think_s: float = 0.0, *, seed: int = 0) -> Prediction | None:
    """What the levels of a capacity phase say of so many users; None where they are too few for a law."""
    model = fit(levels_of(phase), seed=seed)
    if model is None:
        return None
    highest = model.levels[-1].concurrency
    at = in_flight(model.law, users, think_s)
    limits = {
        labelled(one.name, one.stat): one.target
        for one in phase.metrics
        if one.target is not None and catalogue().get(one.name) is not None and catalogue()[one.name].objective
    }
    latencies = []
    most = FURTHEST * highest
    for name in model.latency_names:
        curve = model.latency(name)
        latencies.append(Latency(name, curve.between(at), limits.get(name)))
        if name in limits:
            most = min(most, curve.within(limits[name], most))
    judged = [one for one in latencies if one.limit is not None]
    bounded = bool(judged) and most < FURTHEST * highest
    error = phase.metric("capacity_error")

    def throughput(law: Law) -> float:
        return law.throughput(max(1.0, in_flight(law, users, think_s)))

    return Prediction(
        users=users,
        think_s=think_s,
        concurrency=at,
        throughput=model.interval(throughput),
        response_ms=model.interval(lambda law: 1e3 * law.response_s(max(1.0, in_flight(law, users, think_s)))),
        latencies=latencies,
        times_beyond=at / highest,
        measured_to=highest,
        within=all(one.value.value <= cast("float", one.limit) for one in judged) if judged else None,
        most_users=most + model.law.throughput(most) * think_s if bounded and most > 0.0 else 0.0 if bounded else None,
        most_beyond=model.extrapolates(most),
        copies_peak=2.0 * model.law.peak if math.isfinite(model.law.peak) else None,
        held_out_error=error.value if error is not None else None,
    )
