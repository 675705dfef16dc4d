"""What a server's dialect is: a request read, an answer written, in pieces or whole, and an error.

Each has a file of its own, named as the client's in ``targets/http/``.  Field names and the order of events are those
of the providers' published references.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from perfsuite.serve.http import BadRequest

IDENT_LENGTH = 24
PLACE = "@" * IDENT_LENGTH
"""Stands for the answer's id in frames that are made beforehand."""
MOST_TOKENS = 1 << 20

Message = dict[str, object]


@dataclass(slots=True)
class Asked:
    """What a request asks for, whatever the dialect."""

    model: str
    messages: list[Message]
    stream: bool
    max_tokens: int | None = None
    include_usage: bool = False
    user: str | None = None
    conversation: str | None = None


@dataclass(slots=True)
class Usage:
    """The tokens of one answer; ``cached`` of the prompt's.  ``agents``: whose they are and those of the model calls
    around it, by the name of each of the system's agents."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    agents: dict[str, dict[str, object]] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """An answer being given: what its events say of it."""

    ident: str
    model: str
    created: int
    usage: Usage = field(default_factory=Usage)
    include_usage: bool = False
    finish: str = "stop"
    """``stop``, or ``length`` when the client's limit cut it."""


def encode(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def event(value: object, name: str = "") -> bytes:
    """One server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + encode(value) + b"\n\n"


def words_of(content: object) -> str:
    """The text of a message's content: a string, or a list of parts with ``text``."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(text for text in texts if isinstance(text, str))
    raise BadRequest(400, f"content must be text or a list of parts, not {type(content).__name__}")


def messages_of(value: object, where: str = "messages") -> list[Message]:
    """The messages of a request, checked."""
    if not isinstance(value, list) or not value:
        raise BadRequest(400, f"{where} must be a list with at least one message")
    made: list[Message] = []
    for index, one in enumerate(value):
        if not isinstance(one, Mapping) or not isinstance(one.get("role", ""), str):
            raise BadRequest(400, f"{where}[{index}] must be an object with a role and content")
        message: Message = {"role": one.get("role", "user"), "content": words_of(one.get("content"))}
        for name in ("name", "tool_calls"):
            if one.get(name):
                message[name] = one[name]
        made.append(message)
    return made


def whole_number(body: Mapping[str, object], *names: str) -> int | None:
    """The first of the fields that is there, a number of tokens."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise BadRequest(400, f"{name} must be a whole number of at least 1, not {str(value)[:40]}")
        return min(value, MOST_TOKENS)
    return None


def text_of(body: Mapping[str, object], name: str) -> str | None:
    """A field of text, or None when there is none."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRequest(400, f"{name} must be text, not {type(value).__name__}")
    return value


def named_in(body: Mapping[str, object], name: str) -> str | None:
    """A key of the request's ``metadata``."""
    metadata = body.get("metadata")
    value = metadata.get(name) if isinstance(metadata, Mapping) else None
    return value if isinstance(value, str) else None


class Dialect(ABC):
    """One API.  Stateless: what an answer needs is in its Answer."""

    path: str
    content_type = "text/event-stream; charset=utf-8"
    prefix = ""
    """What the API's ids begin with; the rest is the server's id of the request."""

    @abstractmethod
    def read(self, body: Mapping[str, object]) -> Asked:
        """What a request asks for; BadRequest when it cannot be read."""

    @abstractmethod
    def opening(self, answer: Answer) -> bytes:
        """What comes before the first token; no token in it."""

    @abstractmethod
    def piece(self, answer: Answer, text: str, index: int) -> bytes:
        """The event that brings ``text``; ``index`` counts these events from 0."""

    @abstractmethod
    def closing(self, answer: Answer, text: str, pieces: int) -> bytes:
        """What comes after the last token, but for ``end``."""

    @abstractmethod
    def whole(self, answer: Answer, text: str) -> object:
        """The answer that is not streamed."""

    @abstractmethod
    def error(self, status: int, message: str, code: str = "") -> object:
        """The body of an error."""

    def failing(self, message: str) -> bytes:
        """The event of an error in mid-stream."""
        return event(self.error(500, message))

    def broken(self) -> bytes:
        """An event that is not JSON."""
        return b'data: {"choices":[{"delta":{"content":\n\n'

    @abstractmethod
    def end(self, answer: Answer, text: str, pieces: int) -> bytes:
        """The event that ends the stream."""
