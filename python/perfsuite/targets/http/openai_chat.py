"""OpenAI chat completions, streamed: https://platform.openai.com/docs/api-reference/chat/streaming

The first chunk often has only a role, or content null; with ``include_usage`` the last one has no choices and the
usage; ``[DONE]`` ends it.  Servers that speak the dialect differ: some leave out ``[DONE]`` (then the finish reason is
the end), name reasoning ``reasoning_content`` or ``reasoning``, or refuse ``stream_options``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from perfsuite.targets.base import Request
from perfsuite.targets.http.address import Address
from perfsuite.targets.http.client import Call
from perfsuite.targets.http.dialect import (
    END,
    NOTHING,
    Dialect,
    Piece,
    Reader,
    Usage,
    agents_in,
    decoding,
    encoded,
    flat,
    lacking,
    plain,
    reported,
)
from perfsuite.targets.http.failures import message_in, worded
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.service import Service


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    agents: object = None

    def usage(self) -> Usage:
        details = self.prompt_tokens_details
        cached = details.cached_tokens if details else None
        return Usage(self.prompt_tokens, self.completion_tokens, cached, agents_in(self.agents))


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | list[object] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: object = None


_decode = decoding(_Chunk)


RULES = (
    ("visible", "choices[].delta.content"),
    ("visible", "choices[].delta.refusal"),
    ("visible", "choices[].message.content"),
    ("visible", "choices[].message.refusal"),
    ("hidden", "choices[].delta.reasoning_content"),
    ("hidden", "choices[].delta.reasoning"),
    ("hidden", "choices[].delta.tool_calls[].function.name"),
    ("hidden", "choices[].delta.tool_calls[].function.arguments"),
    ("hidden", "choices[].message.reasoning_content"),
    ("hidden", "choices[].message.reasoning"),
    ("hidden", "choices[].message.tool_calls[].function.name"),
    ("prompt", "usage.prompt_tokens"),
    ("completion", "usage.completion_tokens"),
    ("finish", "choices[].finish_reason"),
    ("error", "error"),
)
"""What an event says, by where there is something in it.  The finish reason is the end of the content: what follows it,
usage and ``[DONE]``, has a moment to come."""


@dataclass(frozen=True, slots=True)
class OpenAIChat(Service):
    """``base`` is the path that ``/chat/completions`` follows."""

    name: str = "OpenAI chat completions"
    rules: tuple[tuple[str, str], ...] = RULES
    finish: str | None = "[DONE]"
    usage: bool = True
    limit_name: str = "max_tokens"

    @classmethod
    def at(cls, address: Address, key: Secret | None) -> Dialect:
        """OpenAI itself takes the limit by its new name alone."""
        own = address.host == "api.openai.com"
        limit_name = "max_completion_tokens" if own else "max_tokens"
        return cls(address.versioned().path, key, limit_name=limit_name)

    @property
    def adaptable(self) -> bool:
        """There is something left to leave out."""
        return self.usage or self.limit_name == "max_tokens"

    def call(self, request: Request, model: str | None) -> Call:
        """POST /chat/completions."""
        body: dict[str, object] = {
            "model": model,
            "messages": plain(request.messages),
            "stream": True,
            "stream_options": {"include_usage": True} if self.usage else None,
            self.limit_name: request.max_tokens,
        }
        return Call("POST", f"{self.base}/chat/completions", self.headers(), encoded(body), "sse")

    def reader(self, request: Request) -> Reader:
        """Has no state but the finish reason."""
        return _ChatReader()

    def adapted(self, refusal: str) -> Dialect | None:
        """Without ``stream_options``, or with the other name of the token limit."""
        if self.usage and ("stream_options" in refusal or "include_usage" in refusal):
            return replace(self, usage=False)
        if self.limit_name == "max_tokens" and "max_completion_tokens" in refusal:
            return replace(self, limit_name="max_completion_tokens")
        return None


class _ChatReader:
    def __init__(self) -> None:
        self._finished = False

    def classify(self, name: str, payload: bytes) -> Piece:
        if payload == b"[DONE]":
            return END
        if name == "error":
            return reported(message_in(payload))
        return self._piece(payload)

    def whole(self, payload: bytes) -> Piece:
        self._finished = True
        piece = self._piece(payload)
        return piece if piece.error is not None else msgspec.structs.replace(piece, end=True)

    def _piece(self, payload: bytes) -> Piece:
        chunk = _decode(payload)
        if chunk.error:
            return reported(worded(chunk.error))
        if chunk.choices is None and chunk.usage is None:
            raise lacking(payload, "neither `choices` nor `usage` nor `error`")
        usage = chunk.usage.usage() if chunk.usage is not None else None
        if not chunk.choices:
            return Piece(usage=usage, end=self._finished, model=chunk.model)
        choice = chunk.choices[0]
        # The finish reason is the end of the content; usage and [DONE] may follow, or nothing may.
        self._finished = self._finished or choice.finish_reason is not None
        delta = choice.delta or choice.message
        if delta is None:
            return Piece(usage=usage, end=self._finished, model=chunk.model) if usage or self._finished else NOTHING
        hidden = delta.reasoning_content or delta.reasoning or ""
        for call in delta.tool_calls or ():
            if call.function is not None:
                hidden += (call.function.name or "") + (call.function.arguments or "")
        text = flat(delta.content) or delta.refusal or ""
        return Piece(text=text, hidden=hidden, usage=usage, end=self._finished, model=chunk.model)
