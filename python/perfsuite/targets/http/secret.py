"""Keys: read from the environment, shown to the service alone."""

from __future__ import annotations

import os
from typing import NoReturn

MASK = "•••"
SHORTEST = 6
"""A value shorter than this is not looked for in texts: it would mask words that only look like it."""


class Secret:
    """A value that no repr, format, pickle or comparison shows; ``reveal`` gives it to what sends it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the wire."""
        return self._value

    def hidden_in(self, text: str) -> str:
        """``text`` with the value masked: a server may repeat a key in its error message."""
        return text.replace(self._value, MASK) if len(self._value) >= SHORTEST else text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere: read it from the environment where it is used")


def secret_of(variable: str) -> Secret | None:
    """The value of an environment variable; None when it is unset or blank."""
    value = os.environ.get(variable, "").strip()
    return Secret(value) if value else None
