"""The simulated models' own tokenizer: the truth of ``usage``.

The prompt is rendered with the chat template and cut into pieces by one regular expression; a count is the number of
pieces.  ``counter.py`` counts the same vocabulary for the memory system in another way, message by message, without
rendering or cutting anything; the two share no code, so that ``token_counting_accuracy`` compares two counts.

The vocabulary (stated, for both):

- Before anything else, control characters other than tab, line feed and carriage return are dropped.
- ASCII letters: pieces of up to 7; digits: up to 3; other printable ASCII: up to 4 of a run.  One space before such a
  run belongs to its first piece.
- A run of line feeds is one piece, so is a run of tabs and carriage returns, so is a run of spaces that is left over.
- Any other character is a piece of its own.
- The chat template: ``START role SEP content END`` for each message, the role with ``:name`` when the message has a
  name, tool calls as compact JSON after the content; then ``START assistant SEP``.  The specials are one piece each;
  they are control characters, which no content can contain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

START, SEP, END = "\x01", "\x02", "\x03"
_PIECE = re.compile(
    r"[\x01\x02\x03]| ?[A-Za-z]{1,7}| ?[0-9]{1,3}| ?[!-/:-@\[-`{-~]{1,4}|\n+|[\t\r]+| +(?= [!-~])| +|[^\x00-\x7f]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def pieces(text: str) -> list[str]:
    """The pieces of a text; joined, they are the text without its control characters."""
    return _PIECE.findall(_CONTROLS.sub("", text))


def _content(message: Mapping[str, object]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        text = content
    elif isinstance(content, Iterable):
        text = "".join(str(part["text"]) for part in content if isinstance(part, Mapping) and "text" in part)
    else:
        text = ""
    calls = message.get("tool_calls")
    if calls:
        text += json.dumps(calls, separators=(",", ":"))
    return _CONTROLS.sub("", text)


def render(messages: Sequence[Mapping[str, object]]) -> str:
    """The prompt as a model reads it."""
    out = []
    for message in messages:
        role = str(message.get("role", "user"))
        if message.get("name"):
            role = f"{role}:{message['name']}"
        out.append(f"{START}{_CONTROLS.sub('', role)}{SEP}{_content(message)}{END}")
    out.append(f"{START}assistant{SEP}")
    return "".join(out)


def count_prompt(prompt: str) -> int:
    """The tokens of a rendered prompt."""
    return len(_PIECE.findall(prompt))


def count_text(text: str) -> int:
    """The tokens of a text by itself."""
    return len(pieces(text))
