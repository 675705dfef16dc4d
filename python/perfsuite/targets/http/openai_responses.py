"""OpenAI responses, streamed: https://platform.openai.com/docs/api-reference/responses-streaming

Named events, each with its ``type`` again in the data; ends with ``response.completed`` (or ``.incomplete``: the token
limit) and no ``[DONE]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from perfsuite.targets.base import Message, Request
from perfsuite.targets.http.client import Call
from perfsuite.targets.http.dialect import (
    END,
    NOTHING,
    Piece,
    Reader,
    Usage,
    decoding,
    encoded,
    lacking,
    reported,
)
from perfsuite.targets.http.failures import worded
from perfsuite.targets.http.service import Service

_VISIBLE = frozenset({"response.output_text.delta", "response.refusal.delta"})
_HIDDEN = frozenset(
    {
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.code_interpreter_call_code.delta",
        "response.mcp_call_arguments.delta",
    }
)
_ENDS = frozenset({"response.completed", "response.incomplete"})


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None


class _Part(msgspec.Struct):
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct):
    type: str | None = None
    content: list[_Part] | None = None


class _Response(msgspec.Struct):
    usage: _Usage | None = None
    model: str | None = None
    error: object = None
    status: str | None = None
    output: list[_Item] | None = None


class _Event(msgspec.Struct):
    type: str
    delta: object = None
    response: _Response | None = None
    message: str | None = None
    error: object = None


_decode = decoding(_Event)
_decode_whole = decoding(_Response)


RULES = (
    *(("visible", f"type={name}") for name in sorted(_VISIBLE)),
    *(("hidden", f"type={name}") for name in sorted(_HIDDEN)),
    *(("finish", f"type={name}") for name in sorted(_ENDS)),
    ("visible", "output[].content[].text"),
    ("visible", "output[].content[].refusal"),
    ("prompt", "response.usage.input_tokens"),
    ("completion", "response.usage.output_tokens"),
    ("prompt", "usage.input_tokens"),
    ("completion", "usage.output_tokens"),
    ("error", "type=response.failed"),
    ("error", "type=error"),
    ("error", "error"),
)
"""What an event says, by where there is something in it; ``output`` and ``usage`` of an answer that is not streamed."""


@dataclass(frozen=True, slots=True)
class OpenAIResponses(Service):
    """``base`` is the path that ``/responses`` follows."""

    name: str = "OpenAI responses"
    rules: tuple[tuple[str, str], ...] = RULES
    finish: str | None = "[DONE]"

    def call(self, request: Request, model: str | None) -> Call:
        """POST /responses; nothing is stored at the service."""
        body: dict[str, object] = {
            "model": model,
            "input": [_item(message) for message in request.messages],
            "stream": True,
            "store": False,
            "max_output_tokens": request.max_tokens,
        }
        return Call("POST", f"{self.base}/responses", self.headers(), encoded(body), "sse")

    def reader(self, request: Request) -> Reader:
        """Has no state."""
        return _READER


class _ResponsesReader:
    def classify(self, name: str, payload: bytes) -> Piece:
        if payload == b"[DONE]":
            return END
        event = _decode(payload)
        kind = event.type
        if kind in _VISIBLE:
            return Piece(text=event.delta if isinstance(event.delta, str) else "")
        if kind in _HIDDEN:
            return Piece(hidden=event.delta if isinstance(event.delta, str) else "")
        if kind in _ENDS:
            return _ended(event.response, text="")
        if kind == "response.failed":
            return Piece(error=worded(event.response.error if event.response else None) or "the response failed")
        if kind == "error":
            return reported(event.message or worded(event.error))
        return NOTHING

    def whole(self, payload: bytes) -> Piece:
        response = _decode_whole(payload)
        if response.error:
            return reported(worded(response.error))
        if response.output is None:
            raise lacking(payload, "no `output`")
        parts = [part for item in response.output for part in item.content or ()]
        return _ended(response, "".join(part.text or part.refusal or "" for part in parts))


def _item(message: Message) -> dict[str, object]:
    """A message as an item of the input.  The type may be left out by the API's own words; llama.cpp wants it on those
    of the assistant."""
    return {"type": "message", "role": message.get("role"), "content": message.get("content")}


def _ended(response: _Response | None, text: str) -> Piece:
    if response is None or response.usage is None:
        return Piece(text=text, end=True, model=response.model if response else None)
    told = response.usage
    cached = told.input_tokens_details.cached_tokens if told.input_tokens_details else None
    return Piece(text=text, end=True, usage=Usage(told.input_tokens, told.output_tokens, cached), model=response.model)


_READER = _ResponsesReader()
