"""Every metric of the five phases has its histogram and its series, or the result says why it has none."""

from __future__ import annotations

import math

import perfsuite
from perfsuite.metric import catalogue
from perfsuite.phases import documented

SLOW = "memory_savings"
"""Starts six processes or more, whose pairs are its points."""


def test_what_was_measured_has_both_or_says_why() -> None:
    names = {name for phase in documented().values() for name in phase.metrics}
    names |= {"goodput", "stalls", "tokens_per_chunk", "service_time"}
    result = perfsuite.run(target="reference", duration=1.0, metrics=sorted(names - {SLOW}))
    assert [phase.name for phase in result.phases] == list(documented())
    seen = set()
    for phase in result.phases:
        for metric in phase.metrics:
            if metric.verdict == "not measured":
                continue
            seen.add(metric.name)
            where = f"{phase.name}.{metric.name}"
            assert (metric.histogram is None) is ("histogram" in metric.without), where
            assert bool(metric.series) is ("series" not in metric.without), where
            assert all(metric.without.values()), where
            if metric.kind == "histogram":
                assert metric.histogram is not None, where
            times = [t_s for t_s, _ in metric.series]
            assert times == sorted(times), where
            assert all(t_s <= phase.duration_s + 1.0 for t_s in times), where
            if metric.kind == "ratio":
                assert all(value is not None and -1e-9 <= value <= 1.0 + 1e-9 for _, value in metric.series), where
            if catalogue()[metric.name].untimed:
                assert metric.without["series"] == catalogue()[metric.name].untimed, where
    # What the probes without a load show is there however slow the machine is, and each has a point at least.
    for name in ("compression_ratio", "decompression_time", "recovery_accuracy", "window_optimization",
                 "truncation_time", "token_counting_accuracy", "budget_compliance", "context_relevance",
                 "token_efficiency", "context_recall"):  # fmt: skip
        found = [
            metric for phase in result.phases for metric in phase.metrics if metric.name == name and metric.samples
        ]
        assert found, name
        for metric in found:
            assert metric.series, name
            assert all(math.isfinite(value) for _, value in metric.series if value is not None), name
    assert seen >= {"goodput", "concurrent_requests", "error_rate"}
