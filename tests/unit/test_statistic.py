"""The names of statistics: one grammar for criteria, thresholds, tests and alerts."""

from __future__ import annotations

import pytest

from perfsuite.cli.monitor import criterion_of
from perfsuite.configuration import configure
from perfsuite.errors import UsageError
from perfsuite.pytest_plugin import slo
from perfsuite.statistic import USUAL, quantile_level, statistic

SPELLINGS = {
    "mean": "mean", "min": "min", "max": "max", "p50": "p50", "p90": "p90", "p05": "p05", "p999": "p999",
    "p99.9": "p999", "p99.99": "p9999", "p990": "p99", "p0.1": "p001",
}  # fmt: skip
NONE = (
    "",
    "p",
    "p0",
    "p9",
    "p00",
    "p100",
    "p1000",
    "p250",
    "p.5",
    "p95x",
    "P95",
    "median",
    "value",
    "p12.5",
    "p-1",
    "p٥٠",
)


@pytest.mark.parametrize(("spelt", "name"), SPELLINGS.items())
def test_a_spelling_is_one_statistic(spelt: str, name: str) -> None:
    assert statistic(spelt) == name
    assert statistic(name) == name


@pytest.mark.parametrize("name", NONE)
def test_what_is_none_is_none(name: str) -> None:
    assert statistic(name) is None


def test_a_quantile_has_its_level() -> None:
    levels = [quantile_level(name) for name in ("p50", "p05", "p999", "mean", "p", "value")]
    assert levels == [0.5, 0.05, 0.999, None, None, None]


@pytest.mark.parametrize("name", [*USUAL, "p90", "p05"])
def test_a_threshold_and_a_test_take_the_same_names(name: str) -> None:
    (phase,) = configure({"phase": ["load"], "threshold": f"ttft.{name}<2s"}).phases
    (found,) = [one for one in phase.criteria if one.metric == "ttft"]
    assert found.stat == name
    (asked,) = slo.read({f"{name}_ms": 50}, "slo")
    assert asked.stat == name


@pytest.mark.parametrize("name", ["p90", "p99", "p99.9", "p05"])
def test_an_alert_takes_them_too(name: str) -> None:
    assert criterion_of(f"ttft.{name}<2s").quantile == quantile_level(statistic(name) or "")


@pytest.mark.parametrize("name", ["p100", "p250", "median"])
def test_what_is_none_is_refused_everywhere(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        configure({"phase": ["load"], "threshold": f"ttft.{name}<2s"})
    with pytest.raises(UsageError, match=name):
        slo.read({f"{name}_ms": 50}, "slo")
    with pytest.raises(UsageError, match=name):
        criterion_of(f"ttft.{name}<2s")
