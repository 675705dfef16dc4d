"""What gives out first: resources at their limits, in the order of time, and the stage that an answer's time goes into.

Nothing is said without a figure: a resource counts once consecutive readings were at its limit, a stage only where its
time was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from perfsuite.result import PhaseResult, Series
from perfsuite.units import figure, number

FULL = 0.9
"""A share of its limit from which on a resource is used up: what waits for it waits for long."""
CONSECUTIVE = 3
"""Readings in a row: one alone may be a hiccup."""
MOST_OF_IT = 0.5
"""A stage that takes more of an answer's time than all others together."""
MORE = 1.1
LATE = 0.05
QUEUE = "server.requests_waiting"
"""The series of a server that tells how many requests it has not begun."""

STAGES = ("waiting", "first token", "generation")


class Bottleneck(NamedTuple):
    """A limit that was met in a phase: the series or stage, its share of the limit (or of the answer's time), since
    when (seconds into the phase; None for a stage), and the evidence in words."""

    phase: str
    what: str
    kind: Literal["resource", "stage", "client"]
    share: float
    since_s: float | None
    text: str


class Stages(NamedTuple):
    """Where the mean answer's time went, in ms: due until sent, sent until its first token, from there to its end."""

    phase: str
    waiting: float
    first_token: float
    generation: float

    @property
    def whole(self) -> float:
        """The mean response time."""
        return self.waiting + self.first_token + self.generation


def bottlenecks(phases: Sequence[PhaseResult], cores: int) -> list[Bottleneck]:
    """The limits that each phase met: its resources by when they were first full, then the stage that takes the most,
    then the measuring side where it was late.  ``cores``: of the machine."""
    found: list[Bottleneck] = []
    for phase in phases:
        full = sorted(_resources(phase, cores), key=lambda one: one.since_s or 0.0)
        found += full
        found += _stage(phase)
        found += _client(phase)
    return found


def stages(phase: PhaseResult) -> Stages | None:
    """The stages of a phase's answers; None where not all three were measured."""
    response, service, first = (_mean(phase, name) for name in ("response_time", "service_time", "service_ttft"))
    if response is None or service is None or first is None:
        return None
    return Stages(phase.name, max(0.0, response - service), first, max(0.0, service - first))


def _mean(phase: PhaseResult, name: str) -> float | None:
    metric = phase.metric(name)
    return metric.stats.mean if metric is not None and metric.stats is not None else None


def _resources(phase: PhaseResult, cores: int) -> Iterator[Bottleneck]:
    for name, resource in phase.resources.items():
        for limit, said in _limits(name, resource.unit, cores):
            since = _full_since(resource.series, limit)
            if since is not None:
                shares = [value / limit for t, value in resource.series if value is not None and t >= since]
                share = sum(shares) / len(shares)
                if share > MORE:
                    continue  # it uses more than one processor: one is no limit of its
                when = f"{figure(since, 's')} into {phase.name}"
                text = f"{name} reached {said} {when}, and was at {share:.0%} of it from then on"
                yield Bottleneck(phase.name, name, "resource", share, since, text)
                break
    queue = phase.resources.get(QUEUE)
    if queue is not None and (since := _full_since(queue.series, 1.0)) is not None:
        most = max(value for _, value in queue.series if value is not None)
        text = (
            f"the server's own queue was not empty from {figure(since, 's')} into {phase.name} on, with up to "
            f"{number(most)} requests"
        )
        yield Bottleneck(phase.name, QUEUE, "resource", 1.0, since, text)


def _limits(name: str, unit: str, cores: int) -> Iterator[tuple[float, str]]:
    """What a series may reach at most, in its unit, and that in words; the strictest last, as a fall-back."""
    whole = {"ratio": 1.0, "%": 100.0}.get(unit)
    if whole is None:
        return
    if name.startswith(("process", "server")) and "cpu" in name:
        yield whole * cores, "all processors" if cores > 1 else "its one processor"
        if cores > 1:
            yield whole, "one whole processor, which is all that one thread can use,"
    elif "cpu" in name or "memory" in name or "gpu" in name:
        yield whole, "its limit"


def _full_since(series: Series, limit: float) -> float | None:
    """From when on CONSECUTIVE readings in a row were FULL."""
    run: list[float] = []
    for t, value in series:
        run = [*run, t] if value is not None and value >= FULL * limit else []
        if len(run) == CONSECUTIVE:
            return run[0]
    return None


def _stage(phase: PhaseResult) -> Iterator[Bottleneck]:
    took = stages(phase)
    if took is None or took.whole <= 0.0:
        return
    parts: Mapping[str, float] = dict(zip(STAGES, took[1:], strict=True))
    name, most = max(parts.items(), key=lambda part: part[1])
    share = most / took.whole
    if share > MOST_OF_IT:
        meaning = {
            "waiting": "waiting from the moment a request is due until it is sent",
            "first token": "the time to the first token",
            "generation": "generating after the first token",
        }[name]
        text = f"{meaning} takes {figure(most, 'ms')} of the mean answer's {figure(took.whole, 'ms')} in {phase.name}"
        yield Bottleneck(phase.name, name, "stage", share, None, text)


def _client(phase: PhaseResult) -> Iterator[Bottleneck]:
    late, requests = phase.delivered.get("late_sends"), phase.delivered.get("requests")
    if isinstance(late, int) and isinstance(requests, int) and requests and late > LATE * requests:
        text = f"the measuring side was late with {late:,} of {requests:,} requests in {phase.name}"
        yield Bottleneck(phase.name, "late sends", "client", late / requests, None, text)
