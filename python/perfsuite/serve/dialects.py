"""What each API looks like on the wire: a request read, an answer written, in pieces or whole, and an error.

OpenAI chat completions and Anthropic messages are here, the others in ``responses.py`` and ``ollama.py``.  Field names
and the order of events are those of the providers' published references.
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
    """The tokens of one answer; ``cached`` of the prompt's."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0


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


class OpenAIChat(Dialect):
    """POST /v1/chat/completions."""

    path = "/v1/chat/completions"
    prefix = "chatcmpl-"

    def read(self, body: Mapping[str, object]) -> Asked:
        options = body.get("stream_options")
        return Asked(
            model=text_of(body, "model") or "",
            messages=messages_of(body.get("messages")),
            stream=body.get("stream") is True,
            max_tokens=whole_number(body, "max_completion_tokens", "max_tokens"),
            include_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
            user=text_of(body, "user"),
            conversation=named_in(body, "conversation_id"),
        )

    def _event(self, answer: Answer, delta: object, finish: str | None = None) -> bytes:
        value = {
            "id": self.prefix + answer.ident,
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": answer.model,
            "system_fingerprint": "fp_perfsuite",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        if answer.include_usage:
            value["usage"] = None
        return event(value)

    def opening(self, answer: Answer) -> bytes:
        return self._event(answer, {"role": "assistant", "content": ""})

    def piece(self, answer: Answer, text: str, index: int) -> bytes:
        return self._event(answer, {"content": text})

    def closing(self, answer: Answer, text: str, pieces: int) -> bytes:
        last = self._event(answer, {}, answer.finish)
        if not answer.include_usage:
            return last
        return last + event(
            {
                "id": self.prefix + answer.ident,
                "object": "chat.completion.chunk",
                "created": answer.created,
                "model": answer.model,
                "system_fingerprint": "fp_perfsuite",
                "choices": [],
                "usage": self._usage(answer.usage),
            }
        )

    def end(self, answer: Answer, text: str, pieces: int) -> bytes:
        return b"data: [DONE]\n\n"

    @staticmethod
    def _usage(usage: Usage) -> object:
        return {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.prompt + usage.completion,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }

    def whole(self, answer: Answer, text: str) -> object:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {
            "id": self.prefix + answer.ident,
            "object": "chat.completion",
            "created": answer.created,
            "model": answer.model,
            "system_fingerprint": "fp_perfsuite",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}],
            "usage": self._usage(answer.usage),
        }

    def error(self, status: int, message: str, code: str = "") -> object:
        return openai_error(status, message, code)


def openai_error(status: int, message: str, code: str = "") -> object:
    """An error as OpenAI's APIs write it."""
    kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code or None}}


ANTHROPIC_KINDS = {
    400: "invalid_request_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


class AnthropicMessages(Dialect):
    """POST /v1/messages."""

    path = "/v1/messages"
    prefix = "msg_"

    def read(self, body: Mapping[str, object]) -> Asked:
        messages = messages_of(body.get("messages"))
        system = words_of(body.get("system"))
        if system:
            messages.insert(0, {"role": "system", "content": system})
        limit = whole_number(body, "max_tokens")
        if limit is None:
            raise BadRequest(400, "max_tokens: Field required")
        return Asked(
            model=text_of(body, "model") or "",
            messages=messages,
            stream=body.get("stream") is True,
            max_tokens=limit,
            include_usage=True,
            user=named_in(body, "user_id"),
            conversation=named_in(body, "conversation_id"),
        )

    @staticmethod
    def _event(value: dict[str, object]) -> bytes:
        return event(value, str(value["type"]))

    @staticmethod
    def _input(usage: Usage) -> dict[str, int]:
        return {
            "input_tokens": usage.prompt - usage.cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": usage.cached,
        }

    def _message(self, answer: Answer, content: list[object], reason: str | None, output: int) -> dict[str, object]:
        return {
            "id": self.prefix + answer.ident,
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {**self._input(answer.usage), "output_tokens": output},
        }

    @staticmethod
    def _reason(answer: Answer) -> str:
        return "max_tokens" if answer.finish == "length" else "end_turn"

    def opening(self, answer: Answer) -> bytes:
        block = {"type": "text", "text": ""}
        return (
            self._event({"type": "message_start", "message": self._message(answer, [], None, 1)})
            + self._event({"type": "content_block_start", "index": 0, "content_block": block})
            + self._event({"type": "ping"})
        )

    def piece(self, answer: Answer, text: str, index: int) -> bytes:
        return self._event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    def closing(self, answer: Answer, text: str, pieces: int) -> bytes:
        delta = {"stop_reason": self._reason(answer), "stop_sequence": None}
        usage = {**self._input(answer.usage), "output_tokens": answer.usage.completion}
        return self._event({"type": "content_block_stop", "index": 0}) + self._event(
            {"type": "message_delta", "delta": delta, "usage": usage}
        )

    def end(self, answer: Answer, text: str, pieces: int) -> bytes:
        return self._event({"type": "message_stop"})

    def whole(self, answer: Answer, text: str) -> object:
        content: list[object] = [{"type": "text", "text": text}]
        return self._message(answer, content, self._reason(answer), answer.usage.completion)

    def error(self, status: int, message: str, code: str = "") -> object:
        return {"type": "error", "error": {"type": ANTHROPIC_KINDS.get(status, "api_error"), "message": message}}

    def failing(self, message: str) -> bytes:
        value = {"type": "error", "error": {"type": "overloaded_error", "message": message}}
        return event(value, "error")
