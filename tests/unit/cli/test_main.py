"""The command line itself: commands, mistakes, streams, what is imported."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from perfsuite import cli
from perfsuite.cli import COMMANDS, main
from perfsuite.errors import PerfsuiteError
from perfsuite.settings import OPTIONS

PACKAGES = str(Path(cli.__file__).resolve().parents[2])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def perfsuite(
    *arguments: str, code: str = "", environment: dict[str, str] | None = None, **more: object
) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own; ``code`` runs before it."""
    start = f"import sys\n{code}\nfrom perfsuite.cli import main\nsys.exit(main())"
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", start, *arguments],
        env={**os.environ, "PYTHONPATH": PACKAGES, **(environment or {})},
        **{"capture_output": True, "text": True, "errors": "replace", "timeout": 60, **more},
    )


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: perfsuite {command}" in capsys.readouterr().out
    assert main(["help", command]) == 0


def test_help_of_run_lists_every_flag_that_works(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "--help"])
    out = capsys.readouterr().out
    for option in OPTIONS:
        assert f"{option.flag} " in out or f"{option.flag}\n" in out, option.name


def test_no_command_is_a_mistake_and_version_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main(["--version"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("perfsuite 0.")
    assert err.startswith("usage: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rnu"], "did you mean run?"),
        (["help", "rnu"], "did you mean run?"),
        (["--phase", "load"], "perfsuite run --phase"),
        (["run", "--rtae", "5"], "unknown flag '--rtae'; did you mean --rate"),
        (["run", "--rate"], "expected one argument"),
        (["run", "--rat", "5"], "did you mean --rate"),
        (["run", "lod"], "unknown phase 'lod'; did you mean load?"),
        (["run", "--live=x"], "'x' is no HOST:PORT"),
        (["run", "--json", "file"], "--json -"),
        (["run", "-t", "ttft.p100<3"], "unknown statistic 'p100'"),
        (["run", "-t", "load.ttft.p100<3"], "unknown statistic 'p100'"),
        (["run", "-t", "load.tfft<3"], "unknown metric 'tfft'"),
        (["schema", "x"], "one argument too many"),
        (["report"], "FILE"),
        (["report", "none.json"], "none.json"),
        (["report", "x", "-f", "pdf"], "unknown format 'pdf' in --format; known: csv, html, junit, md"),
        (["run", "--live", "0.0.0.0:0", "baseline"], "others could reach it there"),
        (["run", "--live", "--rtae", "5"], "unknown flag '--rtae'"),
        (["run", "--conversations", "none.jsonl"], "none.jsonl: No such file"),
        (["run", "--conversations", "."], "is a folder"),
        (["run", "--conversations", "/dev/null"], "no plain file"),
        (["tokens", "none.jsonl"], "none.jsonl: No such file"),
        (["tokens", "x", "-w", "0"], "--window: 0 is too small"),
        (["run", "--raw", "."], "is a directory"),
        (["run", "--raw", "nowhere/rows.csv"], "no folder nowhere"),
        (["run", "--pid", "2000000000"], "no such process"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_clear_line_and_two(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("perfsuite: ")
    assert err.count("\n") == 1
    assert expected in err


def test_several_mistakes_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "lod", "--rate", "x", "--seed", "-1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "perfsuite: 3 mistakes"
    assert len(lines) == 4
    assert main(["run", "--foo", "--bar"]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "perfsuite: 2 mistakes"


def test_names_may_stand_between_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "load", "--rate", "5", "token", "-p", "baseline", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [phase["name"] for phase in made["phases"]] == ["load", "token", "baseline"]


def test_an_output_that_is_a_file_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("mine")
    for output in ("taken", "taken/deeper"):
        assert main(["run", "-o", output]) == 2
        assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "taken").read_text() == "mine"


def test_an_output_whose_name_is_no_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-o", "x" * 300]) == 1
    err = capsys.readouterr().err
    assert err.startswith("perfsuite: --output x")
    assert "File name too long; free it, or name another folder" in err


def test_an_output_that_cannot_be_written_fails_the_run_before_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As root every folder can be written: a read-only file system has to be played.
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["run", "-o", "out"]) == 1
    assert "--output out: cannot write there: Read-only file system" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_said() -> None:
    with open("/dev/full", "w") as full:
        done = perfsuite("schema", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1
    assert done.stderr == "perfsuite: standard output: No space left on device\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = perfsuite("schema", stdout=writing, stderr=subprocess.PIPE, capture_output=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_streams_are_no_error() -> None:
    for code in ("sys.stdout = None", "sys.stderr = None", "sys.stdout = sys.stderr = None"):
        assert perfsuite("schema", code=code).returncode == 0
        assert perfsuite("rnu", code=code).returncode == 2


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_any_locale_will_do(environment: dict[str, str]) -> None:
    environment = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", **environment}
    assert perfsuite("--help", environment=environment).returncode == 0
    assert perfsuite("run", "--help", environment=environment).returncode == 0
    done = perfsuite("run", "phase-ünknown-☃", environment=environment)
    assert done.returncode == 2
    assert "unknown phase" in done.stderr
    assert "Traceback" not in done.stderr


def test_arguments_that_are_not_text() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perfsuite", "run", b"\xff\xfe"],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (PerfsuiteError("the target is gone"), 1, "perfsuite: the target is gone\n"),
        (KeyboardInterrupt(), 130, "perfsuite: interrupted\n"),
        (ZeroDivisionError("by\nzero"), 1, "perfsuite: internal error: ZeroDivisionError: by zero; please report"),
        (OSError(28, "No space left on device", "x.json"), 1, "perfsuite: x.json: No space left on device\n"),
        (RecursionError("deep"), 1, "internal error: RecursionError"),
        (ModuleNotFoundError("No module", name="msgspec"), 1, "perfsuite: msgspec is needed and not installed: "),
        (ModuleNotFoundError("No module", name="perfsuite.x"), 1, "internal error: ModuleNotFoundError"),
    ],
)
def test_errors_become_one_line_and_a_code(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert main(["run"]) == code
    err = capsys.readouterr().err
    assert text in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    if code == 1:
        assert main(["run", "-v"]) == 1
        assert "Traceback" in capsys.readouterr().err


HEAVY = {"dataclasses", "inspect", "typing", "asyncio", "tomllib", "json", "logging", "socket", "msgspec", "psutil"}


def modules(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('MODULES', *sys.modules)"],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["plan", "--help"], ["doctor", "--help"]])
def test_help_imports_next_to_nothing(arguments: list[str]) -> None:
    loaded = modules(f"from perfsuite.cli import main\nmain({arguments!r})") - modules("")
    assert not loaded & (HEAVY - ({"typing"} if arguments[0] == "doctor" else set()))
    if arguments[0] != "doctor":
        assert not loaded & {"difflib", "pathlib", "shutil", "urllib.parse"}  # together they were a third of it
    assert len([name for name in loaded if name.startswith("perfsuite")]) <= 8
    assert len(loaded) < 70


def test_what_a_plan_imports_is_seen_by_the_same_look() -> None:
    loaded = modules("from perfsuite.cli import main\nmain(['run', '--rate', 'x'])")
    assert {"dataclasses", "tomllib"} <= loaded


def test_python_dash_m() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "perfsuite", "--version"],
        env={**os.environ, "PYTHONPATH": PACKAGES},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout[:10]) == (0, "perfsuite ")


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), RuntimeError("can't start new thread")]
)
def test_memory_that_is_not_there_is_no_internal_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def starved(_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("perfsuite.cli._dispatch", starved)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().err
    assert "out of memory: raise what this process may have" in said
    assert "internal error" not in said
