"""The memory system's token counter: the one under test.

It never renders a prompt.  Each message is counted once, by the shapes of its words: the UTF-8 bytes are mapped to
classes (letter, digit, punctuation, …), cut at spaces, and each distinct shape (``aaaa.`` for "that.") is priced once
and remembered.  The template's overhead is added by arithmetic.  The vocabulary is stated in ``tokenizer.py``, with
which this shares no code.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence

_LETTER, _DIGIT, _PUNCTUATION, _NEWLINE, _TAB, _LEAD = b"a0.nth"
_CLASSES = bytearray(b" " * 256)
_DROPPED = bytearray()
for _byte in range(256):
    _character = chr(_byte)
    if _byte >= 0xC0:
        _CLASSES[_byte] = _LEAD  # one piece for each character: its first byte stands for it
    elif _byte >= 0x80:
        _DROPPED.append(_byte)
    elif _character.isalpha():
        _CLASSES[_byte] = _LETTER
    elif _character.isdigit():
        _CLASSES[_byte] = _DIGIT
    elif _character == "\n":
        _CLASSES[_byte] = _NEWLINE
    elif _character in "\t\r":
        _CLASSES[_byte] = _TAB
    elif _byte < 0x20 or _byte == 0x7F:
        _DROPPED.append(_byte)
    elif _character != " ":
        _CLASSES[_byte] = _PUNCTUATION
_TABLE, _DROP = bytes(_CLASSES), bytes(_DROPPED)
_PIECE_LENGTH = {_LETTER: 7, _DIGIT: 3, _PUNCTUATION: 4, _LEAD: 1}
_TAKES_SPACE = (_LETTER, _DIGIT, _PUNCTUATION)
PROMPT_OVERHEAD = 1 + 2 + 1  # START assistant SEP
MESSAGE_OVERHEAD = 3  # START SEP END
_LONGEST_REMEMBERED = 16_384


class TokenCounter:
    """Counts tokens incrementally: a message that was counted before costs one look-up.

    ``entries`` bounds what is remembered; texts of more than 16 Ki characters are counted anew each time.
    """

    def __init__(self, entries: int = 4096) -> None:
        self._entries = entries
        self._texts: OrderedDict[str, int] = OrderedDict()
        self._shapes: dict[bytes, int] = {}

    def text(self, text: str) -> int:
        """The tokens of a text by itself."""
        known = self._texts.get(text)
        if known is not None:
            self._texts.move_to_end(text)
            return known
        count = self._count(text)
        if len(text) <= _LONGEST_REMEMBERED:
            self._texts[text] = count
            if len(self._texts) > self._entries:
                self._texts.popitem(last=False)
        return count

    def message(self, message: Mapping[str, object]) -> int:
        """The tokens that a message adds to a prompt, its share of the template included."""
        content = message.get("content")
        if content is None:
            content = ""
        elif not isinstance(content, str):
            content = text_of_parts(content)
        if message.get("tool_calls"):
            content += json.dumps(message["tool_calls"], separators=(",", ":"))
        role = str(message.get("role", "user"))
        if message.get("name"):
            role += ":" + str(message["name"])
        return self.text(role) + self.text(content) + MESSAGE_OVERHEAD

    def prompt(self, messages: Sequence[Mapping[str, object]]) -> int:
        """The tokens of a whole prompt."""
        return sum(map(self.message, messages)) + PROMPT_OVERHEAD

    def _count(self, text: str) -> int:
        total = 0
        shapes = self._shapes
        spaces = -1  # in the run before the word; -1: the text starts here
        for shape in text.encode("utf-8", "surrogatepass").translate(_TABLE, _DROP).split(b" "):
            spaces += 1
            if not shape:
                continue
            price = shapes.get(shape)
            if price is None:
                if len(shapes) >= self._entries:
                    shapes.clear()
                price = shapes[shape] = _price(shape)
            total += price
            if spaces:
                total += spaces > 1 or shape[0] not in _TAKES_SPACE
            spaces = 0
        return total + (spaces > 0)


def _price(shape: bytes) -> int:
    total = start = 0
    for end in range(1, len(shape) + 1):
        if end == len(shape) or shape[end] != shape[start]:
            length = _PIECE_LENGTH.get(shape[start])
            total += 1 if length is None else -(-(end - start) // length)
            start = end
    return total


def text_of_parts(content: object) -> str:
    """The text of a message whose content is a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    return "".join(str(part["text"]) for part in content if isinstance(part, Mapping) and "text" in part)
