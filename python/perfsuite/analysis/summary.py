"""From evidence to a value and the interval that it lies in.

Samples that depend on one another (a series in time) are worth fewer than they are: their blocks of time say how many.
The design effect is that of what is judged: the mean's from the blocks' means, a quantile's from how many of each block
exceed it.  A quantile's interval is the pooled histogram's at the binomial ranks for that number (see
``stats.quantile_interval``), a share's is Clopper and Pearson's, a ratio of sums' the delta method's (Cochran, Sampling
Techniques, 1977, 6.3), a growth's Sen's, each at that number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch

from perfsuite import stats
from perfsuite.analysis.slices import sliced
from perfsuite.analysis.stretches import of_blocks, of_highest, of_ratios
from perfsuite.evidence import (
    Estimate,
    Evidence,
    Exact,
    Level,
    NotMeasured,
    RatioOfSums,
    Samples,
    Share,
)
from perfsuite.evidence import Series as EvidenceSeries
from perfsuite.metric import Metric
from perfsuite.result import Interval, MetricResult, Series, Slices, Stats, encode_histogram
from perfsuite.statistic import quantile_level
from perfsuite.stats.intervals import nearest_rank
from perfsuite.stats.thinning import extremes

SHOWN = ("p50", "p95", "p99", "p999")
MOST_POINTS = 2000
NO_HISTOGRAM: dict[type, str] = {
    Share: "a share of yes and no is its own distribution",
    RatioOfSums: "a ratio of two sums is one figure of the whole run",
    Level: "its readings are the series",
    Exact: "one figure of the whole run",
    Estimate: "one figure of the whole run",
    Samples: "there were failures only",
}
NO_SERIES = "what it rests on is not kept by time"
FEWEST_READINGS = 4
"""Fewer readings than this have no trend."""


def summarise(metric: Metric, evidence: Evidence, stat: str | None = None) -> MetricResult:
    """The metric's value and 95 % interval, not yet judged.  ``stat``: what is judged, the metric's own by default.

    A quantile counts every failed request as slower than any answer; one that falls among them is ``censored``: its
    value is the longest wait, its interval has no upper bound.
    """
    return _summary(evidence, metric, stat or metric.stat)


@singledispatch
def _summary(evidence: object, metric: Metric, stat: str) -> MetricResult:
    raise TypeError(f"{metric.name}: {type(evidence).__name__} is no evidence")


@_summary.register
def _(evidence: NotMeasured, metric: Metric, stat: str) -> MetricResult:
    return _not_measured(metric, stat, evidence.reason, evidence)


@_summary.register
def _(evidence: Exact, metric: Metric, stat: str) -> MetricResult:
    if not math.isfinite(evidence.value):
        return _not_measured(metric, stat, f"the figure came out as {evidence.value}", evidence)
    interval = (evidence.value, evidence.value)
    return _result(metric, stat, evidence, evidence.value, interval, evidence.samples, evidence.samples)


@_summary.register
def _(evidence: Estimate, metric: Metric, stat: str) -> MetricResult:
    if not math.isfinite(evidence.value):
        return _not_measured(metric, stat, f"the figure came out as {evidence.value}", evidence)
    low, high = (-math.inf if math.isnan(evidence.low) else evidence.low), evidence.high
    interval = (low, math.inf if math.isnan(high) else high)
    worth = evidence.samples
    stretches = {stat: list(evidence.stretches)}
    return _result(metric, stat, evidence, evidence.value, interval, worth, worth, stretches=stretches)


@_summary.register
def _(evidence: Share, metric: Metric, stat: str) -> MetricResult:
    hits, trials = evidence.hits, evidence.trials
    if not trials > 0:
        return _not_measured(metric, stat, "nothing was tried", evidence)
    worth = float(trials)
    if len(evidence.clusters) > 1 and 0 < hits < trials:
        hit, of = ([cluster[i] for cluster in evidence.clusters] for i in (0, 1))
        worth = min(worth, stats.block_share_interval(hit, of).n_effective)
    share = hits / trials
    found = stats.share_interval(min(worth, share * worth), worth)
    stretches = _cut(stat, evidence.clusters, [of for _, of in evidence.clusters])
    return _result(metric, stat, evidence, share, (found.low, found.high), round(trials), worth, stretches=stretches)


@_summary.register
def _(evidence: RatioOfSums, metric: Metric, stat: str) -> MetricResult:
    parts, wholes = evidence.parts, evidence.wholes
    n, total = len(parts), math.fsum(wholes)
    if len(wholes) != n:
        raise ValueError(f"{metric.name}: {n} parts of {len(wholes)} wholes; give one whole for each part")
    if not total > 0.0:
        return _not_measured(metric, stat, "there was nothing to take a ratio of", evidence)
    ratio = math.fsum(parts) / total
    if not math.isfinite(ratio):
        return _not_measured(metric, stat, f"the figure came out as {ratio}", evidence)
    if n > 1:
        squares = math.fsum((p - ratio * w) ** 2 for p, w in zip(parts, wholes, strict=True))
        found = stats.mean_interval_of(ratio, math.sqrt(squares / (n - 1)) / (total / n), n)
        low, high = found.low, found.high
    else:  # one item has no spread
        low, high = -math.inf, math.inf
    if min(parts) >= 0.0:
        low = max(0.0, low)
    if all(part <= whole for part, whole in zip(parts, wholes, strict=True)):
        high = min(1.0, high)  # no item can be more than whole
    rows = [(whole - part if evidence.complement else part, whole) for part, whole in zip(parts, wholes, strict=True)]
    stretches = _cut(stat, rows, [1.0] * n)
    if evidence.complement:
        ratio, low, high = 1.0 - ratio, 1.0 - high, 1.0 - low
    return _result(metric, stat, evidence, ratio, (low, high), n, n, stretches=stretches)


@_summary.register
def _(evidence: Level, metric: Metric, stat: str) -> MetricResult:
    points = [(t, v) for t, v in evidence.series if t >= evidence.settled_s and math.isfinite(v)]
    if not points:
        return _not_measured(metric, stat, "there is no reading after the warm-up", evidence)
    values = [value for _, value in points]
    n = len(values)
    mean = math.fsum(values) / n
    shape = Stats(mean=mean, min=min(values), max=max(values))
    if evidence.summary == "growth":
        return _growth(evidence, metric, stat, points, shape)
    # What was seen at its highest is a fact of this run, not an estimate.
    highest = max(values)
    stretches = {stat: of_highest(values)}
    return _result(metric, stat, evidence, highest, (highest, highest), n, n, shape, stretches=stretches)


def _cut(stat: str, rows: Sequence[tuple[float, float]], samples: Sequence[float]) -> dict[str, list[float]]:
    """The ratios of consecutive stretches of (part, whole)."""
    return {stat: of_ratios([part for part, _ in rows], [whole for _, whole in rows], samples)}


def _growth(
    evidence: Level, metric: Metric, stat: str, points: Sequence[tuple[float, float]], shape: Stats
) -> MetricResult:
    times, values = [t for t, _ in points], [v for _, v in points]
    length = times[-1] - times[0]
    if len(points) < FEWEST_READINGS or not length > 0.0:
        return _not_measured(metric, stat, f"{len(points)} readings after the warm-up show no trend", evidence)
    line = stats.trend(values, times)
    worth = stats.effective_size([v - line.intercept - line.slope * t for t, v in points])
    line = stats.trend(values, times, n_effective=worth)
    low, high = line.low * length, line.high * length
    return _result(metric, stat, evidence, line.slope * length, (low, high), len(points), worth, shape)


@_summary.register
def _(evidence: Samples, metric: Metric, stat: str) -> MetricResult:
    n, failed = evidence.histogram.count, evidence.failed
    if not n + failed:
        return _not_measured(metric, stat, "there is no sample", evidence)
    shape = _shape(evidence)
    histogram = encode_histogram(evidence.histogram) if n else None
    q = quantile_level(stat)
    value, interval, worth = _moment(evidence, stat) if q is None else _quantile(evidence, q)
    censored = math.isinf(value)
    found = _result(
        metric,
        stat,
        evidence,
        max(evidence.longest_wait, evidence.histogram.max if n else 0.0) if censored else value,
        interval,
        n + failed,
        worth,
        shape,
        histogram=histogram,
        stretches=of_blocks(evidence.pieces or evidence.blocks),
        slices=sliced(evidence.blocks, evidence.block_times),
        censored=censored,
        reason=_reason(n, failed) if censored else "",
    )
    if failed:
        found.details["failed"] = failed
    return found


def _reason(n: int, failed: int) -> str:
    if not n:
        return f"none of {failed:,} requests was answered"
    return f"{failed:,} of {n + failed:,} requests failed, which is slower than any answer"


def _quantile(evidence: Samples, q: float) -> tuple[float, Interval, float]:
    """The quantile over answers and failures, infinite among the latter, with its interval and the effective size."""
    total = evidence.histogram.count + evidence.failed
    value = _at_fraction(evidence, q)
    worth = _worth_of_quantile(evidence, value, total)
    low, high = stats.quantile_fractions(worth, q)
    return (
        value,
        (
            -math.inf if low is None else min(value, _at_fraction(evidence, low)),
            math.inf if high is None else max(value, _at_fraction(evidence, high)),
        ),
        worth,
    )


def _at_fraction(evidence: Samples, q: float) -> float:
    """The value of rank ceil(q N) among the answers and, above them all, the failures."""
    n = evidence.histogram.count
    total = n + evidence.failed
    rank = nearest_rank(total, q)
    # Half a rank below, so that rounding cannot carry the quotient over to the next one.
    return evidence.histogram.quantile((rank - 0.5) / n) if rank <= n else math.inf


def _worth_of_quantile(evidence: Samples, value: float, total: int) -> float:
    if len(evidence.blocks) < 2 or math.isinf(value):
        return float(total)
    counts = [float(block.count) for block in evidence.blocks]
    above = [block.count * (1.0 - block.cdf(value)) if block.count else 0.0 for block in evidence.blocks]
    share = math.fsum(above) / (math.fsum(counts) or 1.0)
    if not 0.0 < share < 1.0:
        return float(total)
    answers = stats.block_interval(above, counts, variance=share * (1.0 - share)).n_effective
    return min(float(total), max(1.0, answers * total / evidence.histogram.count))


def _moment(evidence: Samples, stat: str) -> tuple[float, Interval, float]:
    """The mean of the answers, or the extreme of the run; infinite where no answer was there to take it of."""
    histogram = evidence.histogram
    n = histogram.count
    if not n:
        return math.inf, (math.inf, math.inf), float(evidence.failed)
    if stat == "max":
        value = math.inf if evidence.failed else histogram.max
        return value, (value, value), float(n)
    if stat == "min":
        return histogram.min, (histogram.min, histogram.min), float(n)
    if stat not in ("mean", "value"):
        raise ValueError(f"{stat} is no statistic of samples: mean, min, max, or a quantile such as p95")
    mean = histogram.mean
    if len(evidence.blocks) > 1 and any(block.count for block in evidence.blocks):
        sums = [block.sum for block in evidence.blocks]
        counts = [float(block.count) for block in evidence.blocks]
        found = stats.block_interval(sums, counts, variance=histogram.stdev**2)
        # The blocks hold the same samples; the whole histogram's mean is the figure.
        low, high = found.low - found.estimate + mean, found.high - found.estimate + mean
        differ = histogram.max > histogram.min  # else their sums differ by rounding alone
        return mean, (max(0.0, low), high), found.n_effective if differ else float(n)
    alone = stats.mean_interval_of(mean, histogram.stdev, n) if n > 1 else stats.Interval(mean, -math.inf, math.inf)
    return mean, (max(0.0, alone.low), alone.high), float(n)


def _shape(evidence: Samples) -> Stats:
    histogram = evidence.histogram
    if not histogram.count:
        return Stats()
    found = {name: _at_fraction(evidence, quantile_level(name) or 0.0) for name in SHOWN}
    return Stats(
        mean=histogram.mean,
        min=histogram.min,
        max=histogram.max,
        **{name: None if math.isinf(value) else value for name, value in found.items()},
    )


def thin(series: EvidenceSeries, most: int = MOST_POINTS) -> Series:
    """At most ``most`` points of a series: of each stretch the lowest and the highest stay, each at its own time."""
    points = list(series)
    kept = extremes([value for _, value in points], most)
    return [(float(points[k][0]), _finite(points[k][1])) for k in kept]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _not_measured(metric: Metric, stat: str, reason: str, evidence: Evidence) -> MetricResult:
    series = [] if isinstance(evidence, NotMeasured) else thin(evidence.series)
    return MetricResult(
        name=metric.name,
        unit=metric.unit,
        kind=metric.kind,
        stat=stat,
        verdict="not measured",
        reason=reason,
        series=series,
        details=dict(evidence.details),
        definition=metric.definition,
    )


def _result(
    metric: Metric,
    stat: str,
    evidence: Samples | Share | RatioOfSums | Level | Exact | Estimate,
    value: float,
    interval: Interval,
    samples: int,
    worth: float,
    shape: Stats | None = None,
    *,
    histogram: str | None = None,
    stretches: dict[str, list[float]] | None = None,
    slices: Slices | None = None,
    censored: bool = False,
    reason: str = "",
) -> MetricResult:
    without = {"histogram": NO_HISTOGRAM[type(evidence)]} if histogram is None else {}
    if not evidence.series:
        without["series"] = metric.untimed or NO_SERIES
    return MetricResult(
        name=metric.name,
        unit=metric.unit,
        kind=metric.kind,
        value=value,
        stat=stat,
        reason=reason,
        samples=samples,
        n_effective=worth,
        interval=interval,
        censored=censored,
        stats=shape,
        histogram=histogram,
        series=thin(evidence.series),
        stretches={name: values for name, values in (stretches or {}).items() if values},
        slices=slices,
        without=without,
        details=dict(evidence.details),
        definition=metric.definition,
    )
