"""Prometheus text, read back by prometheus_client's own parser."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from perfsuite import runner
from perfsuite._core import Histogram
from perfsuite.configuration import configure
from perfsuite.errors import MissingExtra, PerfsuiteError
from perfsuite.exports.outlets import PrometheusFile
from perfsuite.exports.prometheus import exposition, name_of
from perfsuite.metric import catalogue
from perfsuite.result import MetricResult, PhaseResult, Result, dump, encode_histogram, parse
from results_made import HOSTILE, environment, full, run


def families(text: bytes) -> dict[str, Metric]:
    found = list(text_string_to_metric_families(text.decode()))
    assert len({family.name for family in found}) == len(found), "a family comes once"
    return {family.name: family for family in found}


def value(family: Metric, name: str = "", **labels: str) -> float:
    suited = [s for s in family.samples if s.name == (name or family.name) and labels.items() <= s.labels.items()]
    assert len(suited) == 1, (family, suited)
    return float(suited[0].value)


def alone(metric: MetricResult, **phase: Any) -> Result:
    phases = [PhaseResult(name="load", verdict="passed", metrics=[metric], **phase)]
    return Result(run=run(), environment=environment(), phases=phases)


def test_a_run_is_told_with_its_requests_and_errors() -> None:
    found = families(exposition(parse(dump(full()))))
    assert value(found["perfsuite_run_info"], target="reference", verdict="failed") == 1.0
    assert value(found["perfsuite_requests"], "perfsuite_requests_total", phase="load", outcome="completed") == 405
    assert value(found["perfsuite_requests"], "perfsuite_requests_total", phase="load", outcome="failed") == 7
    assert value(found["perfsuite_errors"], "perfsuite_errors_total", kind="timeout") == 5
    assert value(found["perfsuite_phase_duration_seconds"], phase="load") == 5.0
    assert value(found["perfsuite_phase_verdict"], phase="load", verdict="failed") == 1.0
    assert value(found["perfsuite_resource_bytes"], series="rss") == 1e8 + 59


@pytest.mark.parametrize(
    ("there", "instead", "error"),
    [
        (b'le="+Inf"', b'le="+Inf', ValueError),  # a label that does not end
        (b"} 405", b"} 4O5", ValueError),
        (b"perfsuite_requests_total{", b"perfsuite_requests_total[", ValueError),
        (b"# TYPE perfsuite_errors_total", b"# TYPE perfsuite_requests_total", AssertionError),  # the family again
    ],
)
def test_what_reads_it_back_takes_nothing_broken(there: bytes, instead: bytes, error: type[Exception]) -> None:
    text = exposition(parse(dump(full())))
    assert there in text
    with pytest.raises(error):
        families(text.replace(there, instead, 1))


def test_a_histogram_is_the_metrics_own_in_seconds() -> None:
    result = parse(dump(full()))
    family = families(exposition(result))["perfsuite_response_time_seconds"]
    assert family.type == "histogram"
    histogram = result.metrics["load.response_time"].distribution()
    assert histogram is not None
    buckets = {float(s.labels["le"]): s.value for s in family.samples if s.name.endswith("_bucket")}
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets[math.inf] == value(family, "perfsuite_response_time_seconds_count", phase="load") == 396
    assert value(family, "perfsuite_response_time_seconds_sum") == pytest.approx(histogram.sum / 1000, rel=1e-12)
    for limit, count in buckets.items():
        wanted = 396 if math.isinf(limit) else sum(n for low, _, n in histogram.buckets() if low <= limit * 1000)
        assert count == wanted, limit
    assert len({*buckets.values()}) > 10  # or the buckets would say nothing of its shape


def test_bounds_stay_the_same_whatever_was_measured() -> None:
    def limits(values: list[float]) -> list[str]:
        histogram = Histogram(10)
        histogram.record_many(values)
        metric = MetricResult(name="ttft", unit="ms", kind="histogram", histogram=encode_histogram(histogram))
        family = families(exposition(alone(metric)))["perfsuite_ttft_seconds"]
        return [s.labels["le"] for s in family.samples if s.name.endswith("_bucket")]

    assert limits([1.0]) == limits([1e7, 5.0]) == limits([])


def test_criteria_are_told_with_their_targets_and_verdicts() -> None:
    found = families(exposition(full()))
    labels = {"phase": "load", "metric": "response_time", "stat": "p95"}
    assert value(found["perfsuite_criterion_value"], **labels) == 2100.0
    assert value(found["perfsuite_criterion_target"], **labels, comparison="<") == 5000.0
    assert value(found["perfsuite_criterion_verdict"], **labels, verdict="passed") == 1.0
    assert value(found["perfsuite_criterion_verdict"], metric="cache_hit_rate", verdict="not measured") == 1.0
    assert not [s for s in found["perfsuite_criterion_value"].samples if s.labels["metric"] == "cache_hit_rate"]


def test_a_metric_of_two_criteria_and_one_of_two_kinds_come_once() -> None:
    one = MetricResult(name="ttft", unit="ms", kind="gauge", value=3.0, stat="p95", target=5.0, comparison="<")
    twice = [one, msgspec.structs.replace(one, target=4.0), msgspec.structs.replace(one, stat="p99", target=9.0), one]
    histogram = Histogram(7)
    histogram.record(2.0)
    other = msgspec.structs.replace(one, kind="histogram", histogram=encode_histogram(histogram))
    phases = [
        PhaseResult(name="a", verdict="passed", metrics=twice),
        PhaseResult(name="b", verdict="passed", metrics=[other]),
    ]
    found = families(exposition(Result(run=run(), environment=environment(), phases=phases)))
    assert len(found["perfsuite_ttft_seconds"].samples) == 1
    assert value(found["perfsuite_ttft_seconds"], phase="a") == pytest.approx(0.003)
    assert len(found["perfsuite_criterion_value"].samples) == 3
    assert len(found["perfsuite_criterion_target"].samples) == 3  # of two targets of one statistic the first


def test_text_of_others_breaks_nothing() -> None:
    metric = MetricResult(name="ttft", unit="ms", kind="gauge", value=1.0, definition=f"{HOSTILE}\nx 1\n")
    result = msgspec.structs.replace(alone(metric), run=run(target=HOSTILE, id='"}\n# TYPE a gauge\na 1\n'))
    found = families(exposition(result))
    assert value(found["perfsuite_run_info"], target=HOSTILE) == 1.0
    assert "a" not in found


def test_every_metric_of_the_catalogue_has_a_name_of_its_own() -> None:
    names = {name_of(one.name, one.unit) for one in catalogue().values()}
    assert len(names) == len(catalogue())
    assert {"perfsuite_ttft_seconds", "perfsuite_output_tokens_per_s", "perfsuite_compression_ratio"} <= names
    for name in names:
        assert Metric(name, "", "gauge").name == name


def test_a_run_keeps_its_file_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "perfsuite.prom"
    seen: list[bytes] = []
    publish = PrometheusFile.publish

    def watched(self: PrometheusFile, result: Result) -> None:
        publish(self, result)
        seen.append(path.read_bytes())

    monkeypatch.setattr(PrometheusFile, "publish", watched)
    plan = configure(
        {"phase": ["baseline", "load"], "duration": 0.3, "prometheus_file": str(path)},
        folder=tmp_path,
        environment={},
        keywords=True,
    )
    result = asyncio.run(runner.execute_async(plan))
    assert len(seen) >= 2
    phases = {s.labels["phase"] for s in families(seen[0])["perfsuite_phase_verdict"].samples}
    assert "baseline" in phases
    assert path.read_bytes() == exposition(result)
    told = families(path.read_bytes())["perfsuite_phase_duration_seconds"]
    for phase in result.phases:  # how many requests so short a phase comes to is the machine's affair
        assert value(told, phase=phase.name) == phase.duration_s


def test_a_file_that_cannot_be_written_any_more_is_one_note(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    outlet = PrometheusFile(folder / "perfsuite.prom")
    outlet.publish(full())
    assert outlet.trouble is None
    (folder / "perfsuite.prom").unlink()
    folder.rmdir()
    outlet.publish(full())
    assert outlet.trouble is not None
    assert "--prometheus-file" in outlet.trouble
    assert str(folder) in outlet.trouble
    with pytest.raises(PerfsuiteError):
        PrometheusFile(folder / "perfsuite.prom")


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"perfsuite\[prometheus\]"):
        exposition(full())
