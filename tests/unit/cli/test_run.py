"""``perfsuite run``: files, streams, exit codes, signals."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from perfsuite import cli
from perfsuite.cli import main
from perfsuite.cli.driving import Interrupts
from perfsuite.cli.meter import Meter
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.result import load
from played import Played, a_result

PACKAGES = str(Path(cli.__file__).resolve().parents[2])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_three_files_and_the_screen(played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "load", "--seed", "7"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert sorted(path.name for path in (tmp_path / "test-results").iterdir()) == [
        "metrics-20261121_101500.html",
        "report-20261121_101500.md",
        "results-20261121_101500.json",
    ]
    assert "PASSED" in out
    assert "test-results/metrics-20261121_101500.html" in out
    assert [(plan.seed, [phase.name for phase in plan.phases]) for plan in played.plans] == [(7, ["load"])]


def test_json_is_all_of_stdout(played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--json", "-", "-o", "out"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["run"]["verdict"] == "passed"
    assert json.loads(out) == json.loads((tmp_path / "out/results-20261121_101500.json").read_text())


def test_what_the_target_prints_is_no_result(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    played.during = lambda **_: print("noise")
    assert main(["run", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"]["verdict"] == "passed"
    assert err == "noise\n"


def test_what_a_file_of_conversations_leaves_out_is_said_before_the_run(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = '{"messages": [{"role": "user", "content": "x"}]}'
    (tmp_path / "a.jsonl").write_text("\n".join([good, *["{bad"] * 7]))
    assert main(["run", "--conversations", "a.jsonl", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["run"]["verdict"] == "passed"
    (note,) = json.loads(out)["run"]["notes"]
    assert note.startswith("a.jsonl: 7 left out that cannot be used: line 2: not JSON")
    assert note.count("; line ") == 6
    assert [line.split(": ")[0] for line in err.splitlines()] == [*(f"a.jsonl:{n}" for n in range(2, 7)), "a.jsonl"]
    assert "and 2 more that cannot be used" in err


def test_a_file_without_a_conversation_is_wrong_usage_and_nothing_runs(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text("{bad\n" * 3)
    assert main(["run", "--conversations", "a.jsonl"]) == 2
    assert "holds no conversation that can be used" in capsys.readouterr().err
    assert played.plans == []


@pytest.mark.parametrize("flags", [[], ["--json", "-"]])
def test_streams_that_are_closed(
    flags: list[str], played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["run", *flags]) == 0
    assert len(list((tmp_path / "test-results").iterdir())) == 3


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 130])
def test_the_exit_code_is_the_results(code: int, played: Played) -> None:
    played.result = a_result("failed", code)
    assert main(["run"]) == code


def test_errors_of_the_runner(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    for error, code in ((UsageError("no such target"), 2), (PerfsuiteError("gone"), 1), (KeyboardInterrupt(), 130)):
        played.error = error
        assert main(["run"]) == code
    assert capsys.readouterr().err.splitlines() == [
        "perfsuite: no such target",
        "perfsuite: gone",
        "perfsuite: interrupted",
    ]


def test_what_ended_a_run_is_said_and_what_was_measured_is_kept(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = a_result("failed", 1)
    run = msgspec.structs.replace(before.run, error="the target is gone", notes=["closing it failed"])
    played.result = msgspec.structs.replace(before, run=run)
    assert main(["run", "--json", "-"]) == 1
    assert capsys.readouterr().err == "perfsuite: the target is gone\nperfsuite: closing it failed\n"
    assert len(list((tmp_path / "test-results").iterdir())) == 3


def test_the_partial_file_is_there_during_the_run_and_gone_after_it(played: Played, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def during(*, save: Any, **_: object) -> None:
        save(a_result())
        save(a_result())
        seen.append([path.name for path in (tmp_path / "test-results").iterdir()])

    played.during = during
    assert main(["run"]) == 0
    assert seen == [["results-20261121_101500.partial.json"]]
    assert not list((tmp_path / "test-results").glob("*.partial.json"))


def test_a_folder_that_stops_taking_files_loses_nothing(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perfsuite.reports import fileset

    written = fileset.write_atomically

    def full(path: Path, data: bytes, **more: Any) -> Path:
        if "test-results" in str(path):
            raise PerfsuiteError(f"cannot write {path}: No space left on device")
        return written(path, data, **more)

    monkeypatch.setattr(fileset, "write_atomically", full)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main(["run"]) == 1
    err = capsys.readouterr().err
    assert "No space left on device" in err
    (refuge,) = tmp_path.glob("perfsuite-results-*")
    assert str(refuge) in err
    assert load(refuge / "results-20261121_101500.json").verdict == "passed"


def test_when_no_folder_takes_files_the_last_state_saved_is_named(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perfsuite.reports import fileset

    def full(path: Path, data: bytes, **more: Any) -> Path:
        raise PerfsuiteError(f"cannot write {path}: No space left on device")

    def during(*, save: Any, **_: object) -> None:
        save(a_result())
        monkeypatch.setattr(fileset, "write_atomically", full)

    played.during = during
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["run"]) == 1
    out, err = capsys.readouterr()
    assert "nor in a temporary folder" in err
    assert "the last state saved is test-results/results-20261121_101500.partial.json" in err
    assert "PASSED" in out
    assert load(tmp_path / "test-results/results-20261121_101500.partial.json").verdict == "interrupted"


def test_saving_that_fails_is_told_to_the_runner_as_an_oserror(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def during(*, save: Any, **_: object) -> None:
        (tmp_path / "test-results").rmdir()
        (tmp_path / "test-results").write_text("now a file")
        with pytest.raises(OSError, match="test-results"):
            save(a_result())

    played.during = during
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main(["run"]) == 1
    assert list(tmp_path.glob("perfsuite-results-*/results-*.json"))


RUN = """
import asyncio, os, sys
from types import ModuleType
sys.path.insert(0, {tests!r})
from played import a_result
async def execute_async(plan, *, progress, stop, save, notes, announce, watch, beside):
    save(a_result())
    print("running", file=sys.__stdout__, flush=True)
    {wait}
    return a_result("interrupted", 130)
