"""Ctrl-C while the command line starts: no traceback of ours, however early it comes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perfsuite import cli
from perfsuite.cli import main

PACKAGES = str(Path(cli.__file__).resolve().parents[2])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PACKAGES, "PYTHONHASHSEED": "0"}
STARTS = 30

OURS = re.compile(r'File ".*[/\\]perfsuite[/\\](?!__(?:init|main)__\.py).*"')
"""A traceback's line of a module of ours; the two that Python runs before our first ``try`` are not meant."""

AT_A_CALL = """
import atexit, os, signal, sys
at, seen = int(sys.argv.pop(1)), 0
def look(frame, event, argument):
    global seen
    if event in ("call", "c_call") and (seen or frame.f_code.co_name == FIRST):
        seen += 1
        if seen == at:
            os.kill(os.getpid(), signal.SIGINT)
if at == 0:
    atexit.register(lambda: print("CALLS", seen))
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.setprofile(look)
"""
START = "FIRST = 'start'" + AT_A_CALL + "from perfsuite.__main__ import start\nsys.exit(start())"
UNGUARDED = "FIRST = '_find_and_load'" + AT_A_CALL + "from perfsuite.cli import main\nsys.exit(main())"


def interrupted_at(call: int, *arguments: str, code: str = START) -> subprocess.CompletedProcess[str]:
    """The command line, with a SIGINT at the n-th function call after it began; 0: none, and the calls are counted."""
    return subprocess.run(
        [sys.executable, "-c", code, str(call), *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_ctrl_c_at_any_call_of_the_start() -> None:
    calls = int(interrupted_at(0, "run", "--help").stdout.rpartition("CALLS ")[2])
    assert calls > 1000
    heard = 0
    for call in range(3, calls, calls // STARTS):
        done = interrupted_at(call, "run", "--help")
        assert not OURS.search(done.stderr), (call, done.stderr)
        if done.returncode == 130:
            heard += 1
            assert done.stderr in ("", "perfsuite: interrupted\n"), (call, done.stderr)
        else:
            # Python itself drops what is raised in a callback of its own, such as the one that ends an import's lock.
            assert done.returncode == 0, (call, done.stderr)
            assert "Exception ignored in" in done.stderr, call
    assert heard > STARTS * 0.8


def test_without_its_guard_the_same_shows_a_traceback() -> None:
    traces = [interrupted_at(call, "--help", code=UNGUARDED).stderr for call in range(100, 2000, 100)]
    assert any(OURS.search(trace) for trace in traces)


@pytest.mark.parametrize("arguments", [["run", "--help"], ["plan"]])
def test_ctrl_c_soon_after_the_start(arguments: list[str], tmp_path: Path) -> None:
    for number in range(STARTS // 2):
        process = subprocess.Popen(
            [sys.executable, "-m", "perfsuite", *arguments],
            env=ENVIRONMENT,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(0.006 * number)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert not OURS.search(err), err
        if "Traceback" not in err:  # else it was Python's own start
            assert process.returncode in (130, 0, -signal.SIGINT), err


@pytest.mark.parametrize("cause", [True, False])
def test_an_error_that_ctrl_c_made_is_ctrl_c(
    cause: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as interrupt:
            if cause:
                raise RuntimeError("Error calling __set_name__") from interrupt
            raise AttributeError("save_nargs")  # noqa: B904 - as a clean-up that trips does

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert main(["run"]) == 130
    assert capsys.readouterr().err == "perfsuite: interrupted\n"
