"""The files of a page, made by a process of their own.

Bokeh takes tens of megabytes.  A run that measures a system in its own process would find them in that system's memory,
and growing in the middle of it when the first viewer comes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files

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
    found = msgspec.msgpack.decode(made.stdout, type=dict[str, tuple[str, bytes]])
    return {path: Resource(kind, body) for path, (kind, body) in found.items()}


def browser_monitor() -> dict[str, Resource]:
    """The script that watches a page from inside, which pages of any origin may load, and a page that has it."""
    script = files("perfsuite.realtime").joinpath("monitor.js")
    if not script.is_file():
        return {}
    page = (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>perfsuite browser monitor</title>'
        "<main><h1>Browser monitor</h1><p>Put this into the page that is to be watched:</p>"
        '<pre id="tag"></pre><p>It watches this page too.</p></main>'
        '<script src="/perfsuite-monitor.js"></script><script src="/realtime.js"></script></html>'
    )
    tag = (
        "document.querySelector('#tag').textContent = "
        '`<script src="${location.origin}/perfsuite-monitor.js"></script>`;'
    )
    return {
        "perfsuite-monitor.js": Resource("text/javascript; charset=utf-8", script.read_bytes(), anyone=True),
        "realtime": Resource("text/html; charset=utf-8", page.encode()),
        "realtime.js": Resource("text/javascript; charset=utf-8", tag.encode()),
    }


def child() -> None:
    """What that process does: the files on stdout."""
    from perfsuite.live.page import files_of

    kind, title = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.msgpack.encode(files_of(title, kind)))
