"""Conversations that users bring: OpenAI-style JSON and JSON Lines, and ShareGPT, of any size in bounded memory.

A file holds, as lines, as the elements of one array, or as one value:

- ``{"messages": [{"role": …, "content": …}, …]}``
- ``{"conversations": [{"from": "human", "value": …}, …]}`` (ShareGPT)
- a list of messages

What cannot be used is reported line by line and left out; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from perfsuite.errors import UsageError
from perfsuite.targets.base import Message
from perfsuite.workloads.opening import PROBE, open_json
from perfsuite.workloads.splitter import LARGEST, Span, Unusable, json_lines, json_values

KEPT = 1000
"""Reports of unusable parts that are kept; the others are counted."""
NOTED = 20
"""Of them, those that a result names."""
MOST_MESSAGES = 100_000
"""Messages of one conversation, at most: a file that is one list of messages is one conversation."""
FORMS = '{"messages": [{"role": "user", "content": "…"}]}, ShareGPT\'s {"conversations": […]}, or a list of messages'

_ROLES = {
    "system": "system", "developer": "developer", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "model": "assistant",
    "ai": "assistant", "bot": "assistant", "function_call": "assistant", "tool": "tool", "function": "tool",
    "function_response": "tool", "observation": "tool", "tool_response": "tool", "ipython": "tool",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recorded:
    """A conversation of a file: the line that it begins on, and its messages with role and content."""

    line: int
    messages: tuple[Message, ...]


class ConversationFile:
    """A file of conversations; iterating reads it from the beginning, one conversation in memory at a time.

    ``unusable`` and ``unusable_count`` are of the last reading.  UsageError: the file cannot be read, is not text, or
    holds not one conversation that can be used (at the end of the first reading).
    """

    def __init__(self, path: str | Path, largest: int = LARGEST) -> None:
        self.path = Path(path)
        self.unusable: list[Unusable] = []
        self.unusable_count = 0
        self._largest = largest
        with self._open():
            pass

    def _open(self) -> BinaryIO:
        return open_json(self.path, "conversations", FORMS)

    def __iter__(self) -> Iterator[Recorded]:
        self.unusable, self.unusable_count = [], 0
        usable = False
        with self._open() as stream:
            for recorded in self._recorded(stream):
                usable = True
                yield recorded
        if not usable:
            first = f"; line {self.unusable[0].line}: {self.unusable[0].reason}" if self.unusable else ""
            raise UsageError(f"{self.path} holds no conversation that can be used{first}; it must hold {FORMS}")

    def left_out(self) -> str | None:
        """What the last reading could not use, in one line; None when it used all of it."""
        if not self.unusable_count:
            return None
        named = [f"line {part.line}: {part.reason}" for part in self.unusable[:NOTED]]
        more = self.unusable_count - len(named)
        rest = [f"and {more:,} more"] if more else []
        return f"{self.path}: {self.unusable_count:,} left out that cannot be used: {'; '.join([*named, *rest])}"

    def _report(self, line: int, reason: str) -> None:
        self.unusable_count += 1
        if len(self.unusable) < KEPT:
            self.unusable.append(Unusable(line, reason))

    def _recorded(self, stream: BinaryIO) -> Iterator[Recorded]:
        loose: list[Message] = []  # messages that are themselves the elements of the file's array
        began = 0
        for part in _parts(stream, self._largest):
            if isinstance(part, Unusable):
                self._report(part.line, part.reason)
                continue
            value = self._decode(part)
            if isinstance(value, Mapping) and _is_message(value):
                message = self._message(value, part.line, "")
                if message is not None and len(loose) < MOST_MESSAGES:
                    began = began or part.line
                    loose.append(message)
                elif message is not None:
                    self._report(part.line, f"more than {MOST_MESSAGES:,} messages in one conversation")
            elif value is not None:
                yield from self._conversations(value, part.line)
        if loose:
            yield from self._finished(began, loose)

    def _decode(self, part: Span) -> object:
        import msgspec

        try:
            value: object = msgspec.json.decode(part.data)
        except msgspec.DecodeError as error:
            half = "half of a surrogate pair in it, which is no character"
            self._report(part.line, half if _has_half_a_pair(part.data) else f"not JSON: {error}")
        except UnicodeDecodeError as error:
            self._report(part.line, f"not UTF-8: {error.reason} at byte {error.start:,} of the value")
        except RecursionError:
            self._report(part.line, "nested too deeply")
        else:
            if value is None:
                self._report(part.line, "null is no conversation")
            return value
        return None

    def _conversations(self, value: object, line: int) -> Iterator[Recorded]:
        """The conversations in one value: one, or those of an object that lists several."""
        if isinstance(value, Mapping):
            listed = next((value[key] for key in ("messages", "conversations", "conversation") if key in value), None)
            if listed is None:
                self._report(line, f'neither "messages" nor "conversations" in it, but {_keys(value)}')
                return
            value = listed
        if not isinstance(value, list):
            self._report(line, f"a conversation must be a list of messages, not {_kind(value)}")
            return
        if value and all(_is_listing(item) for item in value):
            for item in value:
                yield from self._conversations(item, line)
            return
        messages = []
        for number, item in enumerate(value):
            message = self._message(item, line, f"message {number + 1}: ")
            if message is not None:
                messages.append(message)
        yield from self._finished(line, messages)

    def _finished(self, line: int, messages: list[Message]) -> Iterator[Recorded]:
        if any(message["role"] == "user" for message in messages):
            yield Recorded(line, tuple(messages))
        else:
            self._report(line, "no message of a user in it" if messages else "no message in it")

    def _message(self, item: object, line: int, where: str) -> Message | None:
        if not isinstance(item, Mapping) or not _is_message(item):
            self._report(line, f"{where}neither role and content nor from and value in it")
            return None
        role = item.get("role", item.get("from"))
        known = _ROLES.get(role.lower()) if isinstance(role, str) else None
        if known is None:
            self._report(line, f"{where}unknown role {str(role)[:40]!r}")
            return None
        content = item.get("content", item.get("value"))
        if isinstance(content, list):
            told = (part.get("text") for part in content if isinstance(part, Mapping))
            texts = [text for text in told if isinstance(text, str)]
            if content and not any(texts):
                self._report(line, f"{where}no text among its parts")
                return None
            if others := len(content) - len(texts):
                self._report(line, f"{where}{others:,} of its {len(content):,} parts no text, and left out")
            content = "".join(texts)
        if content is None and item.get("tool_calls"):
            content = ""
        if not isinstance(content, str):
            self._report(line, f"{where}the content must be text, not {_kind(content)}")
            return None
        found: dict[str, object] = {"role": known, "content": content}
        for key in ("tool_calls", "tool_call_id", "name"):
            if item.get(key) is not None:
                found[key] = item[key]
        return found


def surveyed(path: str | Path) -> ConversationFile:
    """The file, read once from end to end: what is left out is known before an hour is spent on the rest."""
    file = ConversationFile(path)
    for _ in file:
        pass
    return file


def _parts(stream: BinaryIO, largest: int) -> Iterator[Span | Unusable]:
    """The file's values, by lines when it is JSON Lines.

    It is when its first line is a whole value, or, for a damaged first line must not hide the others, when a later one
    near the beginning is a whole conversation.  A bracket alone on the first line, or a comma at its end, tells of a
    value that is laid out over several.
    """
    start = stream.tell()
    head = stream.read(PROBE)
    stream.seek(start)
    first, *others = [line.strip() for line in head.split(b"\n") if line.strip()]
    opens = first[:1]
    if first in (b"[", b"{") or first.endswith(b","):
        return json_values(stream, largest)
    if opens not in (b"[", b"{") or (opens == b"{" and not others and len(head) == PROBE):
        return json_lines(stream, largest)  # no JSON at all, or an object of one long line
    if (_decoded(first) is not None and (others or opens == b"{")) or any(map(_is_conversation, map(_decoded, others))):
        return json_lines(stream, largest)
    return json_values(stream, largest)


def _decoded(line: bytes) -> object:
    """The line's object or array; None when it is not one."""
    import msgspec

    try:
        value: object = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _has_half_a_pair(data: bytes) -> bool:
    """Whether text that is no JSON to a strict reader is so for a lone surrogate: an emoji that was cut in two."""
    import json

    if b"\\ud" not in data.lower():
        return False
    try:
        json.dumps(json.loads(data), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


def _is_conversation(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, Mapping) and _is_message(item) for item in value)
    return value is not None and _is_listing(value)


def _is_message(item: Mapping[str, object]) -> bool:
    return ("role" in item and ("content" in item or "tool_calls" in item)) or ("from" in item and "value" in item)


def _is_listing(item: object) -> bool:
    """Whether it is a conversation itself, not a message."""
    if isinstance(item, list):
        return True
    return (
        isinstance(item, Mapping)
        and not _is_message(item)
        and any(key in item for key in ("messages", "conversations", "conversation"))
    )


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def _keys(value: Mapping[str, object]) -> str:
    names = ", ".join(repr(key[:20]) for key in list(value)[:5])
    return names or "nothing"
