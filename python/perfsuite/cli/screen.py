"""What a command prints, for the stream that there is: a terminal of any width, a dumb one, a pipe, a file."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def put(text: object = "", stream: TextIO | None = None) -> None:
    """Prints lines to ``stream`` [stdout]; on a terminal, none that is wider than it."""
    import sys

    out = sys.stdout if stream is None else stream
    if out is None:  # closed before Python began
        return
    if not out.isatty():
        print(text, file=out)
        return
    from perfsuite.cli.options import columns
    from perfsuite.reports.tables import folded

    width = columns()
    for line in str(text).splitlines() or [""]:
        for part in folded(line, width):
            print(part, file=out)


def steerable(stream: TextIO | None) -> bool:
    """Whether a line can be drawn over: a terminal, and not a dumb one."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def coloured(stream: TextIO | None) -> bool:
    """Whether colours are wanted there: on a terminal, and not under NO_COLOR."""
    return steerable(stream) and not os.environ.get("NO_COLOR")


def holds(stream: TextIO | None, text: str) -> bool:
    """Whether the stream's encoding has these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
