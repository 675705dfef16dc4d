"""Holds intervals against criteria.

A criterion is passed when the whole interval meets it, failed when the whole interval misses it, and undecided when the
interval straddles it: then the reason says how long a run would decide.  What was not measured is never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from perfsuite.analysis.summary import quantile_level
from perfsuite.metric import Comparison
from perfsuite.plan import Criterion
from perfsuite.result import MetricResult, PhaseResult, PhaseVerdict, Verdict
from perfsuite.units import figure, goal

if TYPE_CHECKING:
    from perfsuite.plan import Phase, Plan

ALPHA = 0.05
LONGEST_ADVISED = 10_000.0
"""Beyond so many times the present length, "run longer" is no advice."""

COUNTED = {
    "system_stability": 1.0,
    "error_rate": 150.0,
    "context_preservation": 20.0,
    "context_accuracy": 20.0,
    "cache_hit_rate": 200.0,
    "model_switch_time": 10.0,
    "resource_reallocation": 10.0,
    "response_time": 150.0,
    "service_time": 150.0,
    "ttft": 150.0,
    "service_ttft": 150.0,
    "tpot": 150.0,
    "max_gap": 150.0,
}
"""The samples a second that a phase gives of a metric at most: exact for windows, elsewhere what the built-in probes
get of the reference system with ten in flight, which a slower one will not reach.  A metric that is not here gives as
many as anyone could want."""

STABLE = Criterion(metric="memory_growth", stat="value", comparison="<=", target=100e6)
"""What every phase has to keep to, whatever else is asked of it."""

REQUESTS = {"error_rate", "response_time", "service_time", "ttft", "service_ttft", "tpot", "max_gap"}
SHARES = {"system_stability", "error_rate", "context_preservation", "context_accuracy", "cache_hit_rate"}


class Undecidable(NamedTuple):
    """A criterion that a plan's phase is too short for: why, and the seconds that it would need at least (None: no
    length would do)."""

    phase: str
    criterion: Criterion
    why: str
    needed_s: float | None


def judge(result: MetricResult, criterion: Criterion | None, duration_s: float | None = None) -> MetricResult:
    """The metric held against its criterion.

    ``duration_s``, the length of the phase, lets an undecided one say how long a run would decide.
    """
    if criterion is None:
        return result
    verdict, reason = _verdict(result, criterion, duration_s)
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


def settle(metrics: Iterable[MetricResult], duration_s: float | None = None) -> list[MetricResult]:
    """The metrics of a phase, each judged, judged together.

    A mean is of answers only, so it does not pass while error_rate fails; where error_rate has no criterion, the load
    phase's 1 % stands for it.  Memory has to be stable in every phase: memory_growth without a criterion gets the
    documents' own.
    """
    metrics = [
        judge(m, STABLE, duration_s) if m.name == STABLE.metric and m.target is None and m.value is not None else m
        for m in metrics
    ]
    failing = next((m for m in metrics if m.name == "error_rate" and _errors_fail(m)), None)
    if failing is None or failing.value is None:
        return metrics
    why = f"a mean is of answers only, and {figure(failing.value, 'ratio')} of the requests failed"
    return [
        msgspec.structs.replace(m, verdict="failed", reason=why) if m.stat == "mean" and m.verdict == "passed" else m
        for m in metrics
    ]


def phase_verdict(
    metrics: Sequence[MetricResult],
    unhandled: Sequence[str] = (),
    *,
    strict: bool = False,
    interrupted: bool = False,
    named: Collection[str] = (),
) -> tuple[PhaseVerdict, str]:
    """The phase's verdict and what it rests on.

    Failed: a critical metric failed, an unhandled error occurred, or memory was not stable; with ``strict`` also when a
    critical one is undecided or not measured, and the same for those that are required or ``named`` by the user.  Else
    not measured, when nothing critical could be; else passed, the undecided ones counted beside it; undecided when not
    one critical criterion could be decided.  A phase without a critical criterion is judged by all its metrics.
    """
    if interrupted:
        return "interrupted", "ended before its time"
    hard, soft = _failures(metrics, unhandled, strict, named)
    if hard or soft:
        return "failed", "; ".join([*hard, *soft])
    judged = [m for m in metrics if m.critical] or metrics
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
    undecided = any(m.critical and m.verdict == "undecided" for phase in phases for m in phase.metrics)
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
    failures = [_failures(phase.metrics, phase.unhandled, strict, named) for phase in phases]
    if any(hard for hard, _ in failures) or all(phase.verdict == "not measured" for phase in phases):
        return 3
    if any(soft for _, soft in failures):
        return 5
    return 3 if any(phase.verdict == "failed" for phase in phases) else 0


def undecidable(plan: Plan) -> list[Undecidable]:
    """The criteria that the plan's phases are too short to decide in favour, even if not a single sample is bad."""
    return [found for phase in plan.phases for one in phase.criteria if (found := _too_short(plan, phase, one))]


def _too_short(plan: Plan, phase: Phase, criterion: Criterion) -> Undecidable | None:
    needed = _samples_to_pass(criterion)
    rate = COUNTED.get(criterion.metric)
    if needed is None or rate is None:
        return None
    if criterion.metric in REQUESTS and plan.load.rate is not None:
        rate = plan.load.rate
    what = "windows of a second" if criterion.metric == "system_stability" else "samples"
    why = f"{_named(criterion)} needs {needed:,.0f} {what} even if none is bad"
    if criterion.metric in REQUESTS and plan.load.max_requests is not None and plan.load.max_requests < needed:
        return Undecidable(phase.name, criterion, f"{why}; --max-requests allows {plan.load.max_requests:,}", None)
    expected = rate * phase.duration_s
    if expected >= needed:
        return None
    return Undecidable(
        phase.name, criterion, f"{why}; {goal(phase.duration_s, 's')} give about {expected:,.0f}", needed / rate
    )


