"""OpenAI's chat completions as a server gives them."""

from __future__ import annotations

from collections.abc import Mapping

from perfsuite.serve.dialect import Answer, Asked, Dialect, Usage, event, messages_of, named_in, text_of, whole_number


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
        """As OpenAI has it; ``agents``, which OpenAI has not, tells the system's agents apart (the checkpoint reads
        it)."""
        more = {"agents": usage.agents} if usage.agents else {}
        return {
            **more,
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
