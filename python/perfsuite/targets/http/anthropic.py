"""Anthropic messages, streamed: https://docs.anthropic.com/en/api/messages-streaming

Named events; usage comes in two parts, the prompt's in ``message_start`` and the answer's, cumulative, in
``message_delta``; ``message_stop`` ends it.  What the cache served is not in ``input_tokens``: it is added here, so
that prompt tokens mean the same in every dialect.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from perfsuite.targets.base import Request
from perfsuite.targets.http.client import Call
from perfsuite.targets.http.dialect import (
    END,
    JSON_HEADERS,
    NOTHING,
    Piece,
    Reader,
    Usage,
    decoding,
    encoded,
    flat,
    lacking,
    reported,
)
from perfsuite.targets.http.failures import worded
from perfsuite.targets.http.service import Service

VERSION = "2023-06-01"
LONGEST_ANSWER = 1024
"""The service wants a limit on every request; this one where the run sets none."""


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    def usage(self) -> Usage:
        prompt = self.input_tokens
        if prompt is not None:
            prompt += (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        return Usage(prompt, self.output_tokens, self.cache_read_input_tokens)


class _Delta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Block(msgspec.Struct):
    text: str | None = None


class _Message(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    content: list[_Block] | None = None
    type: str | None = None
    error: object = None


class _Event(msgspec.Struct):
    type: str
    delta: _Delta | None = None
    content_block: _Delta | None = None
    message: _Message | None = None
    usage: _Usage | None = None
    error: object = None


_decode = decoding(_Event)
_decode_whole = decoding(_Message)


RULES = (
    ("visible", "delta.text"),
    ("visible", "content_block.text"),
    ("visible", "content[].text"),
    ("hidden", "delta.thinking"),
    ("hidden", "delta.partial_json"),
    ("hidden", "content_block.thinking"),
    ("prompt", "message.usage.input_tokens"),
    ("more_prompt", "message.usage.cache_read_input_tokens"),
    ("more_prompt", "message.usage.cache_creation_input_tokens"),
    ("completion", "message.usage.output_tokens"),
    ("prompt", "usage.input_tokens"),
    ("more_prompt", "usage.cache_read_input_tokens"),
    ("more_prompt", "usage.cache_creation_input_tokens"),
    ("completion", "usage.output_tokens"),
    ("finish", "type=message_stop"),
    ("error", "type=error"),
    ("error", "error"),
)
"""What an event says, by where there is something in it; ``content`` and ``usage`` are of an answer in one piece."""


@dataclass(frozen=True, slots=True)
class Anthropic(Service):
    """``base`` is the path that ``/messages`` follows."""

    name: str = "Anthropic messages"
    rules: tuple[tuple[str, str], ...] = RULES

    def headers(self) -> tuple[tuple[str, str], ...]:
        """With the version of the API, and the key where this one wants it."""
        key = (("x-api-key", self.key.reveal()),) if self.key is not None else ()
        return (*JSON_HEADERS, ("anthropic-version", VERSION), *key)

    def call(self, request: Request, model: str | None) -> Call:
        """POST /messages: system messages go to their own field, and neighbours of one role are joined."""
        system: list[str] = []
        messages: list[dict[str, str]] = []
        for message in request.messages:
            role, text = message.get("role"), flat(message.get("content"))
            if role in ("system", "developer"):
                system.append(text)
            elif messages and messages[-1]["role"] == role:
                messages[-1]["content"] += f"\n\n{text}"
            else:
                messages.append({"role": "assistant" if role == "assistant" else "user", "content": text})
        body: dict[str, object] = {
            "model": model,
            "max_tokens": request.max_tokens or LONGEST_ANSWER,
            "system": "\n\n".join(system) or None,
            "messages": messages,
            "stream": True,
        }
        return Call("POST", f"{self.base}/messages", self.headers(), encoded(body), "sse")

    def reader(self, request: Request) -> Reader:
        """Has no state."""
        return _READER


class _MessagesReader:
    def classify(self, name: str, payload: bytes) -> Piece:
        event = _decode(payload)
        kind = event.type
        if kind == "content_block_delta" or kind == "content_block_start":
            delta = event.delta or event.content_block
            if delta is None:
                return NOTHING
            return Piece(text=delta.text or "", hidden=delta.thinking or delta.partial_json or "")
        if kind == "message_start" and event.message is not None:
            told = event.message.usage
            return Piece(usage=told.usage() if told else None, model=event.message.model)
        if kind == "message_delta":
            return Piece(usage=event.usage.usage() if event.usage else None)
        if kind == "message_stop":
            return END
        if kind == "error":
            return reported(worded(event.error))
        return NOTHING

    def whole(self, payload: bytes) -> Piece:
        message = _decode_whole(payload)
        if message.error:
            return reported(worded(message.error))
        if message.content is None:
            raise lacking(payload, "no `content`")
        text = "".join(block.text or "" for block in message.content)
        return Piece(text=text, end=True, usage=message.usage.usage() if message.usage else None, model=message.model)


_READER = _MessagesReader()