def _samples_to_pass(criterion: Criterion) -> float | None:
    """The least number of samples, none of them bad, that passes; None where no such number is known."""
    from perfsuite import stats

    level = quantile_level(criterion.stat)
    if level is not None and criterion.comparison in ("<", "<="):
        return float(stats.samples_needed(level, 1 - ALPHA))
    if criterion.metric in SHARES:
        bad = criterion.target if criterion.comparison in ("<", "<=") else 1.0 - criterion.target
        return _flawless(bad)
    return None


def _flawless(bad: float) -> float | None:
    """The samples without one bad among them that put the 95 % bound of the share of bad ones below ``bad``."""
    if not 0.0 < bad < 1.0:
        return None
    return math.ceil(math.log(ALPHA) / math.log1p(-bad))


def _verdict(result: MetricResult, criterion: Criterion, duration_s: float | None) -> tuple[Verdict, str]:
    if result.value is None:
        return "not measured", result.reason or "no figure came of it"
    low, high = _bounds(result)
    target = criterion.target
    if _meets(low, criterion.comparison, target) and _meets(high, criterion.comparison, target):
        return "passed", result.reason
    if not (_meets(low, criterion.comparison, target) or _meets(high, criterion.comparison, target)):
        return "failed", result.reason
    return "undecided", _remedy(result, criterion, low, high, duration_s)


def _bounds(result: MetricResult) -> tuple[float, float]:
    low, high = result.interval or (None, None)
    return (-math.inf if low is None else low, math.inf if high is None else high)


def _meets(value: float, comparison: Comparison, target: float) -> bool:
    if comparison == "<":
        return value < target
    if comparison == "<=":
        return value <= target
    return value > target if comparison == ">" else value >= target


def _remedy(result: MetricResult, criterion: Criterion, low: float, high: float, duration_s: float | None) -> str:
    """What would decide.

    An interval shrinks with the square root of the length; where not one sample was bad, or a side is still open, the
    exact number of samples is known.
    """
    value = result.value
    assert value is not None
    n = result.n_effective or float(result.samples)
    better_when_low = criterion.comparison in ("<", "<=")
    flawless = result.kind == "ratio" and value == (0.0 if better_when_low else 1.0)
    needed: float | None = None
    if flawless:
        needed = _flawless(criterion.target if better_when_low else 1.0 - criterion.target)
        if needed is None:
            share = goal(criterion.target, "ratio")
            return f"none of {result.samples:,} was bad, but no sample can show {share} of all"
    elif math.isinf(high if better_when_low else low):
        needed = _samples_to_pass(criterion)
        level, failed = quantile_level(criterion.stat), result.details.get("failed")
        if needed is not None and level is not None and isinstance(failed, int) and failed:
            # The bound lies among the failures: the quantile has to come clear of their share.
            room = 1.0 - failed / result.samples - level
            if room <= 0.0:
                return f"{failed:,} of {result.samples:,} requests failed: too many for a {criterion.stat}"
            needed = max(needed, (1.96 / room) ** 2 * level * (1.0 - level))
    if needed is not None and n > 0:
        factor = max(needed / n, 1.0)
    else:
        meets = _meets(value, criterion.comparison, criterion.target)
        side = high if meets == better_when_low else low
        if value == criterion.target:
            return "the value is at its target: no length of run would tell"
        narrower = (side - value) / (criterion.target - value)
        factor = narrower * narrower  # not ** 2, which raises where this is infinite
    if not factor < LONGEST_ADVISED:
        return "too few samples for any bound" if math.isinf(factor) else "too close to its target for any run to tell"
    if duration_s:
        return f"run {goal(_rounded_up(duration_s * factor), 's')} or more"
    return f"run {math.ceil(factor * 10) / 10:g} times as long or more"


def _rounded_up(seconds: float) -> float:
    """The next round length: what one would type after --duration."""
    for step, limit in ((1.0, 10.0), (5.0, 60.0), (30.0, 300.0), (60.0, 1200.0), (300.0, 3600.0), (1800.0, 36000.0)):
        if seconds <= limit:
            return math.ceil(seconds / step) * step
    return math.ceil(seconds / 3600.0) * 3600.0


def _errors_fail(errors: MetricResult) -> bool:
    if errors.target is not None:
        return errors.verdict == "failed"
    low, _ = _bounds(errors)
    return low >= 0.01


def _failures(
    metrics: Sequence[MetricResult], unhandled: Sequence[str], strict: bool, named: Collection[str]
) -> tuple[list[str], list[str]]:
    """What fails the phase; apart from it what does so only because ``strict`` lets nothing undecided pass."""
    hard = [f"unhandled error: {text}" for text in unhandled]
    soft = []
    for one in metrics:
        stable = one.name != "memory_growth"
        insisted = one.required or one.name in named
        if one.verdict == "failed" and (one.critical or one.required or not stable):
            hard.append(f"{_named(one)} failed" if stable else "memory is not stable")
        elif one.verdict == "not measured" and (insisted or (strict and one.critical)):
            hard.append(f"{_named(one)} was not measured")
        elif one.verdict == "undecided" and insisted:
            hard.append(f"{_named(one)} is undecided")
        elif one.verdict == "undecided" and strict and one.critical:
            soft.append(f"{_named(one)} is undecided")
    return hard, soft


def _named(one: MetricResult | Criterion) -> str:
    name = one.name if isinstance(one, MetricResult) else one.metric
    return name if one.stat == "value" else f"{name} {one.stat}"
