"""Holds intervals against criteria.

A criterion is passed when the whole interval meets it, failed when the whole interval misses it, and undecided when the
interval straddles it: then the reason says how long a run would decide (``feasibility``).  What was not measured is
never a pass, and what is void has failed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from perfsuite.analysis.feasibility import as_many, remedy
from perfsuite.metric import catalogue, labelled, meets
from perfsuite.plan import STABLE_MEMORY, Criterion
from perfsuite.result import MetricResult, PhaseResult, PhaseVerdict, Verdict
from perfsuite.statistic import of_answers_only
from perfsuite.units import figure

if TYPE_CHECKING:
    from perfsuite.plan import Plan


def judge(
    result: MetricResult,
    criterion: Criterion | None,
    duration_s: float | None = None,
    *,
    limited: bool = False,
    void: bool = False,
) -> MetricResult:
    """The metric held against its criterion.

    ``duration_s``, the length of the phase, lets an undecided one say how long a run would decide.  ``limited``: a
    limit on what may be sent ended it, so that more of that is what it takes.  ``void``: it has no value because what
    the target gave is wrong, which misses the criterion.
    """
    if criterion is None:
        return result
    verdict, reason = ("failed", result.reason) if void else _verdict(result, criterion, duration_s)
    if limited and verdict == "undecided":
        reason = as_many(reason)
    return msgspec.structs.replace(
        result,
        target=criterion.target,
        comparison=criterion.comparison,
        critical=criterion.critical,
        required=criterion.required,
        origin=criterion.origin,
        verdict=verdict,
        reason=reason,
    )


def settle(metrics: Iterable[MetricResult]) -> list[MetricResult]:
    """The metrics of a phase, each judged, judged together.

    A mean is of answers only, so it does not pass while the share of failures that is its own (``failures`` in the
    catalogue) fails; where that has no criterion, the load phase's 1 % stands for it.
    """
    metrics = list(metrics)
    shares = {name: row.failures for name, row in catalogue().items() if row.failures is not None}
    failing = {m.name: m for m in metrics if m.name in shares.values() and _errors_fail(m)}

    def settled(m: MetricResult) -> MetricResult:
        share = failing.get(shares.get(m.name, ""))
        if share is None or not of_answers_only(m.stat) or m.verdict != "passed":
            return m
        why = f"a mean is of answers only, and {share.name} is {figure(share.value, share.unit)}"
        return msgspec.structs.replace(m, verdict="failed", reason=why)

    return [settled(m) for m in metrics]


def phase_verdict(
    metrics: Sequence[MetricResult],
    unhandled: Sequence[str] = (),
    *,
    strict: bool = False,
    interrupted: bool = False,
    named: Collection[str] = (),
    undelivered: Sequence[str] = (),
    fell_short: Sequence[str] = (),
) -> tuple[PhaseVerdict, str]:
    """The phase's verdict and what it rests on.

    Failed: a critical metric failed, an unhandled error occurred, memory was not stable, or the load that was asked for
    was not delivered (``undelivered`` says of what stretch and why: figures of another load than the one asked for pass
    nothing); with ``strict`` also when a critical one is undecided or not measured, and the same for those that are
    required or ``named`` by the user.  Undecided where a load that the suite itself chose ``fell_short``.  Else
    not measured, when nothing critical could be; else passed, the undecided ones counted beside it; undecided when not
    one critical criterion could be decided.  Stable memory is asked of every phase, so it passes none by itself that is
    about something else.  A phase without a critical criterion is judged by all its metrics.
    """
    if interrupted:
        return "interrupted", "ended before its time"
    hard, soft = _failures(metrics, unhandled, strict, named, undelivered)
    if hard or soft:
        return "failed", "; ".join([*hard, *soft])
    if fell_short:
        return "failed" if strict else "undecided", "; ".join(f"load not delivered: {text}" for text in fell_short)
    critical = [m for m in metrics if m.critical]
    judged = [m for m in critical if m.name != STABLE_MEMORY] or critical or metrics
    if all(m.verdict == "not measured" for m in judged):
        reasons = dict.fromkeys(m.reason for m in judged if m.reason)
        return "not measured", ": ".join(
            ["nothing critical could be measured", *(["; ".join(reasons)] if reasons else [])]
        )
    decided = any(m.verdict in ("passed", "informative") for m in judged)
    return ("passed" if decided else "undecided"), str(tally(metrics))


class Tally(NamedTuple):
    """How many criteria came out how."""

    passed: int
    failed: int
    undecided: int
    not_measured: int

    def __str__(self) -> str:
        text = f"passed {self.passed} of {self.passed + self.failed + self.undecided}"
        if self.undecided:
            text += f", {self.undecided} undecided"
        return text + (f", {self.not_measured} not measurable here" if self.not_measured else "")


def tally(metrics: Iterable[MetricResult]) -> Tally:
    """Counts the criteria among ``metrics`` by verdict; a metric that was not measured counts, criterion or none."""
    verdicts = [m.verdict for m in metrics]
    return Tally(*(verdicts.count(kind) for kind in ("passed", "failed", "undecided", "not measured")))


def run_verdict(phases: Sequence[PhaseResult], plan: Plan | None = None, *, interrupted: bool = False) -> PhaseVerdict:
    """The run's verdict: the worst of its phases'; undecided as soon as one critical criterion is."""
    if interrupted or any(phase.verdict == "interrupted" for phase in phases):
        return "interrupted"
    verdicts = {phase.verdict for phase in phases}
    if "failed" in verdicts or (plan is not None and plan.strict and "not measured" in verdicts):
        return "failed"
    if verdicts <= {"not measured"}:
        return "not measured"
    undecided = "undecided" in verdicts or any(
        m.critical and m.verdict == "undecided" for phase in phases for m in phase.metrics
    )
    return "undecided" if undecided else "passed"


def exit_code(
    phases: Sequence[PhaseResult],
    plan: Plan | None = None,
    *,
    interrupted: bool = False,
    error: str | None = None,
) -> int:
    """The exit code: the first that applies of 130 interrupted, 1 the run itself failed, 3 a criterion failed or
    nothing critical could be measured, 5 undecided under ``strict``, 0."""
    if interrupted:
        return 130
    if error is not None:
        return 1
    strict = plan is not None and plan.strict
    named = () if plan is None else plan.metrics
    failures = [_failures(phase.metrics, phase.unhandled, strict, named, phase.undelivered) for phase in phases]
    if any(hard for hard, _ in failures) or all(phase.verdict == "not measured" for phase in phases):
        return 3
    if any(soft for _, soft in failures):
        return 5
    return 3 if any(phase.verdict == "failed" for phase in phases) else 0


def _verdict(result: MetricResult, criterion: Criterion, duration_s: float | None) -> tuple[Verdict, str]:
    if result.value is None:
        return "not measured", result.reason or "no figure came of it"
    low, high = _bounds(result)
    target = criterion.target
    if meets(low, criterion.comparison, target) and meets(high, criterion.comparison, target):
        return "passed", result.reason
    if not (meets(low, criterion.comparison, target) or meets(high, criterion.comparison, target)):
        return "failed", result.reason
    return "undecided", _open(result, criterion, (low, high), duration_s)


def _open(result: MetricResult, criterion: Criterion, bounds: tuple[float, float], duration_s: float | None) -> str:
    """Why an interval straddles its target.  The part of it that is the client's own error shrinks with no length of
    run: what is nearer than that to its target is not decided by one."""
    error = result.measurement_error or 0.0
    low, high = bounds
    if error <= 0.0 or result.value is None:
        return remedy(result, criterion, bounds, duration_s)
    inner = (min(low + error, result.value), max(high - error, result.value))
    straddles = meets(inner[0], criterion.comparison, criterion.target) != meets(
        inner[1], criterion.comparison, criterion.target
    )
    if abs(criterion.target - result.value) > error and straddles:
        towards = error if criterion.target < result.value else -error
        nearer = dataclasses.replace(criterion, target=criterion.target + towards)
        return remedy(result, nearer, inner, duration_s)
    if abs(criterion.target - result.value) > error:
        return f"decided but for the client's own error, ±{figure(error, result.unit)}"
    return f"no further from its target than the client's own error, ±{figure(error, result.unit)}"


def _bounds(result: MetricResult) -> tuple[float, float]:
    low, high = result.interval or (None, None)
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _errors_fail(errors: MetricResult) -> bool:
    if errors.target is not None:
        return errors.verdict == "failed"
    low, _ = _bounds(errors)
    return errors.value is not None and low >= 0.01


def _failures(
    metrics: Sequence[MetricResult],
    unhandled: Sequence[str],
    strict: bool,
    named: Collection[str],
    undelivered: Sequence[str],
) -> tuple[list[str], list[str]]:
    """What fails the phase; apart from it what does so only because ``strict`` lets nothing undecided pass."""
    hard = [f"unhandled error: {text}" for text in unhandled]
    hard += [f"load not delivered: {text}" for text in undelivered]
    soft = []
    for one in metrics:
        stable = one.name != STABLE_MEMORY
        insisted = one.required or one.name in named
        if one.verdict == "failed" and (one.critical or one.required or not stable):
            hard.append(f"{labelled(one.name, one.stat)} failed" if stable else "memory is not stable")
        elif one.verdict == "not measured" and (insisted or (strict and one.critical)):
            hard.append(f"{labelled(one.name, one.stat)} was not measured")
        elif one.verdict == "undecided" and insisted:
            hard.append(f"{labelled(one.name, one.stat)} is undecided")
        elif one.verdict == "undecided" and strict and one.critical:
            soft.append(f"{labelled(one.name, one.stat)} is undecided")
    return hard, soft
