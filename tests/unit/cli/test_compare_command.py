"""``perfsuite compare``."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perfsuite.cli import compare, main
from perfsuite.cli.meter import Meter
from perfsuite.cli.options import Parser, add_settings, plan_of
from perfsuite.errors import UsageError
from perfsuite.history.store import History
from perfsuite.settings import BY_NAME
from published_made import longmemeval, written

QUICK = ("--memories", "40", "--questions", "20", "--rounds", "1", "--no-lasting")


def run(folder: Path, *arguments: str) -> int:
    return main(["compare", *arguments, "-o", str(folder)])


def test_it_writes_three_files_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "fts5", "systems_made:Honest", *QUICK) == 0
    shown = capsys.readouterr().out
    files = sorted(tmp_path.iterdir())
    assert [path.suffix for path in files] == [".html", ".json", ".md"]
    assert all(str(path) in shown for path in files)
    data = json.loads(next(path for path in files if path.suffix == ".json").read_bytes())
    measured = [one["name"] for one in data["systems"] if one["status"] == "measured"]
    assert measured[:2] == ["fts5", "Honest"]
    assert {"fts5", "sqlite-vec"} <= {one["name"] for one in data["systems"]}


def test_json_is_all_of_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "fts5", *QUICK, "--json", "-") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["settings"]["k"] == 5
    assert data == json.loads(next(tmp_path.glob("*.json")).read_bytes())


def test_its_reports_can_be_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "fts5", *QUICK) == 0
    (data,) = tmp_path.glob("*.json")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for path in (*tmp_path.glob("*.md"), *tmp_path.glob("*.html")):
        path.unlink()
    capsys.readouterr()
    assert main(["report", str(data)]) == 0
    assert "fts5*" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    data.write_bytes(data.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 99'))
    assert main(["report", str(data)]) == 2
    assert "schema version 99" in capsys.readouterr().err
    data.write_bytes(data.read_bytes().replace(b'"systems": [', b'"systems": 3, "more": ['))
    assert main(["report", str(data)]) == 2
    assert "no comparison of this version" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_measured_is_written_when_it_is_interrupted(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(meter: Meter, text: str) -> None:
        if "round 2" in text:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Meter, "tell", tell)
    before = signal.getsignal(number)
    assert run(tmp_path, "fts5", *QUICK[:4], "--rounds", "5", "--no-lasting") == 130
    assert signal.getsignal(number) == before
    assert "interrupted" in capsys.readouterr().out.lower()
    data = json.loads(next(tmp_path.glob("*.json")).read_bytes())
    assert data["interrupted"]
    assert data["systems"][0]["groups"][0]["rounds"] == 1


def test_it_is_in_the_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "history.db"
    for _ in range(2):
        assert run(tmp_path / "out", "fts5", "systems_made:Nothing", *QUICK, "--history", str(place)) == 0
    with History(str(place)) as history:
        first, second = history.runs()
        assert first.id != second.id
        assert first.command[:3] == ("compare", "fts5", "systems_made:Nothing")
        groups = {one.benchmark: one.runs for one in history.groups()}
        assert groups["compare fts5, 40 memories"] == 2  # of one configuration
        figures = {(one["benchmark"], one["metric"], one["stat"]) for one in history.export()}
    assert ("compare fts5, 40 memories", "recall_latency", "p50") in figures
    assert ("compare fts5, 40 memories", "recall_500", "value") in figures
    assert ("compare Nothing, 40 memories", "recall_latency", "p50") not in figures  # void
    assert not any(phase.startswith("compare sqlite-vec") and name == "recall_500" for phase, name, _ in figures)


def test_it_is_a_benchmark_of_run_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "compare", "fts5", *QUICK, "-o", str(tmp_path)]) == 0
    assert "fts5*" in capsys.readouterr().out
    assert main(["run", "latency", "compare", "-o", str(tmp_path)]) == 2
    assert "'compare' runs by itself: perfsuite compare" in capsys.readouterr().err


def test_a_published_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "set.json", longmemeval())
    assert run(tmp_path / "out", "fts5", "--data", str(path), "--no-lasting") == 0
    assert "LongMemEval" in capsys.readouterr().out


def test_a_system_that_fails_makes_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "fts5", "systems_made:NeverStarts", *QUICK) == 1
    shown = capsys.readouterr().out
    assert "no licence found" in shown
    assert "fts5* " in shown
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fts6",), "did you mean fts5"),
        (("--memories", "3"), "--memories"),
        (("--k", "0"), "--k"),
        (("--rounds", "none"), "--rounds"),
        (("--profile", "slow"), "did you mean|known: full"),
        (("--data", "/nowhere.json"), "cannot read /nowhere.json"),
        (("--data", "x", "--memories", "100"), "leave one out"),
        (("--llm", "gpt"), "MODEL@URL"),
        (("--llm", "gpt@http://h", "--chat-delay", "5ms"), "--chat-delay is the stand-in's"),
        (("--api-key-env", "PERFSUITE_NO_SUCH"), "there is no such variable"),
        (("--request-timeout", "0"), "--request-timeout"),
        (("--json", "x.json"), "--json -"),
        (("--dimension", "20000"), "--dimension 20000: .* up to 16384"),
        (("--quick", "--profile", "full"), "contradicts --profile full"),
        (("--setup",), "name the systems"),
        (("--setup", "mem1"), "mem0"),
    ],
)
def test_what_cannot_be_used(
    arguments: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert run(tmp_path, *arguments) == 2
    assert re.search(says, capsys.readouterr().err)


def test_several_mistakes_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--k", "0", "--dimension", "0", "--llm", "x") == 2
    shown = capsys.readouterr().err
    assert all(text in shown for text in ("3 mistakes", "--k", "--dimension", "--llm"))


@pytest.mark.parametrize(
    ("words", "of_compare", "of_run"),
    [
        (("--request-timeout", "90"), lambda s, *_: s.timeout_s, lambda plan: plan.request_timeout_s),
        (("--request-timeout", "1m30s"), lambda s, *_: s.timeout_s, lambda plan: plan.request_timeout_s),
        (("--dimension", "64"), lambda s, *_: s.dim, lambda plan: plan.memory.dimension),
        (("--seed", "7"), lambda s, *_: s.seed, lambda plan: plan.seed),
        (("-o", "~/there"), lambda _, folder, __: folder, lambda plan: plan.output),
    ],
)
def test_a_flag_reads_as_it_does_for_run(
    words: tuple[str, str], of_compare: Callable[..., object], of_run: Callable[[Any], object]
) -> None:
    ours, theirs = Parser("compare", "c"), Parser("run", "r")
    compare.configure(ours)
    add_settings(theirs)
    given = compare.settings_of(ours.parse_args(list(words)))
    assert of_compare(*given) == of_run(plan_of(theirs.parse_args(["latency", *words])))
    assert of_compare(*given) != of_compare(*compare.settings_of(ours.parse_args([])))


def test_what_no_flag_sets_is_of_the_variables_and_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(*words: str) -> tuple[Any, Path, Any]:
        parser = Parser("compare", "c")
        compare.configure(parser)
        return compare.settings_of(parser.parse_args(list(words)))

    monkeypatch.chdir(tmp_path)
    plain = given()
    assert (plain[0].dim, plain[0].seed, plain[1], plain[0].workload.sizes) == (
        384,
        0,
        Path("benchmark_results"),
        (240,),
    )
    (tmp_path / "perfsuite.toml").write_text(
        'dimension = 96\nseed = 5\noutput = "there"\ntarget = "http://127.0.0.1:1"\napi_key_env = "NO_SUCH_KEY"\n'
    )
    monkeypatch.setenv("PERFSUITE_SEED", "6")
    monkeypatch.setenv("PERFSUITE_PROFILE", "standard")
    monkeypatch.setenv("PERFSUITE_HISTORY", "off")
    settings, folder, history = given("--dimension", "32")
    assert (settings.dim, settings.seed, folder) == (32, 6, Path("there")), "flag, variable, file"
    assert settings.workload.sizes == (1_000,)
    assert history is not None
    assert history.off
    assert given("--quick")[0].workload.sizes == (240,), "a flag goes before a variable"
    with pytest.raises(UsageError, match="--api-key-env NO_SUCH_KEY: there is no such variable"):
        given("--llm", "m@http://127.0.0.1:1")
    (tmp_path / "perfsuite.toml").write_text('dimension = "many"\nseeed = 5\n')
    with pytest.raises(UsageError, match=r"(?s)did you mean seed.*perfsuite.toml: dimension"):
        given("--k", "5")


def test_a_bare_request_timeout_is_in_seconds() -> None:
    parser = Parser("compare", "c")
    compare.configure(parser)
    for text, seconds in (("60", 60.0), ("0.5", 0.5), ("250ms", 0.25)):
        assert compare.settings_of(parser.parse_args(["--request-timeout", text]))[0].timeout_s == seconds


def test_every_flag_that_run_has_too_is_its_row_unless_it_is_named_here() -> None:
    """A flag with its own reader could come to mean something else."""
    ours, theirs = Parser("compare", "c"), Parser("run", "r")
    compare.configure(ours)
    add_settings(theirs)
    both = {flag for action in ours._actions for flag in action.option_strings} & {
        flag for action in theirs._actions for flag in action.option_strings
    }
    rows = {flag for name in compare.SHARED for flag in BY_NAME[name].flags}
    assert both - rows == {"-h", "--help", "--json"}


def test_an_output_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text("")
    assert run(tmp_path / "f", "fts5", *QUICK) == 2
    assert "is a file" in capsys.readouterr().err


def test_setting_up_what_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--setup", "fts5", "reference"]) == 0
    assert capsys.readouterr().out == "fts5: nothing is missing\nreference: nothing is missing\n"
