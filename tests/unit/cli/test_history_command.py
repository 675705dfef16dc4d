"""The history from the command line, and what a run puts into it."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from pathlib import Path

import pytest
from msgspec import structs

from perfsuite.cli import main
from perfsuite.history.store import History
from played import Played
from runs_made import result, series, written


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERFSUITE_HISTORY", str(tmp_path / "history.db"))


def test_every_run_is_recorded_with_its_command(played: Played, tmp_path: Path) -> None:
    assert main(["run", "load", "--seed", "7", "-m", "ttft"]) == 0
    with History(str(tmp_path / "history.db")) as history:
        (one,) = history.runs()
    assert one.id == played.result.run.id
    assert one.command == ("load", "--metrics=ttft", "--seed=7")
    assert one.folder == str(tmp_path)


def test_off_is_off(played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "load", "--history", "off"]) == 0
    assert not (tmp_path / "history.db").exists()
    assert main(["history", "--history", "off"]) == 2
    assert "the history is off" in capsys.readouterr().err


def test_a_history_that_cannot_be_used_takes_nothing_along(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "history.db").write_bytes(b"no database" * 100)
    assert main(["run", "load"]) == 0
    err = capsys.readouterr().err
    (file,) = (tmp_path / "test-results").glob("results-*.json")
    assert "this run is not in the history" in err
    assert "is damaged" in err
    assert f"perfsuite history add {file.relative_to(tmp_path)}" in err
    (tmp_path / "history.db").unlink()
    assert main(["history", "add", str(file)]) == 0
    assert "1 run added" in capsys.readouterr().out


def test_a_password_is_written_nowhere(played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "load", "--history", "postgresql+psycopg://me:secret@127.0.0.1:1/base"])
    main(["plan", "load", "--history", "postgresql+psycopg://me:secret@127.0.0.1:1/base"])
    out, err = capsys.readouterr()
    assert "secret" not in out + err
    assert "me:***@" in out
    assert "secret" not in repr(played.plans[0])
    assert all(b"secret" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_list_trend_and_export(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history"]) == 0
    assert "there is no history" in capsys.readouterr().out
    values = series(12, seed=1) + series(8, seed=2, level=130.0)
    paths = written(Path("test-results"), values)
    assert main(["history", "add", *map(str, paths), str(paths[0])]) == 0
    assert main(["history", "add", "test-results/*.json"]) == 0
    assert "0 runs added" in capsys.readouterr().out
    assert main(["history", "--limit", "3", "--verbose"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[1].endswith("run-19")
    assert main(["history", "trend", "load"]) == 0
    assert "1 groups of other hosts are not shown" in capsys.readouterr().out
    assert main(["history", "trend", "load", "--all-hosts"]) == 0
    out = capsys.readouterr().out
    assert "stepped" in out
    assert "response_time p50 +30 % since 2026-11-02 00:00:00 (run-12)" in out
    assert "memory_usage max" in out
    assert "p99" not in out
    assert main(["history", "trend", "laod"]) == 2
    assert "did you mean load?" in capsys.readouterr().err


def listed(capsys: pytest.CaptureFixture[str], tmp_path: Path, *names: str, target: str = "t") -> list[str]:
    made = result(0, 100.0)
    phases = [structs.replace(made.phases[0], name=name) for name in names]
    with History(str(tmp_path / "history.db")) as history:
        history.record(structs.replace(made, run=structs.replace(made.run, target=target), phases=phases))
    assert main(["history"]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [80, 100])
def test_a_list_fits_the_terminal(
    width: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    systems = [f"compare system-{n}, {size} memories" for n in range(6) for size in (100, 1000)]
    lines = listed(capsys, tmp_path, *systems, "baseline", target="http://a-long-name.example:8000/of/a/service")
    assert max(map(len, lines)) <= width
    assert "compare 6 systems +1" in lines[1] or "compare 6 systems baseline" in lines[1]
    assert "http://a-long" in lines[1]


def test_a_list_says_how_many_more_benchmarks_there_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    five = ["baseline", "cross-model", "load", "compression", "token"]
    monkeypatch.setenv("COLUMNS", "60")
    assert "baseline +4" in listed(capsys, tmp_path, *five)[1]
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["history"]) == 0
    assert " ".join(five) in capsys.readouterr().out


def test_export(capsys: pytest.CaptureFixture[str]) -> None:
    written(Path("test-results"), [100.0, 101.0])
    assert main(["history", "add", "test-results/*.json"]) == 0
    capsys.readouterr()
    assert main(["history", "export"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    medians = [float(row["value"]) for row in rows if row["metric"] == "response_time" and row["stat"] == "p50"]
    assert medians == [100.0, 101.0]
    assert main(["history", "export", "--format", "jsonl", "-o", "all.jsonl"]) == 0
    text = Path("all.jsonl").read_text(encoding="utf-8")
    assert len([json.loads(line) for line in text.splitlines()]) == len(rows)
    assert main(["history", "export", "--format", "xml"]) == 2


def test_predict_says_what_comes_how_such_words_did_and_what_it_does_not_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    climbing = [value * 1.02**i for i, value in enumerate(series(25, seed=11, level=1500.0))]
    main(["history", "add", *map(str, written(Path("drifting"), climbing))])
    stepped = series(15, seed=1) + series(15, seed=2, level=130.0)
    main(["history", "add", *map(str, written(Path("stepped"), stepped, first=100, phase="window"))])
    main(["history", "add", *map(str, written(Path("short"), series(4, seed=1), first=200, phase="short"))])
    capsys.readouterr()
    assert main(["history", "predict", "--all-hosts"]) == 0
    out = capsys.readouterr().out
    assert "next run" in out
    assert "of 17 held, off by" in out
    assert "response_time p95: it drifts, and leaves < 5 s " in out
    assert "its level changed once in 30 runs" in out
    assert "nothing is predicted from 4 runs: it takes 8" in out
    assert "EXTRAPOLATED" not in out
    assert main(["history", "predict", "load", "--all-hosts", "--ahead", "40"]) == 0
    out = capsys.readouterr().out
    assert "40 runs on" in out
    assert "EXTRAPOLATED: that is further ahead than the 25 runs go back" in out
    assert "not tried: too few runs" in out
    assert main(["history", "predict", "--ahead", "0"]) == 2
    assert main(["history", "predict", "nothing"]) == 2


def test_a_formula_stays_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with History(str(tmp_path / "history.db")) as history:
        history.record(result(0, 1.0, commit="=1+1"))
    assert main(["history", "export"]) == 0
    assert ",'=1+1," in capsys.readouterr().out


def test_wrong_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["history", "lits"], "did you mean list?"),
        (["history", "list", "x"], "takes no 'x'"),
        (["history", "add"], "name the results"),
        (["history", "add", "no.json"], "cannot read 'no.json'"),
        (["history", "--limit", "0", "--history", "sqlite://"], "--limit"),
    ):
        assert main(arguments) == 2, arguments
        assert words in capsys.readouterr().err


def test_a_damaged_history_is_exit_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(tmp_path / "history.db") as raw:
        raw.execute("CREATE TABLE x (y)")
    raw.close()
    assert main(["history"]) == 1
    assert "no history of perfsuite's" in capsys.readouterr().err
