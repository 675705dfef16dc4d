"""Keys: read from the environment or a ``.env`` file, shown to the service alone."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import quote, quote_plus

from perfsuite.targets.http.dotenv import value_of

MASK = "•••"
_URL_SAFE = str.maketrans("+/", "-_")
SHORTEST = 6
"""A value shorter than this is not looked for in texts: it would mask words that only look like it."""


BEGINNING = 8
"""Characters of a key that are taken for it; the mark that a service's keys begin with may be masked with them."""

PIECE = 12
"""So many characters in a row of a key are, wherever in it they stand: no word is as long that is no part of one."""


class Secret:
    """A value that no repr, format, pickle or comparison shows; ``reveal`` gives it to what sends it."""

    __slots__ = ("_known", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._known: dict[str, list[tuple[str, int]]] | None = None

    def reveal(self) -> str:
        """The value itself, for the wire."""
        return self._value

    def hidden_in(self, text: str) -> str:
        """``text`` with the value masked: a server may repeat a key in its error message.

        So is its beginning, where the rest was cut off with the message, and a PIECE out of its middle; and so are its
        forms in a URL and in base64, whatever stood before it there.
        """
        if len(self._value) < SHORTEST:
            return text
        if self._known is None:
            self._known = _known_by(_forms(self._value))
        lengths = sorted({len(part) for part in self._known})
        masked: list[str] = []
        at = 0
        while at < len(text):
            end = at
            for length in lengths:
                for form, start in self._known.get(text[at : at + length], ()):
                    end = max(end, at + _alike(text, at, form, start))
            masked.append(MASK if end > at else text[at])
            at = max(end, at + 1)
        return "".join(masked)

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere: read it from the environment where it is used")


def _forms(value: str) -> list[str]:
    """How a value may be written: as it is, in a URL, and in base64 after any number of bytes."""
    data = value.encode("utf-8", "surrogateescape")
    forms = [value, quote(value, safe=""), quote_plus(value)]
    for before in range(3):
        # Six bits a character: those that have bits of what stands before or after it too are not of the value alone.
        text = b64encode(bytes(before) + data).decode("ascii")
        text = text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        forms += [text, text.translate(_URL_SAFE)]
    return [form for form in dict.fromkeys(forms) if len(form) >= SHORTEST]


def _known_by(forms: Sequence[str]) -> dict[str, list[tuple[str, int]]]:
    """What the forms are known by, their beginnings and every PIECE: in which of them it stands, and where."""
    known: dict[str, list[tuple[str, int]]] = {}
    for form in forms:
        known.setdefault(form[:BEGINNING], []).append((form, 0))
        pieces = {form[at : at + PIECE]: at for at in range(len(form) - PIECE, -1, -1)}
        for piece, at in pieces.items():
            known.setdefault(piece, []).append((form, at))
    return known


def _alike(text: str, at: int, form: str, start: int) -> int:
    """How many characters a text and a form have in common from there on."""
    length = 0
    while at + length < len(text) and start + length < len(form) and text[at + length] == form[start + length]:
        length += 1
    return length


def secret_of(variable: str) -> Secret | None:
    """The value of an environment variable, or of a ``.env`` file in the current folder where that is unset; None when
    both are blank."""
    value = os.environ.get(variable, "").strip() or value_of(variable)
    return Secret(value) if value else None
