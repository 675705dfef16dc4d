"""What a message may be, and what is taken out of it before anybody reads it.

Taken out: control characters but line breaks and tabs (they move a terminal's cursor, and end protocols early), and
the characters that change the direction of text or hide in it (Unicode TR 36 and TR 39: a reader sees another text than
the model).  A lone surrogate, which no encoding can write, becomes U+FFFD.  Line breaks become one kind.  Joiners stay:
emoji and many scripts need them.
"""

from __future__ import annotations

from typing import Literal

from perfsuite._core import clean_text
from perfsuite.errors import PerfsuiteError

Reason = Literal["not_text", "empty", "too_long"]


class InputRejected(PerfsuiteError, ValueError):
    """A message that a loop does not take; ``reason`` says why in a word."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def validate(text: object, max_length: int) -> str:
    """The text, as it is; InputRejected for what is no text, has nothing in it, or is longer than ``max_length``
    characters.  Its cost does not depend on its length."""
    if not isinstance(text, str):
        raise InputRejected("not_text", f"a message must be text, not {type(text).__name__}")
    if len(text) > max_length:
        raise InputRejected(
            "too_long", f"the message has {len(text):,} characters, {max_length:,} are allowed (max_input_length)"
        )
    if not text or text.isspace():
        raise InputRejected("empty", "the message is empty")
    return text


def sanitize(text: str) -> str:
    """The text without what the module's text lists; itself where there is nothing of it."""
    return clean_text(text)
