"""Keys: read from the environment or a ``.env`` file, shown to the service alone."""

from __future__ import annotations

import os
from typing import NoReturn

from perfsuite.targets.http.dotenv import value_of

MASK = "•••"
SHORTEST = 6
"""A value shorter than this is not looked for in texts: it would mask words that only look like it."""


BEGINNING = 8
"""Characters of a key that are taken for it; the mark that a service's keys begin with may be masked with them."""

PIECE = 12
"""So many characters in a row of a key are, wherever in it they stand: no word is as long that is no part of one."""


class Secret:
    """A value that no repr, format, pickle or comparison shows; ``reveal`` gives it to what sends it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the wire."""
        return self._value

    def hidden_in(self, text: str) -> str:
        """``text`` with the value masked: a server may repeat a key in its error message.

        So is its beginning, where the rest was cut off with the message, and a PIECE out of its middle.
        """
        value = self._value
        if len(value) < SHORTEST:
            return text
        pieces = {value[at : at + PIECE]: at for at in range(len(value) - PIECE, -1, -1)}
        masked: list[str] = []
        at = 0
        while at < len(text):
            start = 0 if text.startswith(value[:BEGINNING], at) else pieces.get(text[at : at + PIECE])
            if start is None:
                masked.append(text[at])
                at += 1
                continue
            while at < len(text) and start < len(value) and text[at] == value[start]:
                at, start = at + 1, start + 1
            masked.append(MASK)
        return "".join(masked)

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere: read it from the environment where it is used")


def secret_of(variable: str) -> Secret | None:
    """The value of an environment variable, or of a ``.env`` file in the current folder where that is unset; None when
    both are blank."""
    value = os.environ.get(variable, "").strip() or value_of(variable)
    return Secret(value) if value else None
