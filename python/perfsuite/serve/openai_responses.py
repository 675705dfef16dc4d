"""OpenAI's responses API as a server gives it."""

from __future__ import annotations

from collections.abc import Mapping

from perfsuite.serve.dialect import (
    Answer,
    Asked,
    Dialect,
    Message,
    event,
    messages_of,
    named_in,
    text_of,
    whole_number,
)
from perfsuite.serve.http import BadRequest
from perfsuite.serve.openai_chat import openai_error

OPENING_EVENTS = 4


class OpenAIResponses(Dialect):
    """POST /v1/responses."""

    path = "/v1/responses"
    prefix = "resp_"

    def read(self, body: Mapping[str, object]) -> Asked:
        given = body.get("input")
        messages: list[Message]
        if isinstance(given, str) and given:
            messages = [{"role": "user", "content": given}]
        elif isinstance(given, list):
            messages = messages_of(given, "input")
        else:
            raise BadRequest(400, "input must be text or a list of messages")
        instructions = text_of(body, "instructions")
        if instructions:
            messages.insert(0, {"role": "system", "content": instructions})
        conversation = body.get("conversation")
        if isinstance(conversation, Mapping):
            conversation = conversation.get("id")
        return Asked(
            model=text_of(body, "model") or "",
            messages=messages,
            stream=body.get("stream") is True,
            max_tokens=whole_number(body, "max_output_tokens"),
            include_usage=True,
            user=text_of(body, "user"),
            conversation=conversation if isinstance(conversation, str) else named_in(body, "conversation_id"),
        )

    @staticmethod
    def _item(answer: Answer, text: str | None, status: str) -> dict[str, object]:
        part: dict[str, object] = {"type": "output_text", "text": text, "annotations": []}
        return {
            "id": f"msg_{answer.ident}",
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": [] if text is None else [part],
        }

    def _response(self, answer: Answer, status: str, text: str | None) -> dict[str, object]:
        usage = answer.usage
        done = text is not None
        return {
            "id": self.prefix + answer.ident,
            "object": "response",
            "created_at": answer.created,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": answer.model,
            "output": [self._item(answer, text, status)] if done else [],
            "usage": {
                "input_tokens": usage.prompt,
                "input_tokens_details": {"cached_tokens": usage.cached},
                "output_tokens": usage.completion,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt + usage.completion,
            }
            if done
            else None,
        }

    @staticmethod
    def _events(first: int, *values: dict[str, object]) -> bytes:
        return b"".join(
            event({"type": value["type"], "sequence_number": first + index, **value}, str(value["type"]))
            for index, value in enumerate(values)
        )

    @staticmethod
    def _status(answer: Answer) -> str:
        return "incomplete" if answer.finish == "length" else "completed"

    def opening(self, answer: Answer) -> bytes:
        response = self._response(answer, "in_progress", None)
        item = self._item(answer, None, "in_progress")
        place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        return self._events(
            0,
            {"type": "response.created", "response": response},
            {"type": "response.in_progress", "response": response},
            {"type": "response.output_item.added", "output_index": 0, "item": item},
            {
                "type": "response.content_part.added",
                **place,
                "part": {"type": "output_text", "text": "", "annotations": []},
            },
        )

    def piece(self, answer: Answer, text: str, index: int) -> bytes:
        place = {"item_id": f"msg_{answer.ident}", "output_index": 0, "content_index": 0}
        return self._events(OPENING_EVENTS + index, {"type": "response.output_text.delta", **place, "delta": text})

    def closing(self, answer: Answer, text: str, pieces: int) -> bytes:
        item = self._item(answer, text, self._status(answer))
        place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        part = {"type": "output_text", "text": text, "annotations": []}
        return self._events(
            OPENING_EVENTS + pieces,
            {"type": "response.output_text.done", **place, "text": text},
            {"type": "response.content_part.done", **place, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
        )

    def end(self, answer: Answer, text: str, pieces: int) -> bytes:
        status = self._status(answer)
        response = self._response(answer, status, text)
        return self._events(OPENING_EVENTS + pieces + 3, {"type": f"response.{status}", "response": response})

    def whole(self, answer: Answer, text: str) -> object:
        return self._response(answer, self._status(answer), text)

    def error(self, status: int, message: str, code: str = "") -> object:
        return openai_error(status, message, code)

    def failing(self, message: str) -> bytes:
        value = {"type": "error", "code": "server_error", "message": message, "param": None}
        return event(value, "error")
