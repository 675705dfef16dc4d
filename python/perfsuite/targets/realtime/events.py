"""Realtime events: https://platform.openai.com/docs/api-reference/realtime-server-events

What is sent is written here, and what comes is read: pure functions.  The names that the API had before its general
release (``response.text.delta``, ``response.audio.delta``) are read as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from perfsuite.targets.base import Message
from perfsuite.targets.http.dialect import Usage, WrongShape, decoding, encoded, flat
from perfsuite.targets.http.failures import worded

Kind = Literal["words", "audio"]
"""What a delta brings: of the answer's text (what is spoken, written down, too), or sound."""

_VISIBLE = frozenset(
    {
        "response.output_text.delta",
        "response.output_audio_transcript.delta",
        "response.text.delta",
        "response.audio_transcript.delta",
    }
)
_AUDIO = frozenset({"response.output_audio.delta", "response.audio.delta"})
_HIDDEN = frozenset({"response.function_call_arguments.delta", "response.mcp_call_arguments.delta"})
_READY = frozenset({"session.created", "session.updated"})
_UNSAID = {"cancelled": "it was cancelled by the service", "failed": "the response failed"}


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_token_details: _Details | None = None


class _Part(msgspec.Struct):
    text: str | None = None
    transcript: str | None = None


class _Item(msgspec.Struct):
    content: list[_Part] | None = None


class _Response(msgspec.Struct):
    id: object = None
    status: str | None = None
    status_details: object = None
    usage: _Usage | None = None
    output: list[_Item] | None = None


class _Session(msgspec.Struct):
    model: str | None = None


class _Event(msgspec.Struct):
    type: str
    delta: object = None
    response: _Response | None = None
    session: _Session | None = None
    message: str | None = None
    error: object = None


_decode = decoding(_Event)


class Spoken(msgspec.Struct, frozen=True, gc=False):
    """What one event means.

    ``kind``: it is a delta, of ``text``, ``hidden`` (a tool's call) or so many ``audio_bytes``.  ``ready``: the session
    is there, with ``model``.  ``end``: the answer is complete; ``whole`` is its text as told again, ``ident`` the
    service's name of it.  ``error``: the service's words on what went wrong.
    """

    kind: Kind | None = None
    text: str = ""
    hidden: str = ""
    audio_bytes: int = 0
    ready: bool = False
    model: str | None = None
    end: bool = False
    whole: str = ""
    ident: str = ""
    usage: Usage | None = None
    error: str | None = None


NOTHING = Spoken()


def read(payload: bytes) -> Spoken:
    """What an event means.  Raises WrongShape."""
    event = _decode(payload)
    kind = event.type
    if kind in _VISIBLE:
        text = _text(event, payload)
        return Spoken(kind="words", text=text) if text else NOTHING
    if kind in _AUDIO:
        encoded_bytes = _text(event, payload)
        size = len(encoded_bytes) * 3 // 4 - encoded_bytes[-2:].count("=")
        return Spoken(kind="audio", audio_bytes=size) if encoded_bytes else NOTHING
    if kind in _HIDDEN:
        hidden = _text(event, payload)
        return Spoken(kind="words", hidden=hidden) if hidden else NOTHING
    if kind == "response.done":
        return _done(event.response)
    if kind in _READY:
        return Spoken(ready=True, model=event.session.model if event.session else None)
    if kind == "error":
        return Spoken(error=event.message or worded(event.error) or "an error without words")
    return NOTHING


def _text(event: _Event, payload: bytes) -> str:
    if not isinstance(event.delta, str):
        raise WrongShape(f"{event.type} has no text in its delta: {payload[:80].decode('utf-8', 'replace')!r}")
    return event.delta


def _done(response: _Response | None) -> Spoken:
    if response is None:
        raise WrongShape("response.done has no response in it")
    if response.status in _UNSAID:
        details = response.status_details
        said = worded(details.get("error") or details.get("reason")) if isinstance(details, Mapping) else ""
        unsaid = _UNSAID[response.status]
        return Spoken(error=f"{unsaid}: {said}" if said else unsaid)
    parts = [part for item in response.output or () for part in item.content or ()]
    whole = "".join(part.text or part.transcript or "" for part in parts)
    ident = response.id if isinstance(response.id, str) else ""
    told = response.usage
    if told is None:
        return Spoken(end=True, whole=whole, ident=ident)
    cached = told.input_token_details.cached_tokens if told.input_token_details else None
    return Spoken(end=True, whole=whole, ident=ident, usage=Usage(told.input_tokens, told.output_tokens, cached))


# ── what is sent ──────────────────────────────────────────────────────────────────────────────────────────────────────


def session_update(modality: str) -> bytes:
    """What answers are to be: ``audio`` (with what is spoken, written down) or ``text``."""
    return encoded({"type": "session.update", "session": {"type": "realtime", "output_modalities": [modality]}})


_PARTS = {"assistant": "output_text"}


def items(messages: Sequence[Message]) -> list[bytes]:
    """Messages as items of the conversation."""
    return [encoded({"type": "conversation.item.create", "item": _item(message)}) for message in messages]


def _item(message: Message) -> dict[str, object]:
    role = str(message.get("role"))
    part = {"type": _PARTS.get(role, "input_text"), "text": flat(message.get("content"))}
    return {"type": "message", "role": role, "content": [part]}


def response_create(max_tokens: int | None) -> bytes:
    """Asks for an answer."""
    limit = None if max_tokens is None else {"max_output_tokens": max_tokens}
    return encoded({"type": "response.create", "response": limit})
