"""The files of a page, made by a process of their own.

Bokeh takes tens of megabytes.  A run that measures a system in its own process would find them in that system's memory,
and growing in the middle of it when the first viewer comes.
"""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec

from perfsuite.errors import PerfsuiteError
from perfsuite.live.web import Resource
from perfsuite.pythonpath import VARIABLE, joined, package

PATIENCE_S = 120.0


def resources(title: str, kind: str = "run") -> dict[str, Resource]:
    """What a server of a page serves, by path; ``kind``: ``run`` or ``monitor``.  Raises PerfsuiteError."""
    made = subprocess.run(
        [sys.executable, "-c", "from perfsuite.live.making import child; child()", kind, title],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE_S,
        env={**os.environ, VARIABLE: joined([package()])},
    )
    if made.returncode:
        lines = made.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {made.returncode}"]
        raise PerfsuiteError(f"the live page could not be made: {lines[-1]}")
    files = msgspec.msgpack.decode(made.stdout, type=dict[str, tuple[str, bytes]])
    return {path: Resource(kind, body) for path, (kind, body) in files.items()}


def child() -> None:
    """What that process does: the files on stdout."""
    from perfsuite.live.page import PAGES, files_of

    kind, title = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.msgpack.encode(files_of(title, PAGES[kind])))
