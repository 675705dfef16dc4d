"""The catalogue's columns, held against what other modules make of them."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from checks_made import a_check
from perfsuite.analysis import feasibility
from perfsuite.analysis.errorbars import error_of
from perfsuite.analysis.summary import SHOWN
from perfsuite.metric import Comparison, Kind, Metric, Stamp, catalogue, metric
from perfsuite.plan import Criterion
from perfsuite.result import Stats
from perfsuite.statistic import USUAL, VALUE, quantile_level
from perfsuite.suites.probes import PROBES
from perfsuite.suites.sampled import memory_evidence

ROWS = list(catalogue().values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_says_what_its_columns_can_mean(row: Metric) -> None:
    assert row.kind in get_args(Kind)
    assert row.comparison in get_args(Comparison)
    assert row.stamp is None or row.stamp in get_args(Stamp)
    assert row.a_second is None or (isinstance(row.a_second, float) and row.a_second > 0.0)
    switches = [field.name for field in dataclasses.fields(Metric) if field.default is False]
    assert all(type(getattr(row, name)) is bool for name in switches)
    assert not (row.workload and (row.essential or row.signed)), "the workload is never judged"
    assert not row.essential or row.streamed, "essential says which of the streamed ones count"
    assert row.failures is None or (row.kind == "histogram" and metric(row.failures).unit == "ratio")
    assert row.failures is None or any({row.name, row.failures} <= {*one.provides} for one in PROBES.values())
    assert row.failures is not None or not row.streamed or row.kind != "histogram"


def test_every_sampled_metric_has_its_evidence_from_the_collectors() -> None:
    sampled = {row.name for row in ROWS if row.sampled}
    assert sampled == set(memory_evidence([(0.0, 1.0)], "PSS", settled_s=0.0))
    assert sampled.isdisjoint(name for probe in PROBES.values() for name in probe.provides)


def test_what_is_streamed_in_milliseconds_is_no_better_than_a_stamp() -> None:
    assert {row.name for row in ROWS if row.streamed and row.unit == "ms" and row.stamp is None} == set()
    for row in ROWS:
        error = error_of(row.name, "p50", 20.0, a_check())
        assert (error is not None) is (row.stamp is not None)
        assert row.unit == {"rate": "1/s", None: row.unit}.get(row.stamp, "ms")


def test_a_share_that_is_counted_a_second_knows_what_samples_it_needs() -> None:
    for row in ROWS:
        one = Criterion(metric=row.name, stat="value", comparison=">=", target=0.99)
        needed = feasibility._samples_to_pass(one)
        assert (needed == 299.0) is (row.kind == "ratio" and row.a_second is not None), row.name


def test_a_quantile_that_is_shown_can_be_judged_and_kept() -> None:
    assert set(SHOWN) <= set(USUAL) <= set(Stats.__struct_fields__)
    assert {row.stat for row in ROWS} <= {*USUAL, VALUE}
    assert all(quantile_level(name) is not None for name in SHOWN)


def test_an_alias_of_the_documents_is_the_metric() -> None:
    assert metric("avgResponseTime") is catalogue()["response_time"]
