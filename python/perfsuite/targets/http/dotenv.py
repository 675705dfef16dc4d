"""A ``.env`` file: where projects keep the keys that no shell exports.  It is read, never written and never shown."""

from __future__ import annotations

import re
from pathlib import Path

from perfsuite.errors import UsageError

FILE = Path(".env")
"""In the current folder."""
LARGEST = 1 << 20
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*?)\s*")
_QUOTED = re.compile(r"(?P<mark>['\"])(?P<inside>.*?)(?P=mark)\s*(?:#.*)?")


def value_of(variable: str, file: Path = FILE) -> str:
    """What the file gives a variable, the last time it does; "" where it has none of that name or is not there.

    A line is ``NAME=value``, with ``export`` before it or quotes around the value if one likes; a comment begins with
    ``#`` after a blank.  Nothing is filled into values.  Raises UsageError for a file that cannot be read.
    """
    try:
        if not file.is_file():
            return ""
        with file.open(encoding="utf-8") as opened:
            text = opened.read(LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{file}: cannot be read: {reason}; export {variable} instead") from error
    found = ""
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None and match["name"] == variable:
            quoted = _QUOTED.fullmatch(match["value"])
            found = quoted["inside"] if quoted is not None else re.split(r"(?:^|\s)#", match["value"])[0].strip()
    return found
