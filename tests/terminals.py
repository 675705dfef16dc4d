"""A command on a terminal of some width: what it wrote there, byte for byte."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "python"


def on_terminal(
    folder: Path, *words: str, columns: int, variables: dict[str, str] | None = None, command: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Runs ``perfsuite WORDS`` (or ``command``) with a terminal as its three streams; the exit code and the output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    for name in ("COLUMNS", "NO_COLOR", "PERFSUITE_HISTORY"):
        environment.pop(name, None)
    environment |= {"XDG_DATA_HOME": str(folder / "data"), **(variables or {})}
    started = subprocess.Popen(
        [*(command or (sys.executable, "-m", "perfsuite")), *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    pieces = []
    try:
        while piece := os.read(ours, 1 << 16):
            pieces.append(piece)
    except OSError:  # EIO: nobody has the other end any more
        pass
    finally:
        os.close(ours)
    return started.wait(300), b"".join(pieces).decode("utf-8", "replace").replace("\r\n", "\n")