module = ModuleType("perfsuite.runner")
module.execute_async = execute_async
sys.modules["perfsuite.runner"] = module
from perfsuite.cli import main
sys.exit(main(["run", "-o", "out"]))
"""


def interrupted(tmp_path: Path, wait: str, signals: list[int]) -> tuple[int, str, str]:
    """Sends each signal once the one before was answered: two that wait together are one."""
    tests = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", RUN.format(tests=tests, wait=wait)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PACKAGES},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    assert process.stderr is not None
    said = ""
    for index, number in enumerate(signals):
        if index:
            said += process.stderr.readline()
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, said + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_finishes_the_sample_and_writes_what_there_is(tmp_path: Path, number: int) -> None:
    code, out, err = interrupted(tmp_path, "await stop.wait()", [number])
    assert code == 130
    assert "finishing the sample; Ctrl-C again ends at once" in err
    assert "Traceback" not in err
    assert "INTERRUPTED" in out
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_ctrl_c_while_the_files_are_written_lets_them_be_written(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perfsuite.reports import fileset

    written = fileset.write_atomically

    def interrupting(path: Path, data: bytes, **more: Any) -> Path:
        if path.name.startswith("results-"):
            os.kill(os.getpid(), signal.SIGINT)
        return written(path, data, **more)

    monkeypatch.setattr(fileset, "write_atomically", interrupting)
    assert main(["run"]) == 130
    assert "writing the results; Ctrl-C again ends at once" in capsys.readouterr().err
    assert len(list((tmp_path / "test-results").iterdir())) == 3


@pytest.mark.parametrize("wait", ["await asyncio.sleep(50)", "import time; time.sleep(50)"])
def test_a_second_ctrl_c_ends_at_once_and_leaves_the_partial_file(tmp_path: Path, wait: str) -> None:
    code, _, err = interrupted(tmp_path, wait, [signal.SIGINT, signal.SIGINT])
    assert code == 130
    assert "Traceback" not in err
    (partial,) = (tmp_path / "out").iterdir()
    assert load(partial).verdict == "interrupted"


def test_a_second_ctrl_c_does_not_wait_for_what_never_ends(tmp_path: Path) -> None:
    stubborn = "asyncio.get_running_loop().run_in_executor(None, __import__('time').sleep, 50); await asyncio.sleep(50)"
    code, _, _ = interrupted(tmp_path, stubborn, [signal.SIGINT, signal.SIGINT])
    assert code == 130


def test_what_a_second_ctrl_c_leaves_half_done_is_no_error_of_its_own() -> None:
    """A selector that was being closed is closed again: what this raises is the interrupt's, and exit code 130."""
    stumbled = OSError(errno.EBADF, "Bad file descriptor")
    interrupts = Interrupts(lambda text: None)
    interrupts.count = 1  # asked to come to an end: what goes wrong then is the run's own
    interrupts.__exit__(OSError, stumbled, None)
    interrupts.count = 2
    with pytest.raises(KeyboardInterrupt):
        interrupts.__exit__(OSError, stumbled, None)


def test_the_handlers_of_the_caller_come_back(played: Played) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert main(["run"]) == 0
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(share: float) -> Any:
    return SimpleNamespace(phase="load", number=3, phases=5, share=share, remaining_s=42.4)


def test_progress_is_one_line_on_a_terminal_and_is_wiped() -> None:
    stream = Terminal()
    with Meter(stream) as meter:
        meter.show(progress(0.5))
        meter.show(progress(0.5))
        meter.say("a word")
        meter.show(progress(0.75))
    text = stream.getvalue()
    assert text.count("load 3/5") == 2
    assert "50%, 42 s left" in text
    assert "\nload" not in text
    assert "perfsuite: a word\n" in text
    assert text.endswith("\r")
    assert text.rpartition("\r")[0].rpartition("\r")[2].strip() == ""


def test_progress_is_silent_elsewhere() -> None:
    stream = io.StringIO()
    with Meter(stream) as meter:
        meter.show(progress(0.5))
    assert stream.getvalue() == ""
    with Meter(None) as meter:
        meter.show(progress(0.5))
        meter.say("nobody listens")


def test_the_criteria_as_junit(played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from xml.etree import ElementTree

    path = tmp_path / "perfsuite.xml"
    assert main(["run", "load", "-o", str(tmp_path / "o"), "--junitxml", str(path)]) == 0
    (suite,) = ElementTree.fromstring(path.read_bytes())
    assert [case.get("name") for case in suite] == ["response_time p95"]
    assert main(["run", "load", "-o", str(tmp_path / "o"), "--junitxml", str(tmp_path)]) == 2
    assert "--junitxml" in capsys.readouterr().err
