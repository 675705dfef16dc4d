"""The stand-in's requests and answers on the wire: OpenAI's chat completions and embeddings."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Mapping

from perfsuite.serve.dialect import encode, event
from perfsuite.serve.http import BadRequest, head
from perfsuite.serve.openai_chat import openai_error

MOST_TEXTS = 2048
CHARACTERS_PER_TOKEN = 4


def texts(given: object) -> list[str]:
    """The texts of a request for embeddings: one or several, each text or tokens, which are embedded as words."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        raise BadRequest(400, "input must be text, or a list of texts that is not empty")
    if all(isinstance(one, int) for one in given):
        return [_words(given)]
    if len(given) > MOST_TEXTS:
        raise BadRequest(400, f"input has {len(given)} texts: send at most {MOST_TEXTS} at once")
    texts: list[str] = []
    for index, one in enumerate(given):
        if isinstance(one, str):
            texts.append(one)
        elif isinstance(one, list) and one and all(isinstance(token, int) for token in one):
            texts.append(_words(one))
        else:
            raise BadRequest(400, f"input[{index}] must be text or a list of tokens")
    return texts


def _words(tokens: list[int]) -> str:
    return " ".join(f"token{token}" for token in tokens)


def packed(vector: list[float]) -> str:
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode("ascii")


def usage(characters_in: int, characters_out: int | None) -> dict[str, int]:
    """Tokens, at four characters each."""
    prompt = -(-characters_in // CHARACTERS_PER_TOKEN)
    completion = -(-(characters_out or 0) // CHARACTERS_PER_TOKEN)
    usage = {"prompt_tokens": prompt, "total_tokens": prompt + completion}
    return usage if characters_out is None else {**usage, "completion_tokens": completion}


def streamed(
    answer: dict[str, object], message: Mapping[str, object], finish: str, usage: object, keep_alive: bool
) -> bytes:
    """The answer as a stream of three events: all of it, why it ends, and the usage."""
    calls = message.get("tool_calls")
    delta = dict(message)
    if isinstance(calls, list):
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
    base = {**answer, "object": "chat.completion.chunk"}
    data = event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    data += event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    data += event({**base, "choices": [], "usage": usage}) + b"data: [DONE]\n\n"
    return _response(200, "text/event-stream; charset=utf-8", data, keep_alive)


def whole(status: int, value: object, keep_alive: bool) -> bytes:
    return _response(status, "application/json", encode(value), keep_alive)


def _response(status: int, kind: str, data: bytes, keep_alive: bool) -> bytes:
    fields = [
        ("Content-Type", kind),
        ("Content-Length", str(len(data))),
        ("Connection", "keep-alive" if keep_alive else "close"),
    ]
    return head(status, fields) + data


def relayed(status: int, kind: str, data: bytes, keep_alive: bool) -> bytes:
    """An answer of somebody else, as it came."""
    return _response(status, kind, data, keep_alive)


def failure(error: BadRequest, *, keep_alive: bool) -> bytes:
    return whole(error.status, openai_error(error.status, error.message, error.code), keep_alive)
