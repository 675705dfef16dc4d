"""What a message may be, and what is taken out of it before anybody reads it.

Taken out: control characters but line breaks and tabs (they move a terminal's cursor, and end protocols early), and
the characters that change the direction of text or hide in it (Unicode TR 36 and TR 39: a reader sees another text than
the model).  A lone surrogate, which no encoding can write, becomes U+FFFD.  Line breaks become one kind.  Joiners stay:
emoji and many scripts need them.
"""

from __future__ import annotations

import re
from typing import Literal

from perfsuite.errors import PerfsuiteError

_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_DIRECTION = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HIDDEN = r"\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_TAKEN_OUT = re.compile(f"[{_CONTROL}{_DIRECTION}{_HIDDEN}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BREAKS = re.compile("\r\n?|[\x85\u2028\u2029]")

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
    # What is printable has nothing of it, and most texts are, but for their line breaks; that is quick to see.
    if text.isprintable() or text.replace("\n", " ").replace("\t", " ").isprintable():
        return text
    if not text.isascii():
        text = _SURROGATE.sub("\ufffd", text)
    return _TAKEN_OUT.sub("", _BREAKS.sub("\n", text))
