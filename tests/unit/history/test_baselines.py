"""Baseline files: what goes in comes out, and what cannot be used says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perfsuite.errors import UsageError
from perfsuite.history.baselines import check_same, dump, hold, make, place, read, take
from perfsuite.result import dump as dump_result
from runs_made import result, series, written


def a_baseline(folder: Path, count: int = 3, **more: Any) -> Path:
    runs = take(written(folder, series(count, seed=1), **more))["load"]
    path = place(folder, "load")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(dump(make("load", runs)))
    return path


def test_a_baseline_comes_back_as_it_went(tmp_path: Path) -> None:
    path = a_baseline(tmp_path, inside=[1.0, 2.0, 3.0])
    baseline = read(path)
    runs = baseline.comparable_runs()
    assert path == tmp_path / "baselines/load.json"
    assert [run.id for run in runs] == ["run-0", "run-1", "run-2"]
    assert runs[0].figures["load.response_time.p50"].value == pytest.approx(series(3, seed=1)[0])
    assert runs[0].figures["load.response_time.p50"].inside == (1.0, 2.0, 3.0)
    assert baseline.runs[2].commit == f"{2:040x}"


def test_the_documented_names(tmp_path: Path) -> None:
    names = {one: place(tmp_path, one).name for one in ("latency", "throughput", "footprint", "load")}
    assert names == {
        "latency": "latency_tier_latency.json",
        "throughput": "throughput_concurrent_throughput.json",
        "footprint": "footprint_memory_footprint.json",
        "load": "load.json",
    }


def test_a_baseline_of_another_benchmark_is_refused(tmp_path: Path) -> None:
    baseline = read(a_baseline(tmp_path))
    runs = take(written(tmp_path, [100.0], first=5))["load"]
    assert hold(baseline, runs, "b.json").benchmark == "load"
    with pytest.raises(UsageError, match=r"b\.json is a baseline of latency, not of load.*init-baselines --force"):
        hold(msgspec.structs.replace(baseline, benchmark="latency"), runs, "b.json")


def test_a_run_that_failed_is_no_run(tmp_path: Path) -> None:
    whole = result(0, 100.0)
    failed = msgspec.structs.replace(whole, run=msgspec.structs.replace(whole.run, error="the target is gone"))
    path = tmp_path / "failed.json"
    path.write_bytes(dump_result(failed))
    with pytest.raises(UsageError, match=r"failed\.json is of a run that failed \(the target is gone\)"):
        take([path])


def test_one_run_in_two_files_counts_once(tmp_path: Path) -> None:
    paths = written(tmp_path, series(2, seed=1))
    copy = tmp_path / "copy.json"
    copy.write_bytes(paths[0].read_bytes())
    assert len(take([*paths, copy])["load"]) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"host": "elsewhere"}, "of another host than .* --allow-different-host"),
        ({"cores": 64}, "another host"),
        ({"duration_s": 60.0}, r"another configuration than .*phase\.duration_s 2\.0 and 60\.0"),
    ],
)
def test_runs_of_different_kinds_do_not_mix(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    paths = written(tmp_path, series(2, seed=1)) + written(tmp_path, [100.0], first=5, **change)
    with pytest.raises(UsageError, match=words):
        make("load", take(paths)["load"])


def test_units_do_not_mix(tmp_path: Path) -> None:
    paths = written(tmp_path, series(2, seed=1)) + written(tmp_path, [0.1], first=5, unit="s")
    with pytest.raises(UsageError, match="different units"):
        make("load", take(paths)["load"])


def test_another_host_is_a_note_when_it_may_be(tmp_path: Path) -> None:
    baseline = read(a_baseline(tmp_path))
    (other,) = take(written(tmp_path, [100.0], first=9, host="elsewhere"))["load"]
    notes = check_same(baseline.host, baseline.configuration, other, "it", different_host=True)
    assert notes == ["of different hosts: host box and elsewhere"]
    (same,) = take(written(tmp_path, [100.0], first=8))["load"]
    assert check_same(baseline.host, baseline.configuration, same, "it", different_host=True) == []


def edited(path: Path, **changes: Any) -> bytes:
    return json.dumps({**json.loads(path.read_bytes()), **changes}).encode()


def test_what_is_no_baseline_says_what_it_is(tmp_path: Path) -> None:
    path = a_baseline(tmp_path)
    good = path.read_bytes()
    for data, words in (
        (None, "there is no baseline .* init-baselines"),
        (b"", "damaged"),
        (good[: len(good) // 2], "damaged"),
        (b"\x00\xff" * 100, "damaged"),
        (b"[" * 100_000, "damaged|no baseline"),
        (b'{"a": 1}', "no baseline"),
        (edited(path, schema_version=2), "schema version 2; this perfsuite reads 1"),
        (edited(path, schema_version=True), "schema version True"),
        (edited(path, runs="x"), "damaged"),
        (edited(path, runs=[]), "has no run"),
    ):
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)
        with pytest.raises(UsageError, match=words):
            read(path)
    path.write_bytes(good)
    assert read(path).benchmark == "load"


def test_an_interrupted_run_is_none(tmp_path: Path) -> None:
    import msgspec

    one = result(0, 100.0)
    path = tmp_path / "results-x.json"
    path.write_bytes(
        dump_result(msgspec.structs.replace(one, run=msgspec.structs.replace(one.run, verdict="interrupted")))
    )
    with pytest.raises(UsageError, match="interrupted"):
        take([path])


def test_a_run_without_figures_is_none(tmp_path: Path) -> None:
    import msgspec

    path = tmp_path / "results-x.json"
    path.write_bytes(dump_result(msgspec.structs.replace(result(0, 100.0), phases=[])))
    with pytest.raises(UsageError, match="no figure"):
        take([path])


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "a\0b"])
def test_a_result_does_not_say_where_else_its_baseline_goes(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a file"):
        place(tmp_path, name)
    assert place(tmp_path, "a phase..of mine").parent == tmp_path / "baselines"
