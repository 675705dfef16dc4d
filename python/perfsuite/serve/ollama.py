"""Ollama's chat API as a server gives it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from perfsuite.serve.dialect import Answer, Asked, Dialect, encode, messages_of, named_in, text_of, whole_number


class Ollama(Dialect):
    """POST /api/chat: a line of JSON for each piece."""

    path = "/api/chat"
    content_type = "application/x-ndjson"

    def read(self, body: Mapping[str, object]) -> Asked:
        options = body.get("options")
        return Asked(
            model=text_of(body, "model") or "",
            messages=messages_of(body.get("messages")),
            stream=body.get("stream") is not False,
            max_tokens=self._limit(options) if isinstance(options, Mapping) else None,
            include_usage=True,
            conversation=named_in(body, "conversation_id"),
        )

    @staticmethod
    def _limit(options: Mapping[str, object]) -> int | None:
        limit = options.get("num_predict")
        return None if limit in (-1, -2) else whole_number(options, "num_predict")

    @staticmethod
    def _line(answer: Answer, text: str, **more: object) -> bytes:
        return encode(Ollama._value(answer, text, **more)) + b"\n"

    @staticmethod
    def _value(answer: Answer, text: str, **more: object) -> dict[str, object]:
        made = datetime.fromtimestamp(answer.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        message = {"role": "assistant", "content": text}
        return {"model": answer.model, "created_at": made, "message": message, "done": False, **more}

    @staticmethod
    def _counts(answer: Answer) -> dict[str, object]:
        return {
            "done": True,
            "done_reason": answer.finish,
            "prompt_eval_count": answer.usage.prompt,
            "eval_count": answer.usage.completion,
        }

    def opening(self, answer: Answer) -> bytes:
        return b""

    def piece(self, answer: Answer, text: str, index: int) -> bytes:
        return self._line(answer, text)

    def closing(self, answer: Answer, text: str, pieces: int) -> bytes:
        return b""  # its counts are in the line that ends it

    def end(self, answer: Answer, text: str, pieces: int) -> bytes:
        return self._line(answer, "", **self._counts(answer))

    def whole(self, answer: Answer, text: str) -> object:
        return self._value(answer, text, **self._counts(answer))

    def error(self, status: int, message: str, code: str = "") -> object:
        return {"error": message}

    def failing(self, message: str) -> bytes:
        return encode(self.error(500, message)) + b"\n"

    def broken(self) -> bytes:
        return b'{"message":{"content":\n'
