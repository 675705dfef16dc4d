"""What of a monitored system is an alarm: pure functions of what was folded, and of the alarms that there are.

A rule is looked at again and again.  It fires once and is resolved once: what is near its limit does not flicker, for
an alarm ends only when the figure is better than the limit by a margin (hysteresis), and begins on enough requests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from perfsuite.analysis.forecast import CONFIRMATION, expect, z_of
from perfsuite.stats import trend
from perfsuite.units import figure, goal

if TYPE_CHECKING:
    from perfsuite._core import Histogram

MARGIN = 0.1
"""By so much a figure must be better than its limit for an alarm to end."""
FEWEST_ENDED = 3
"""Requests that must have ended in the window before a share of failures says anything."""
FEWEST_TIMED = 20
"""… before a quantile of times does."""
TREND_POINTS = 8
TREND_RISE = 0.2
"""A trend is an alarm when its whole interval goes up, and its line by this share over the time that is looked at."""
REGRESSION_POINTS = 12
REGRESSION_SHARE = 0.1
"""A change by this share is what the comparison with the past watches for."""

Kind = Literal["criterion", "trend", "regression"]


@dataclass(frozen=True, slots=True)
class Span:
    """What was folded of a stretch of time: requests that ended, and their times in ms by metric."""

    start_s: float
    ok: int
    failed: int
    times: Mapping[str, Histogram]


@dataclass(frozen=True, slots=True)
class Criterion:
    """A limit from above on ``error_rate`` (a share) or on a statistic (``mean``, or a quantile) of a metric in ms."""

    metric: str
    limit: float
    quantile: float | None = None

    @property
    def name(self) -> str:
        """As it is written."""
        if self.metric == "error_rate":
            return "error_rate"
        return f"{self.metric} {'mean' if self.quantile is None else f'p{self.quantile * 100:g}'}"

    @property
    def unit(self) -> str:
        """Of the limit."""
        return "ratio" if self.metric == "error_rate" else "ms"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says now: whether it is broken, None where it can say neither."""

    name: str
    kind: Kind
    broken: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm that fired, at ``since_s`` of the clock, and is there until ``resolved_s``."""

    name: str
    kind: Kind
    since_s: float
    text: str
    resolved_s: float | None = None


def criterion(rule: Criterion, spans: Sequence[Span], *, firing: bool) -> Finding:
    """A limit held against all requests of the spans together."""
    value, enough = _value(rule, spans)
    if value is None or not enough:
        return Finding(rule.name, "criterion", None, f"{rule.name}: too few requests to say")
    broken = value > rule.limit * (1.0 - MARGIN) if firing else value >= rule.limit
    text = f"{rule.name} is {figure(value, rule.unit)}, limit {goal(rule.limit, rule.unit)}"
    return Finding(rule.name, "criterion", broken, text)


def _value(rule: Criterion, spans: Sequence[Span]) -> tuple[float | None, bool]:
    """The figure, and whether it rests on enough."""
    if rule.metric == "error_rate":
        failed = sum(span.failed for span in spans)
        ended = failed + sum(span.ok for span in spans)
        return (failed / ended if ended else None), ended >= FEWEST_ENDED
    whole = merged(span.times[rule.metric] for span in spans if rule.metric in span.times)
    if whole is None or not whole.count:
        return None, False
    value = whole.mean if rule.quantile is None else whole.quantile(rule.quantile)
    return value, whole.count >= FEWEST_TIMED


def rising(metric: str, spans: Sequence[Span], *, firing: bool) -> Finding:
    """Whether the median of a metric goes up from span to span."""
    name = f"{metric} trend"
    points = _medians(metric, spans)
    if len(points) < TREND_POINTS:
        return Finding(name, "trend", None, f"{name}: {len(points)} of {TREND_POINTS} points")
    times = [t for t, _ in points]
    values = [value for _, value in points]
    line = trend(values, times)
    level = sorted(values)[len(values) // 2]
    rise = line.slope * (times[-1] - times[0]) / level if level > 0.0 else 0.0
    needed = TREND_RISE / 2.0 if firing else TREND_RISE
    broken = line.low > 0.0 and rise >= needed
    hours = (times[-1] - times[0]) / 3600.0
    return Finding(name, "trend", broken, f"the median {metric} went up by {rise:.0%} in {hours:.1f} h")


def regressed(metric: str, past: Sequence[Span], latest: Span | None, *, firing: bool) -> Finding:
    """Whether the median of the latest span is more than its past lets one expect."""
    name = f"{metric} regression"
    history = [value for _, value in _medians(metric, past)]
    now = None if latest is None else _median(metric, latest)
    if now is None or len(history) < REGRESSION_POINTS:
        return Finding(name, "regression", None, f"{name}: {len(history)} of {REGRESSION_POINTS} points")
    expected = expect(history)
    if expected is None:
        return Finding(name, "regression", None, f"{name}: the past has no level")
    share = REGRESSION_SHARE / 2.0 if firing else REGRESSION_SHARE
    usual = math.exp(expected.level)
    # Every hour is looked at, for years: what would be a mere suspicion of one run is no alarm.
    broken = z_of(expected, [now]) > CONFIRMATION and now > usual * (1.0 + share)
    text = f"the median {metric} is {figure(now, 'ms')}, {figure(usual, 'ms')} is usual"
    return Finding(name, "regression", broken, text)


def _medians(metric: str, spans: Iterable[Span]) -> list[tuple[float, float]]:
    found = ((span.start_s, _median(metric, span)) for span in spans)
    return [(t, value) for t, value in found if value is not None]


def _median(metric: str, span: Span) -> float | None:
    histogram = span.times.get(metric)
    return histogram.quantile(0.5) if histogram is not None and histogram.count >= FEWEST_TIMED else None


def merged(histograms: Iterable[Histogram]) -> Histogram | None:
    """All of them in one, exactly; None of none."""
    whole: Histogram | None = None
    for one in histograms:
        if whole is None:
            whole = one.copy()
        else:
            whole.merge(one)
    return whole


def advanced(alarms: Mapping[str, Alarm], findings: Iterable[Finding], now_s: float) -> tuple[list[Alarm], list[Alarm]]:
    """What fired and what was resolved, given the alarms (by name) that are there: each once.

    A rule that can say nothing leaves its alarm as it is: silence resolves none.
    """
    fired, resolved = [], []
    for finding in findings:
        there = alarms.get(finding.name)
        if there is None and finding.broken:
            fired.append(Alarm(finding.name, finding.kind, now_s, finding.text))
        elif there is not None and finding.broken is False:
            resolved.append(replace(there, resolved_s=now_s, text=finding.text))
    return fired, resolved
