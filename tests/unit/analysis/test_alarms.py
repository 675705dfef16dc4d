"""What of a monitored system is an alarm, and what is none."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from perfsuite._core import Histogram
from perfsuite.analysis.alarms import (
    MARGIN,
    Alarm,
    Criterion,
    Finding,
    Span,
    advanced,
    criterion,
    regressed,
    rising,
)

HOUR = 3600.0


def span(start_s: float, values: Sequence[float] = (), failed: int = 0) -> Span:
    histogram = Histogram(7)
    histogram.record_many(list(values))
    return Span(start_s, len(values), failed, {"response_time": histogram} if values else {})


def hours(levels: Sequence[float], seed: int = 0, noise: float = 0.05) -> list[Span]:
    drawn = random.Random(seed)
    return [
        span(i * HOUR, [level * drawn.lognormvariate(0.0, noise) for _ in range(60)]) for i, level in enumerate(levels)
    ]


def test_a_share_of_failures_needs_a_few_requests() -> None:
    rule = Criterion("error_rate", 0.05)
    assert criterion(rule, [], firing=False).broken is None
    assert criterion(rule, [span(0, [1.0], failed=1)], firing=False).broken is None
    assert criterion(rule, [span(0, [1.0]), span(1, [1.0], failed=1)], firing=False).broken is True
    assert criterion(rule, [span(0, [1.0] * 99, failed=1)], firing=False).broken is False


def test_near_its_limit_an_alarm_neither_begins_nor_ends() -> None:
    rule = Criterion("response_time", 100.0, 0.95)
    between = [span(0, [100.0 * (1.0 - MARGIN / 2.0)] * 30)]
    assert criterion(rule, between, firing=False).broken is False
    assert criterion(rule, between, firing=True).broken is True
    assert criterion(rule, [span(0, [50.0] * 30)], firing=True).broken is False
    assert criterion(rule, [span(0, [120.0] * 30)], firing=False).broken is True
    assert criterion(rule, [span(0, [120.0] * 3)], firing=False).broken is None
    assert "response_time p95 is 120 ms, limit 100 ms" in criterion(rule, [span(0, [120.0] * 30)], firing=False).text


def test_spans_are_judged_together() -> None:
    rule = Criterion("response_time", 100.0)
    assert criterion(rule, [span(0, [50.0] * 20), span(1, [250.0] * 20)], firing=False).broken is True


def test_what_climbs_is_a_trend() -> None:
    assert rising("response_time", hours([100.0 * 1.03**i for i in range(24)]), firing=False).broken is True
    assert rising("response_time", hours([100.0 / 1.03**i for i in range(24)]), firing=False).broken is False
    assert rising("response_time", hours([100.0] * 7), firing=False).broken is None


def test_what_only_varies_is_none() -> None:
    found = [rising("response_time", hours([100.0] * 48, seed, noise=0.3), firing=False).broken for seed in range(40)]
    assert found == [False] * 40


def test_an_hour_that_is_slower_than_its_past_is_a_regression() -> None:
    past = hours([100.0] * 48)
    assert regressed("response_time", past, hours([150.0], 7)[0], firing=False).broken is True
    assert regressed("response_time", past, hours([70.0], 7)[0], firing=False).broken is False
    assert regressed("response_time", past[:5], hours([150.0], 7)[0], firing=False).broken is None
    assert regressed("response_time", past, None, firing=False).broken is None


@pytest.mark.parametrize("noise", [0.05, 0.3])
def test_an_hour_like_its_past_is_none(noise: float) -> None:
    found = [
        regressed("response_time", all_[:-1], all_[-1], firing=False).broken
        for all_ in (hours([100.0] * 49, seed, noise) for seed in range(40))
    ]
    assert found == [False] * 40


def test_each_fires_once_and_is_resolved_once() -> None:
    alarms: dict[str, Alarm] = {}
    told = []
    for now, broken in enumerate([False, True, True, None, True, False, None, False, True]):
        fired, resolved = advanced(alarms, [Finding("error_rate", "criterion", broken, "text")], float(now))
        for alarm in resolved:
            del alarms[alarm.name]
        alarms |= {alarm.name: alarm for alarm in fired}
        told += [("fired", alarm.since_s) for alarm in fired] + [("resolved", alarm.resolved_s) for alarm in resolved]
    assert told == [("fired", 1.0), ("resolved", 5.0), ("fired", 8.0)]
