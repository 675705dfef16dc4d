"""The result file: what is written is read again, hostile input gives one clear line, and the schema describes it."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from types import MappingProxyType

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import results_made
from perfsuite._core import Histogram
from perfsuite.errors import UsageError
from perfsuite.result import MetricResult, PhaseResult, Result, dump, encode_histogram, load, parse, schema

GOLDEN = Path(__file__).parents[1] / "golden"


def validate(data: bytes) -> None:
    jsonschema.Draft202012Validator(schema()).validate(json.loads(data, parse_constant=pytest.fail))


def with_metric(**fields: object) -> Result:
    metric = MetricResult(**{"name": "m", "unit": "ms", "kind": "gauge", **fields})  # type: ignore[arg-type]
    phase = PhaseResult(name="p", verdict="passed", metrics=[metric])
    return Result(run=results_made.run(), environment=results_made.environment(), phases=[phase])


@pytest.mark.parametrize("result", [results_made.full(), results_made.empty()], ids=["full", "empty"])
def test_what_is_written_is_read_again(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(dump(result))
    again = load(path)
    assert dump(again) == dump(result)
    assert again.metrics.keys() == result.metrics.keys()
    assert again.verdict == result.run.verdict
    validate(path.read_bytes())


def test_the_fields_that_scripts_rely_on_are_there() -> None:
    document = json.loads(dump(results_made.full()))
    assert document["schema_version"] == 1
    assert document.keys() >= {"run", "environment", "phases", "recommendations"}
    assert document["run"].keys() >= {
        "id",
        "started",
        "ended",
        "seed",
        "profile",
        "target",
        "plan",
        "simulated",
        "exit_code",
        "verdict",
    }
    assert document["environment"].keys() >= {
        "host",
        "os",
        "cpu",
        "cores",
        "memory_bytes",
        "python",
        "perfsuite",
        "commit",
        "clock",
        "stamps",
    }
    phase = document["phases"][0]
    assert phase.keys() >= {"name", "verdict", "duration_s", "errors", "requested", "delivered", "metrics"}
    assert phase["errors"][0].keys() == {"kind", "count", "first"}
    assert phase["metrics"][0].keys() >= {
        "name",
        "unit",
        "kind",
        "value",
        "target",
        "comparison",
        "critical",
        "verdict",
        "reason",
        "samples",
        "n_effective",
        "interval",
        "measurement_error",
        "stats",
        "histogram",
        "series",
    }
    assert phase["metrics"][0]["stats"].keys() == {"mean", "min", "max", "p50", "p95", "p99", "p999"}


def test_each_metric_is_a_line() -> None:
    lines = dump(results_made.full()).decode().splitlines()
    assert sum(line.startswith('  {"name":') for line in lines) == 5


@given(
    value=st.one_of(st.none(), st.floats()),
    low=st.one_of(st.none(), st.floats()),
    high=st.one_of(st.none(), st.floats()),
    details=st.dictionaries(
        st.text(), st.recursive(st.none() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5)
    ),
    reason=st.text(st.characters()),
)
def test_any_number_and_any_text_is_written_as_json(
    value: float | None, low: float | None, high: float | None, details: dict[str, object], reason: str
) -> None:
    result = with_metric(value=value, interval=(low, high), details=details, reason=reason)
    data = dump(result)
    validate(data)
    again = parse(data).phases[0].metrics[0]
    assert again.value == (value if value is not None and math.isfinite(value) else None)
    assert dump(parse(data)) == data


def test_a_lone_surrogate_and_a_huge_integer_do_not_lose_the_run() -> None:
    data = dump(with_metric(reason="before \ud800 after", details={"n": 2**70, "huge": 10**400}, value=1.5))
    metric = parse(data).phases[0].metrics[0]
    assert (metric.reason, metric.value) == ("before ? after", 1.5)
    assert metric.details == {"n": float(2**70), "huge": None}


def test_data_of_other_types_is_written_as_what_it_is() -> None:
    details = {"path": Path("a/b"), "mapping": MappingProxyType({"x": 1}), "range": range(3), "tuple": (1, 2)}
    assert parse(dump(with_metric(details=details))).phases[0].metrics[0].details == {
        "path": "a/b",
        "mapping": {"x": 1},
        "range": [0, 1, 2],
        "tuple": [1, 2],
    }


def test_what_is_no_data_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"data only: object"):
        dump(with_metric(details={"x": object()}))


GOOD = dump(results_made.full())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (GOOD[: len(GOOD) // 2], "cut off after"),
        (GOOD[: GOOD.index(b'"samples":412') + 11], "cut off after"),
        (b"not json", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (GOOD.replace(b"reference", b"\xff\xfe", 1), "not JSON"),
        (b"[1, 2]", "not a perfsuite result"),
        (b"{}", "no schema_version"),
        (b'{"schema_version": 2}', "newer"),
        (b'{"schema_version": 0}', "run the measurement again"),
        (b'{"schema_version": true}', "schema version True"),
        (b'{"schema_version": "1"}', "schema version '1'"),
        (b'{"schema_version": 1}', "missing required field `run`"),
        (GOOD.replace(b'"samples":412', b'"samples":"412"'), r"samples"),
        (b'{"schema_version": 1, "x": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"x": ' + b'{"x": ' * 100_000, "nested too deeply"),
    ],
)
def test_bad_content_gives_one_clear_line(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=says) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", range(0, len(GOOD) - 2, 97))
def test_every_truncation_is_refused(cut: int) -> None:
    with pytest.raises(UsageError):
        parse(GOOD[:cut])


@given(st.binary(max_size=200))
def test_random_bytes_never_give_anything_but_a_usage_error(data: bytes) -> None:
    with pytest.raises(UsageError):
        parse(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_gives_a_result_or_a_usage_error(at: int, byte: int) -> None:
    try:
        parse(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])
    except UsageError as error:
        assert str(error)  # noqa: PT017


def test_a_path_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "link")
    for path, says in [
        (tmp_path, "is a directory"),
        (tmp_path / "missing.json", "No such file"),
        (tmp_path / "fifo", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / "link", "symbolic links"),
        (tmp_path / ("x" * 300), "too long"),
        (Path("a\0b"), "null "),
    ]:
        with pytest.raises(UsageError, match=re.escape(says)):
            load(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.json"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(UsageError, match="larger than any"):
        load(path)


def test_unknown_fields_of_a_later_version_are_passed_over() -> None:
    assert parse(GOOD.replace(b'"id":', b'"added_later":[1],"id":', 1)).run.id == "r1"


def test_a_result_does_not_change() -> None:
    with pytest.raises(AttributeError):
        results_made.full().run.verdict = "passed"  # type: ignore[misc]


def test_metrics_are_found_by_phase_and_name_and_stat() -> None:
    mean = MetricResult(name="m", unit="ms", kind="histogram", stat="mean", value=1.0)
    p95 = msgspec.structs.replace(mean, stat="p95", value=2.0)
    phase = PhaseResult(name="p", verdict="passed", metrics=[mean, p95])
    result = Result(run=results_made.run(), environment=results_made.environment(), phases=[phase])
    assert {name: m.value for name, m in result.metrics.items()} == {"p.m": 1.0, "p.m.p95": 2.0}
    assert phase.metric("m", "p95") is p95
    assert phase.metric("n") is None
    assert result.phase("p") is phase
    with pytest.raises(KeyError):
        result.phase("q")


def test_a_damaged_histogram_is_named() -> None:
    metric = with_metric(histogram="%%%").phases[0].metrics[0]
    with pytest.raises(UsageError, match="histogram of m"):
        metric.distribution()
    assert with_metric().phases[0].metrics[0].distribution() is None


def test_a_histogram_comes_back_as_it_was() -> None:
    histogram = Histogram()
    histogram.record_many([1.0, 2.0, 3.5])
    metric = parse(dump(with_metric(histogram=encode_histogram(histogram)))).phases[0].metrics[0]
    assert metric.distribution() == histogram


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("result-v1-*.json")), ids=lambda path: path.stem)
def test_golden_files_are_read(path: Path) -> None:
    """Files written by earlier versions stay readable, and what is read of them is what was written."""
    validate(path.read_bytes())
    written = json.loads(path.read_bytes())
    read = json.loads(dump(load(path)))

    def contains(new: object, old: object) -> bool:
        if isinstance(old, dict):
            return isinstance(new, dict) and all(k in new and contains(new[k], v) for k, v in old.items())
        if isinstance(old, list):
            return isinstance(new, list) and len(new) == len(old) and all(map(contains, new, old))
        return bool(new == old)

    assert contains(read, written)
    assert not contains(read, {"schema_version": 2})


def test_there_is_a_golden_file() -> None:
    assert list(GOLDEN.glob("result-v1-*.json"))


def test_the_schema_refuses_what_is_wrong() -> None:
    document = json.loads(GOOD)
    document["run"]["verdict"] = "splendid"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())
    assert schema()["version"] == 1
    assert schema()["$id"].startswith("urn:perfsuite:result:")
