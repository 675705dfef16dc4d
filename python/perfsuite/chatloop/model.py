"""What a loop knows of a model: a function of messages, and what it gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfsuite.chatloop.tools import ToolCall, tool_calls
from perfsuite.errors import PerfsuiteError

Message = dict[str, Any]
Model = Callable[[list[Message]], Any]
"""Gets OpenAI-style messages; gives text, an assistant's message (a mapping), or a ModelReply; it may be async."""


def adopt_texts(history: list[Message]) -> None:
    """Makes messages, in place, of a history of plain texts, as the guide's samples give it: the user's and the
    assistant's in turns, the user's first.  Whether it is one is told by its ends, for this is asked at every turn.

    Raises TypeError for what no message can be added to."""
    if not isinstance(history, list):
        raise TypeError(f"conversation_history is of type {type(history).__name__}; it must be a list of messages")
    if history and (isinstance(history[0], str) or isinstance(history[-1], str)):
        for place, one in enumerate(history):
            if isinstance(one, str):
                history[place] = {"role": ("user", "assistant")[place % 2], "content": one}


class ModelFailed(PerfsuiteError):
    """The model raised, or gave what is no answer; its own exception is the cause."""


class ModelTimeout(ModelFailed, TimeoutError):
    """The model was not back within llm_timeout_s."""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """An answer.  Token counts are None where the model does not tell them."""

    text: str
    tool_calls: Sequence[ToolCall] = field(default_factory=tuple)
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning: str | None = None

    @classmethod
    def of(cls, given: object) -> ModelReply:
        """What a model gave, whatever its form; ModelFailed for what is none."""
        if isinstance(given, ModelReply):
            return given
        if isinstance(given, str):
            return cls(given)
        if not isinstance(given, Mapping):
            raise ModelFailed(
                f"the model gave an object of type {type(given).__name__}; it must give text or a message"
            )
        text = given.get("content")
        if text is not None and not isinstance(text, str):
            raise ModelFailed(f"the model's content is of type {type(text).__name__}; it must be text")
        usage = given.get("usage")
        counts = usage if isinstance(usage, Mapping) else {}
        reasoning = given.get("reasoning") or given.get("reasoning_content")
        try:
            calls = tool_calls(given.get("tool_calls"))
        except TypeError as error:
            raise ModelFailed(f"the model's answer cannot be used: {error}") from error
        return cls(
            text=text or "",
            tool_calls=calls,
            prompt_tokens=_count(counts.get("prompt_tokens")),
            completion_tokens=_count(counts.get("completion_tokens")),
            reasoning=reasoning if isinstance(reasoning, str) else None,
        )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


class SimulatedModel:
    """The reference system's simulated model: it answers from the messages alone, after ``delay_s``."""

    simulated = True

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s

    def __call__(self, messages: list[Message]) -> ModelReply:
        from perfsuite.reference.model import answer
        from perfsuite.reference.tokenizer import count_prompt, count_text, render

        if self.delay_s:
            time.sleep(self.delay_s)
        prompt = render(messages)
        text = answer(prompt)
        return ModelReply(text, prompt_tokens=count_prompt(prompt), completion_tokens=count_text(text))
