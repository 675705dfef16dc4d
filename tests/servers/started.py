"""A server in a process of its own, ended by its id: what it printed, and the end of its log when it does not start."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LAST_WORDS = 2000


@dataclass(frozen=True)
class Started:
    """``url`` as the server told it; ``log`` is what it writes to stderr."""

    url: str
    pid: int
    log: Path


@contextmanager
def started(
    command: Sequence[str],
    url: Callable[[str], str | None],
    *,
    cwd: Path | None = None,
    environment: dict[str, str] | None = None,
    within_s: float = 60.0,
) -> Iterator[Started]:
    """Starts ``command`` in a process group of its own; ``url`` finds its address in what it has printed so far."""
    with tempfile.TemporaryDirectory(prefix="server-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + within_s
            while (found := url(log.read_text("utf-8", "replace"))) is None:
                words = log.read_text("utf-8", "replace")[-LAST_WORDS:]
                if process.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended with {process.returncode} before it served:\n{words}")
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not serve after {within_s:g} s:\n{words}")
                time.sleep(0.02)
            yield Started(found, process.pid, log)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole group, whose id is the process's own: a server's workers too."""
    for number, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue
        break
    process.wait()
