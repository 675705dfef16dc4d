"""What a run can decide at all: the criteria that a plan is too short for, and what would decide an open one."""

from __future__ import annotations

import math
from typing import NamedTuple

from perfsuite import stats
from perfsuite.metric import meets, metric
from perfsuite.plan import Criterion, Phase, Plan
from perfsuite.result import MetricResult
from perfsuite.statistic import quantile_level
from perfsuite.units import goal

ALPHA = 0.05
LONGEST_ADVISED = 10_000.0
"""Beyond so many times the present length, "run longer" is no advice."""

TIMES = " times as long or more"


class Undecidable(NamedTuple):
    """A criterion that a plan's phase is too short for: why, and the seconds that it would need at least (None: no
    length would do)."""

    phase: str
    criterion: Criterion
    why: str
    needed_s: float | None


def undecidable(plan: Plan) -> list[Undecidable]:
    """The criteria that the plan's phases are too short to decide in favour, even if not a single sample is bad."""
    return [found for phase in plan.phases for one in phase.criteria if (found := _too_short(plan, phase, one))]


def remedy(result: MetricResult, criterion: Criterion, bounds: tuple[float, float], duration_s: float | None) -> str:
    """What would decide a measured metric whose interval, from ``bounds[0]`` to ``bounds[1]``, straddles its target.

    An interval shrinks with the square root of the length; where not one sample was bad, or a side is still open, the
    exact number of samples is known.
    """
    value = result.value
    assert value is not None
    low, high = bounds
    n = result.n_effective or float(result.samples)
    better_when_low = criterion.lower_is_better
    flawless = result.kind == "ratio" and value == (0.0 if better_when_low else 1.0)
    needed: float | None = None
    if isinstance(other := result.details.get("to_decide"), str):  # the probe knows: no length of run would tell
        return other
    longer = result.details.get("times_as_long")
    if isinstance(longer, float):  # the probe knows: it did not come to what it was to look at
        return _longer(max(longer, 1.0), duration_s)
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
        met = meets(value, criterion.comparison, criterion.target)
        side = high if met == better_when_low else low
        if value == criterion.target:
            return "the value is at its target: no length of run would tell"
        narrower = (side - value) / (criterion.target - value)
        factor = narrower * narrower  # not ** 2, which raises where this is infinite
    if not factor < LONGEST_ADVISED:
        return "too few samples for any bound" if math.isinf(factor) else "too close to its target for any run to tell"
    return _longer(factor, duration_s)


def as_many(remedy: str) -> str:
    """The same advice where a limit on what may be sent ends the run, however long it is to be."""
    times = remedy.removeprefix("run ").removesuffix(TIMES)
    return f"raise the limit of the run {times} times or more" if len(times) < len(remedy) - len(TIMES) else remedy


def _longer(factor: float, duration_s: float | None) -> str:
    if duration_s:
        return f"run {goal(_rounded_up(duration_s * factor), 's')} or more"
    return f"run {math.ceil(factor * 10) / 10:g}{TIMES}"


def _too_short(plan: Plan, phase: Phase, criterion: Criterion) -> Undecidable | None:
    needed = _samples_to_pass(criterion)
    row = metric(criterion.metric)
    rate = row.a_second
    if needed is None or rate is None:
        return None
    if row.streamed and plan.load.rate is not None:
        rate = plan.load.rate
    what = "windows of a second" if criterion.metric == "system_stability" else "samples"
    why = f"{criterion} needs {needed:,.0f} {what} even if none is bad"
    if row.streamed and plan.load.max_requests is not None and plan.load.max_requests < needed:
        return Undecidable(phase.name, criterion, f"{why}; --max-requests allows {plan.load.max_requests:,}", None)
    expected = rate * phase.duration_s
    if expected >= needed:
        return None
    return Undecidable(
        phase.name, criterion, f"{why}; {goal(phase.duration_s, 's')} give about {expected:,.0f}", needed / rate
    )


def _samples_to_pass(criterion: Criterion) -> float | None:
    """The least number of samples, none of them bad, that passes; None where no such number is known."""
    level = quantile_level(criterion.stat)
    if level is not None and criterion.lower_is_better:
        return float(stats.samples_needed(level, 1 - ALPHA))
    row = metric(criterion.metric)
    if row.kind == "ratio" and row.a_second is not None:  # a share of samples that are each good or bad
        bad = criterion.target if criterion.lower_is_better else 1.0 - criterion.target
        return _flawless(bad)
    return None


def _flawless(bad: float) -> float | None:
    """The samples without one bad among them that put the 95 % bound of the share of bad ones below ``bad``."""
    if not 0.0 < bad < 1.0:
        return None
    return math.ceil(math.log(ALPHA) / math.log1p(-bad))


def _rounded_up(seconds: float) -> float:
    """The next round length: what one would type after --duration."""
    for step, limit in ((1.0, 10.0), (5.0, 60.0), (30.0, 300.0), (60.0, 1200.0), (300.0, 3600.0), (1800.0, 36000.0)):
        if seconds <= limit:
            return math.ceil(seconds / step) * step
    return math.ceil(seconds / 3600.0) * 3600.0
