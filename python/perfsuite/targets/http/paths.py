"""Where a value lies in a JSON document: ``$.messages[-1].content``, ``$.a["b c"][0]``; a small part of RFC 9535."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from perfsuite.errors import UsageError, shown

_STEP = re.compile(r"""\.([^\s.\[\]"']+)|\[(-?\d{1,9})\]|\[("(?:[^"\\]|\\.)*"|'[^']*')\]""")

MISSING = object()
"""There is nothing at the path."""


def says_something(value: object) -> bool:
    """Whether a value tells that something is so: null, false, 0, "", {} and [] do not, as for ``_core.JsonScan``."""
    return value is not MISSING and bool(value)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path; ``text`` is how it was written."""

    text: str
    steps: tuple[str | int, ...]

    def find(self, value: object) -> object:
        """What lies at the path in a document, or MISSING."""
        for step in self.steps:
            if isinstance(step, str):
                if not isinstance(value, Mapping) or step not in value:
                    return MISSING
                value = value[step]
            else:
                if not isinstance(value, list) or not -len(value) <= step < len(value):
                    return MISSING
                value = value[step]
        return value


@dataclass(frozen=True, slots=True)
class Sign:
    """What tells that something is so: whatever says something at a path, or with ``equals`` that very value there."""

    path: JsonPath
    equals: str | None = None

    def seen(self, document: object) -> object:
        """What tells it: the value, with ``equals`` the document around it, which has the words; None where nothing
        does."""
        found = self.path.find(document)
        if self.equals is None:
            return found if says_something(found) else None
        if found is MISSING or isinstance(found, Mapping | list):
            return None
        return document if self.equals == (found if isinstance(found, str) else json.dumps(found)) else None


def parse_sign(text: object, where: str) -> Sign:
    """``$.error``, or with a value ``$.success=false``.  Raises UsageError."""
    if isinstance(text, str) and "=" in text.rpartition("]")[2]:
        path, _, value = text.rpartition("=")
        return Sign(parse_path(path.rstrip(), where), value.strip())
    return Sign(parse_path(text, where))


def parse_path(text: object, where: str) -> JsonPath:
    """The path that a text writes.  Raises UsageError."""
    if not isinstance(text, str) or not text.startswith("$"):
        raise UsageError(f"{where}: {shown(text)} is no path into JSON; write one such as $.message.content or $.a[-1]")
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            rest = shown(text[at:])
            raise UsageError(f"{where}: {shown(text)} cannot be read from {rest} on; write $.name, [0] or [-1]")
        name, index, quoted = found.groups()
        if name is not None:
            steps.append(name)
        elif index is not None:
            steps.append(int(index))
        else:
            try:
                steps.append(json.loads(quoted) if quoted[0] == '"' else quoted[1:-1])
            except ValueError as error:
                raise UsageError(f"{where}: {shown(quoted)} is no name in quotes") from error
        at = found.end()
    return JsonPath(text, tuple(steps))
