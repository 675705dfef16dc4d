"""Reads the answers of a template's service."""

from __future__ import annotations

import codecs
from collections.abc import Mapping

import msgspec

from perfsuite.targets.http.dialect import NOTHING, Piece, Usage, WrongShape, agents_in, decoding, flat, reported
from perfsuite.targets.http.failures import message_in, worded
from perfsuite.targets.http.paths import MISSING, JsonPath, says_something
from perfsuite.targets.http.template_file import StreamForm

PROMPT_NAMES = ("prompt_tokens", "input_tokens", "prompt_eval_count")
COMPLETION_NAMES = ("completion_tokens", "output_tokens", "eval_count")
_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_CACHED = ("cached_tokens", "cache_read", "cache_read_input_tokens")

_decode = decoding(object)


class TemplateReader:
    """One answer, as ``form`` says it reads.  ``echo`` is the message that was sent: services that resend their whole
    state begin with it, and it is no answer."""

    def __init__(self, form: StreamForm, echo: str) -> None:
        self._form = form
        self._echo = echo
        self._so_far = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def classify(self, name: str, payload: bytes) -> Piece:
        form = self._form
        if isinstance(form.done, str) and (form.done == f"event:{name}" or form.done.encode() == payload):
            return Piece(end=True)
        if form.kind == "text":  # a piece may end within a character
            return Piece(text=self._decoder.decode(payload))
        if name == "error" and name not in form.events:
            return reported(message_in(payload))
        if form.events and name not in form.events:
            return NOTHING
        if form.text is None and form.usage is None and not form.errors and not isinstance(form.done, JsonPath):
            return self._text(payload.decode("utf-8", "replace"), False)
        if payload == b"[DONE]":
            return Piece(end=True)
        return self._document(_decode(payload), payload)

    def whole(self, payload: bytes) -> Piece:
        """A body that is one JSON document, or with no path to its text, text."""
        form = self._form
        if form.text is None and not form.errors and form.usage is None:
            return Piece(text=payload.decode("utf-8", "replace"), end=True)
        document = _decode(payload)
        piece = self._document(document, payload)
        if piece.error is None and form.text is not None and not isinstance(form.text.find(document), str | list):
            raise WrongShape(f"there is no text at {form.text.text} in {_start(payload)}")
        return piece if piece.error is not None else msgspec.structs.replace(piece, end=True)

    def _document(self, document: object, payload: bytes) -> Piece:
        form = self._form
        for sign in form.errors:
            error = sign.seen(document)
            if error is not None:
                return reported(worded(error))
        usage = usage_of(form.usage.find(document)) if form.usage is not None else None
        end = isinstance(form.done, JsonPath) and says_something(form.done.find(document))
        found = document if form.text is None else form.text.find(document)
        text = flat(found) if found is not MISSING else ""
        piece = self._text(text, end)
        return piece if usage is None else msgspec.structs.replace(piece, usage=usage)

    def _text(self, text: str, end: bool) -> Piece:
        if not self._form.cumulative:
            return Piece(text=text, end=end)
        if text in ("", self._so_far) or (text == self._echo and not self._so_far):
            return Piece(end=end)
        before, self._so_far = self._so_far, text
        if text.startswith(before):
            return Piece(text=text[len(before) :], end=end)
        return Piece(text=text, replaces=True, end=end)


def usage_of(value: object) -> Usage | None:
    """Token counts under any of the names that services give them."""
    if not isinstance(value, Mapping):
        return None
    cached = _count(value, _CACHED)
    for name in _DETAILS:
        inner = value.get(name)
        if cached is None and isinstance(inner, Mapping):
            cached = _count(inner, _CACHED)
    return Usage(_count(value, PROMPT_NAMES), _count(value, COMPLETION_NAMES), cached, agents_in(value.get("agents")))


def _count(value: Mapping[str, object], names: tuple[str, ...]) -> int | None:
    return next((n for name in names if isinstance(n := value.get(name), int) and not isinstance(n, bool)), None)


def _start(payload: bytes) -> str:
    return repr(payload[:80].decode("utf-8", "replace"))
