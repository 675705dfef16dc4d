"""Commands in processes that begin with all modules imported: a run takes what it does, and not Python's start."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PATIENCE_S = 300.0
HUNG = -1000


class Forked:
    """A call in a process of its own, a session too, whose return value is its exit code.

    ``said``: where its output goes; ``cwd`` and ``variables``: what it begins with besides.
    """

    def __init__(
        self,
        call: Callable[[], int],
        *,
        said: Path | None = None,
        cwd: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        self._code: int | None = None
        if self.pid:
            return
        code = 70
        try:
            os.setsid()
            out = os.open(said or os.devnull, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.environ.update(variables or {})
            tempfile.tempdir = None  # what TMPDIR says now
            if cwd is not None:
                os.chdir(cwd)
            code = call()
        except BaseException:  # noqa: BLE001 - its traceback is what it said
            import traceback

            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
            os._exit(code)

    def poll(self) -> int | None:
        """Its code, once it has ended; of a signal: negative."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Its code, when it has ended; HUNG where it had to be ended."""
        deadline = time.monotonic() + patience_s
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self._code = HUNG
            time.sleep(0.002)
        assert self._code is not None
        return self._code

    def signal(self, number: int) -> bool:
        """To it and to all that it has started; whether it was still there."""
        if self.poll() is not None:
            return False
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:  # it has not yet come to its session
            os.kill(self.pid, number)
        return True


def import_all(call: Callable[[], int], *, cwd: Path, variables: Mapping[str, str] | None = None) -> int:
    """Imports here what a call imports, of which the code comes back."""

    def listing() -> int:
        code = call()
        listed.write_text("\n".join(sys.modules))
        return code

    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder, "modules")
        code = Forked(listing, cwd=cwd, variables=variables).wait()
        names = listed.read_text().split() if listed.exists() else []
    for name in names:
        # Not what begins something when it is imported, and needs no time.
        if name.partition(".")[0] in {*IMPORTED, "perfsuite"} and name not in sys.modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    return code


IMPORTED = {
    "asyncio",
    "bokeh",
    "jinja2",
    "markupsafe",
    "msgspec",
    "numpy",
    "psutil",
    "rich",
    "sqlalchemy",
    "sqlite3",
    "tornado",
}
