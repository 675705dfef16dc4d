"""What of a result can be compared, and under which conditions."""

from __future__ import annotations

import dataclasses

import msgspec

import perfsuite
from perfsuite.analysis import comparable
from perfsuite.analysis.comparable import conditions, differing, figures, host_of, key_of
from perfsuite.plan import Phase, Plan
from perfsuite.result import MetricResult, Stats, dump, parse
from perfsuite.settings import WRITING
from runs_made import result


def test_a_run_has_the_conditions_of_its_file() -> None:
    """The history gets the one, a later command reads the other: they have to meet."""
    made = perfsuite.run("token", duration=0.05, concurrency=2)
    asked = conditions(made, "token")
    assert asked["phase"]["duration_s"] == 0.05
    read = conditions(parse(dump(made)), "token")
    assert differing(asked, read) == []
    assert key_of(asked) == key_of(read)
    longer = conditions(perfsuite.run("token", duration=0.06, concurrency=2), "token")
    assert differing(asked, longer) == ["phase.duration_s 0.05 and 0.06"]


def test_medians_gate_and_tails_are_shown() -> None:
    found = figures(result(0, 80.0).phases[0])
    gates = {key for key, one in found.items() if one.figure.gates}
    assert gates == {"load.response_time.p50", "load.memory_usage.max", "load.error_rate.value"}
    assert found["load.response_time.p99"].value == 240.0
    assert not found["load.response_time.p99"].figure.gates


def test_a_mean_gates_where_the_metric_is_judged_by_its_mean() -> None:
    stats = Stats(mean=5.0, p50=4.0, p99=9.0)
    phase = result(0, 80.0).phases[0]
    for stat, expected in (("mean", True), ("p95", False)):
        metric = MetricResult(name="response_time", unit="ms", kind="histogram", stat=stat, value=5.0, stats=stats)
        found = figures(msgspec.structs.replace(phase, metrics=[metric]))
        assert found["load.response_time.mean"].figure.gates is expected


def test_the_workload_and_what_was_not_measured_do_not_gate() -> None:
    found = figures(result(0, 80.0).phases[0])
    assert not found["load.prompt_tokens.p50"].figure.gates
    assert not any("cache_hit_rate" in key for key in found)


def test_a_metric_of_ones_own_goes_by_its_unit() -> None:
    phase = result(0, 80.0).phases[0]
    metrics = [
        MetricResult(name="recall_hot", unit="ms", kind="gauge", value=3.0),
        MetricResult(name="operations", unit="1/s", kind="gauge", value=300.0),
        MetricResult(name="colour", unit="count", kind="gauge", value=3.0),
    ]
    found = figures(msgspec.structs.replace(phase, metrics=metrics))
    better = {one.figure.metric: one.figure.better for one in found.values()}
    assert better == {"recall_hot": "lower", "operations": "higher", "colour": None}
    assert not found["load.colour.value"].figure.gates


def test_a_value_among_the_failures_is_no_figure() -> None:
    phase = result(0, 80.0).phases[0]
    metric = MetricResult(name="ttft", unit="ms", kind="gauge", value=60000.0, censored=True)
    assert figures(msgspec.structs.replace(phase, metrics=[metric])) == {}


def test_where_files_went_is_no_condition_and_the_length_is() -> None:
    one, other, longer = result(0, 80.0), result(1, 80.0), result(2, 80.0, duration_s=60.0)
    assert key_of(conditions(one, "load")) == key_of(conditions(other, "load"))
    assert differing(conditions(one, "load"), conditions(longer, "load")) == ["phase.duration_s 2.0 and 60.0"]


def test_each_field_of_a_plan_is_a_condition_or_none_by_name() -> None:
    """A new field of the plan, or of a phase, has to be put into one of the two."""
    conditions_of_run = {"target", "profile", "seed", "models", "load", "workload", "tuning", "memory", "database"}
    conditions_of_run |= {"agent_models", "modality", "trace", "cluster"}
    conditions_of_run |= {"phase_timeout_s", "request_timeout_s"}
    of_plan = {field.name for field in dataclasses.fields(Plan)}
    assert of_plan == conditions_of_run | comparable.NOT_CONDITIONS
    assert not conditions_of_run & comparable.NOT_CONDITIONS


def test_where_a_run_writes_makes_no_other_configuration_and_is_for_no_other_run() -> None:
    writing = {option.name for option in WRITING}
    assert writing - {"json"} < comparable.NOT_CONDITIONS
    assert {"output", "raw", "junitxml", "prometheus_file", "otlp", "live", "json"} == writing
    conditions_of_phase = {"name", "duration_s", "probes", "settings", "of"}
    of_phase = {field.name for field in dataclasses.fields(Phase)}
    assert of_phase == conditions_of_phase | comparable.NOT_OF_PHASE
    assert not conditions_of_phase & comparable.NOT_OF_PHASE


def test_an_update_of_the_kernel_makes_no_other_host_and_another_processor_does() -> None:
    here = host_of(result(0, 1.0).environment)
    assert here.differences(host_of(result(0, 1.0, os="Linux 6.2").environment)) == []
    assert here.differences(host_of(result(0, 1.0, cpu="Other").environment)) == ["cpu Test CPU and Other"]
    assert here.differences(host_of(result(0, 1.0, os="Darwin 23").environment)) == ["os Linux and Darwin"]
