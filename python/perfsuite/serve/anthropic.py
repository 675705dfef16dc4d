"""Anthropic's messages as a server gives them."""

from __future__ import annotations

from collections.abc import Mapping

from perfsuite.serve.dialect import (
    Answer,
    Asked,
    Dialect,
    Usage,
    event,
    messages_of,
    named_in,
    text_of,
    whole_number,
    words_of,
)
from perfsuite.serve.http import BadRequest

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
