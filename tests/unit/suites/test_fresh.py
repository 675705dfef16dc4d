"""A run in a process of its own: its result, its failures in its own words, and its end."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from perfsuite.errors import UsageError
from perfsuite.result import dump
from perfsuite.suites import fresh
from perfsuite.suites.fresh import RunFailed, Stopped, measure
from runs_made import result


@pytest.fixture
def run_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A Python that runs this code in the place of perfsuite; what it was given is in sys.argv."""

    def install(code: str) -> None:
        script = tmp_path / "python"
        (tmp_path / "code.py").write_text(code, encoding="utf-8")
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/code.py "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return install


def test_the_result_comes_back(run_instead, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "r.json").write_bytes(dump(result(3, 80.0)))
    run_instead(
        "import os, sys, pathlib\n"
        "assert sys.argv[1:5] == ['-m', 'perfsuite', 'run', 'load'], sys.argv\n"
        "assert os.environ['PERFSUITE_HISTORY'] == 'off' and os.environ['MARK'] == 'x'\n"
        f"assert os.getcwd() == {str(tmp_path.resolve())!r}\n"
        f"sys.stdout.write(pathlib.Path({str(tmp_path / 'r.json')!r}).read_text())\n"
        "sys.exit(3)"
    )
    assert measure(["load"], folder=tmp_path, environment={"MARK": "x"}).run.id == "run-3"


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("import sys; print('perfsuite: no such phase', file=sys.stderr); sys.exit(2)", UsageError, "^no such phase$"),
        ("import sys; print('perfsuite: target gone', file=sys.stderr); sys.exit(1)", RunFailed, "code 1: target gone"),
        ("import os; os.abort()", RunFailed, "exit code -6: it said nothing"),
        ("pass", RunFailed, "exit code 0: it said nothing"),
        ("print('{')", UsageError, "cut off|not JSON"),
        ("print('{\"schema_version\": 7}')", UsageError, "schema version 7"),
    ],
)
def test_what_went_wrong_is_said(  # type: ignore[no-untyped-def]
    run_instead, tmp_path: Path, code: str, error: type[Exception], words: str
) -> None:
    run_instead(code)
    with pytest.raises(error, match=words):
        measure(["load"], folder=tmp_path)


def test_a_run_that_hangs_is_ended_with_what_it_started(  # type: ignore[no-untyped-def]
    run_instead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    monkeypatch.setattr(fresh, "GRACE_S", 0.5)
    run_instead(
        "import os, signal, subprocess, sys, time, pathlib\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "code = 'import signal, time; signal.signal(2, 1); time.sleep(600)'\n"
        f"child = subprocess.Popen([{sys.executable!r}, '-c', code])\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    pid = tmp_path / "pid"
    with pytest.raises(Stopped):
        measure(["load"], folder=tmp_path, stopped=lambda: pid.exists() and pid.read_text() != "")
    child = int(pid.read_text())
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(child).wait(30)  # killed, it needs a moment to be gone


def test_a_run_may_not_take_for_ever(run_instead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(fresh, "GRACE_S", 5.0)
    run_instead("import time; time.sleep(600)")
    with pytest.raises(RunFailed, match=r"longer than 0\.2 s"):
        measure(["load"], folder=tmp_path, timeout_s=0.2)
