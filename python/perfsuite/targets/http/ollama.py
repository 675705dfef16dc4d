"""Ollama's chat, streamed as lines of JSON: https://github.com/ollama/ollama/blob/main/docs/api.md

The last line has ``done: true`` with the token counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from perfsuite.targets.base import Request
from perfsuite.targets.http.address import Address
from perfsuite.targets.http.client import Call
from perfsuite.targets.http.dialect import (
    Dialect,
    Piece,
    Reader,
    Usage,
    decoding,
    encoded,
    lacking,
    plain,
    reported,
)
from perfsuite.targets.http.failures import worded
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.service import Service
from perfsuite.targets.http.splitting import StreamKind


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[object] | None = None


class _Line(msgspec.Struct):
    message: _Message | None = None
    done: bool = False
    model: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: object = None


class _Model(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    models: list[_Model]


_decode = decoding(_Line)
_decode_tags = decoding(_Tags)


RULES = (
    ("visible", "message.content"),
    ("hidden", "message.thinking"),
    ("hidden", "message.tool_calls"),
    ("prompt", "prompt_eval_count"),
    ("completion", "eval_count"),
    ("finish", "done"),
    ("error", "error"),
)
"""What a line says, by where there is something in it."""


@dataclass(frozen=True, slots=True)
class Ollama(Service):
    """``base`` is the path that ``/api/chat`` follows, usually empty."""

    name: str = "Ollama chat"
    stream: StreamKind = "ndjson"
    rules: tuple[tuple[str, str], ...] = RULES

    @classmethod
    def at(cls, address: Address, key: Secret | None) -> Dialect:
        """Its paths have no version."""
        return cls(address.path, key)

    @property
    def models_path(self) -> str:
        """Where the models are that were pulled."""
        return f"{self.base}/api/tags"

    def call(self, request: Request, model: str | None) -> Call:
        """POST /api/chat."""
        body: dict[str, object] = {
            "model": model,
            "messages": plain(request.messages),
            "stream": True,
            "options": {"num_predict": request.max_tokens} if request.max_tokens else None,
        }
        return Call("POST", f"{self.base}/api/chat", self.headers(), encoded(body), "ndjson")

    def models(self, payload: bytes) -> list[str]:
        """The models that were pulled."""
        return [model.name for model in _decode_tags(payload).models]

    def reader(self, request: Request) -> Reader:
        """Has no state."""
        return _READER


class _LineReader:
    def classify(self, name: str, payload: bytes) -> Piece:
        line = _decode(payload)
        if line.error:
            return reported(worded(line.error))
        if line.message is None and not line.done:
            raise lacking(payload, "neither `message` nor `done`")
        message = line.message or _Message()
        hidden = message.thinking or ""
        if message.tool_calls:
            hidden += msgspec.json.encode(message.tool_calls).decode()
        usage = Usage(line.prompt_eval_count, line.eval_count) if line.done else None
        return Piece(text=message.content or "", hidden=hidden, usage=usage, end=line.done, model=line.model)

    def whole(self, payload: bytes) -> Piece:
        return self.classify("", payload)


_READER = _LineReader()
