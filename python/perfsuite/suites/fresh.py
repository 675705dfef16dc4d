"""One short run in a process of its own: what comparisons are made of.

A process has its memory layout, its hash seed and its caches for as long as it lives; only another process draws them
anew.  So a version is measured by several short runs, each fresh.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite import pythonpath
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.scratch import scratch_folder

if TYPE_CHECKING:
    from perfsuite.result import Result

USABLE = frozenset({0, 3, 4, 5})
"""Exit codes of runs that measured, whatever their verdicts."""
GRACE_S = 10.0
"""How long a run that is to end may take to do so."""
LAST_WORDS = 4


class Stopped(Exception):
    """It was asked to stop before the run was done."""


class RunFailed(PerfsuiteError):
    """A fresh run gave no result; the message has its last words."""


def measure(
    words: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 3600.0,
    stopped: Callable[[], bool] = lambda: False,
) -> Result:
    """The result of ``python -m perfsuite run WORDS`` in ``folder``; its files go nowhere, nor does it enter a history.

    Raises UsageError where it found its usage wrong, RunFailed where it failed or took longer than ``timeout_s``, and
    Stopped; the process never outlives the call.
    """
    from perfsuite.result import parse

    with scratch_folder("fresh") as scratch:
        command = [sys.executable, "-m", "perfsuite", "run", *words, "--json", "-", "--output", str(scratch)]
        variables = _findable({**os.environ, **(environment or {}), "PERFSUITE_HISTORY": "off"})
        with open(scratch / "out", "w+b") as out, open(scratch / "err", "w+b") as err:
            # In a session of its own: Ctrl-C is for this process, which ends the run itself.
            process = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
            try:
                code = _wait(process, timeout_s, stopped)
            finally:
                _end(process)
            out.seek(0)
            err.seek(0)
            data, complaints = out.read(), err.read()
    if code not in USABLE or not data.strip():
        lines = complaints.decode("utf-8", "replace").strip().splitlines()[-LAST_WORDS:]
        said = "; ".join(line.removeprefix("perfsuite: ") for line in lines) or "it said nothing"
        if code == 2:
            raise UsageError(said)
        raise RunFailed(f"a run in {folder} ended with exit code {code}: {said}")
    return parse(data, f"the run in {folder}")


def _findable(variables: dict[str, str]) -> dict[str, str]:
    """With this very package on the path, behind all else, where it is not installed (a checkout, a relative path)."""
    import site

    here = pythonpath.package()
    if here not in map(os.path.realpath, [*site.getsitepackages(), site.getusersitepackages()]):
        variables[pythonpath.VARIABLE] = pythonpath.joined(last=[here], environment=variables)
    return variables


def _wait(process: subprocess.Popen[bytes], timeout_s: float, stopped: Callable[[], bool]) -> int:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return process.wait(0.1)
        except subprocess.TimeoutExpired:
            if stopped():
                raise Stopped from None
            if time.monotonic() > deadline:
                raise RunFailed(f"a run took longer than {timeout_s:g} s and was ended") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends it and all that it started, gently first."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE_S)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
