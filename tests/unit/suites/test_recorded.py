"""What the history keeps of a comparison."""

from __future__ import annotations

import pytest

from perfsuite.analysis.retrieval import HEADLINE, MEASURES
from perfsuite.result import Environment, MetricResult
from perfsuite.suites.memory.comparison_result import Comparison, Figure, Group, SystemResult, Timing
from perfsuite.suites.memory.recorded import as_result

LEFT_OUT = {"recall_2000", "recall_1", "precision_k", "noise", "separation", "tokens"}


def recorded(*, rests_on_stand_in: bool = False) -> dict[str, MetricResult]:
    quality = {
        name: Figure(value=0.1 + index / 100, low=0.05, high=0.5, n=60, clusters=12)
        for index, name in enumerate(MEASURES)
    }
    timing = Timing(samples=10, p50=1.0, rounds=[1.0], void="nothing was found")
    group = Group(name="240 memories", quality={"all": quality}, store=timing, recall=timing, disk_bytes=4096)
    system = SystemResult(name="s", kind="raw", groups=[group], rests_on_stand_in=rests_on_stand_in)
    comparison = Comparison(
        id="x", started="2026-11-21T10:00:00+00:00", ended="2026-11-21T10:01:00+00:00", heading="", settings={},
        data="d", tokenizer="t", model="m", rules=[], systems=[system],
        environment=Environment(host="h", os="Linux", cpu="cpu", cores=2, memory_bytes=1, python="3.11", perfsuite="0"),
    )  # fmt: skip
    (phase,) = as_result(comparison, 0).phases
    return {metric.name: metric for metric in phase.metrics}


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_kept_or_named_here_as_left_out(name: str) -> None:
    found = recorded()
    assert (name in found) == (name not in LEFT_OUT)
    if name in found:
        assert found[name].value == pytest.approx(0.1 + list(MEASURES).index(name) / 100)
        assert found[name].comparison == (">" if MEASURES[name].better == "higher" else "<")
        assert found[name].unit == MEASURES[name].unit


def test_the_headline_is_kept() -> None:
    assert recorded()[HEADLINE].value is not None


def test_what_says_nothing_has_no_value() -> None:
    found = recorded(rests_on_stand_in=True)
    for name in MEASURES:
        assert name not in found or found[name].value is None
    assert found["recall_latency"].value is None
    assert found["disk"].value == 4096
