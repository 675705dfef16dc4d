"""Keys: read from the environment, shown to the service alone."""

from __future__ import annotations

import os
from typing import NoReturn

MASK = "•••"
SHORTEST = 6
"""A value shorter than this is not looked for in texts: it would mask words that only look like it."""


BEGINNING = 8
"""Characters of a key that are taken for it; the mark that a service's keys begin with may be masked with them."""


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

        Its beginning is masked, too, where the rest was cut off with the message.
        """
        value = self._value
        if len(value) < SHORTEST:
            return text
        start = value[:BEGINNING]
        at = text.find(start)
        while at >= 0:
            end = at + len(start)
            while end < len(text) and end - at < len(value) and text[end] == value[end - at]:
                end += 1
            text = f"{text[:at]}{MASK}{text[end:]}"
            at = text.find(start, at + len(MASK))
        return text

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
