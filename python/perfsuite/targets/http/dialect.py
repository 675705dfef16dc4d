"""A dialect: what a chat service is sent and how its answer reads, as data and pure functions.

Nothing here touches a socket or a clock: the asyncio client and the wire engine use the same dialects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import msgspec

from perfsuite.errors import shown
from perfsuite.targets.base import AgentCall, Request
from perfsuite.targets.http.client import Call
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.splitting import StreamKind


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens as the server counts them; None where it does not say.  ``agents``: those of each named component that
    calls a model, where the service tells them apart."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    agents: tuple[AgentCall, ...] = ()

    def then(self, later: Usage) -> Usage:
        """This, with what a later event says in its place."""
        return Usage(
            self.prompt_tokens if later.prompt_tokens is None else later.prompt_tokens,
            self.completion_tokens if later.completion_tokens is None else later.completion_tokens,
            self.cached_tokens if later.cached_tokens is None else later.cached_tokens,
            later.agents or self.agents,
        )


def agents_in(told: object) -> tuple[AgentCall, ...]:
    """What a service tells of its agents beside its usage: ``{"planner": {"model": …, "prompt_tokens": …,
    "completion_tokens": …}}``; nothing where it tells it otherwise."""
    if not isinstance(told, Mapping):
        return ()
    found = []
    for agent, spent in told.items():
        if not isinstance(spent, Mapping):
            return ()
        counts = [spent.get("prompt_tokens", 0), spent.get("completion_tokens", 0)]
        if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
            return ()
        model = spent.get("model")
        found.append(AgentCall(str(agent), model if isinstance(model, str) else None, *counts))
    return tuple(found)


class Piece(msgspec.Struct, frozen=True, gc=False):
    """What one event means.

    ``text`` is of the visible answer; ``hidden`` of reasoning or a tool call.  Either makes the event a content chunk:
    a role, an empty delta or a keep-alive is none.  ``replaces``: ``text`` is the whole answer, not more of it.
    ``end``: the answer is complete.  ``error``: the service reports one, inside a 200.
    """

    text: str = ""
    hidden: str = ""
    replaces: bool = False
    chunk: bool = True
    usage: Usage | None = None
    end: bool = False
    error: str | None = None
    model: str | None = None


NOTHING = Piece()
END = Piece(end=True)


class WrongShape(Exception):
    """A payload that is not what the dialect says it is; the text names what is wrong with it, and where."""


class Reader(Protocol):
    """Reads one answer, event by event."""

    def classify(self, name: str, payload: bytes) -> Piece:
        """What an event means.  Raises WrongShape."""

    def whole(self, payload: bytes) -> Piece:
        """What a body that was not streamed means.  Raises WrongShape."""


class Dialect(Protocol):
    """``stream``: how the answer is split.  ``marks_end``: a complete answer says so itself, and one that does not was
    cut short.  ``rules`` and ``finish``: the same reading for the wire engine, which decodes nothing.  ``adaptable``:
    ``adapted`` may know a way out of a refusal."""

    @property
    def name(self) -> str: ...

    @property
    def stream(self) -> StreamKind: ...

    @property
    def marks_end(self) -> bool: ...

    @property
    def rules(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def finish(self) -> str | None: ...

    @property
    def adaptable(self) -> bool: ...

    @property
    def models_path(self) -> str: ...

    def call(self, request: Request, model: str | None) -> Call: ...

    def models_call(self) -> Call: ...

    def models(self, payload: bytes) -> list[str]: ...

    def reader(self, request: Request) -> Reader: ...

    def adapted(self, refusal: str) -> Dialect | None:
        """The same without what a server refused in these words; None when there is nothing to leave out."""


JSON_HEADERS = (("Content-Type", "application/json"), ("User-Agent", "perfsuite"), ("Accept-Encoding", "identity"))


def bearer(key: Secret | None) -> tuple[tuple[str, str], ...]:
    """The header that carries a key, when there is one."""
    return (("Authorization", f"Bearer {key.reveal()}"),) if key is not None else ()


def encoded(body: Mapping[str, object]) -> bytes:
    """A JSON body, what is None left out."""
    return msgspec.json.encode({name: value for name, value in body.items() if value is not None})


def encoded_json(value: object) -> bytes:
    """Any JSON value as it is."""
    return msgspec.json.encode(value)


_KNOWN = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})


def plain(messages: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Messages with the fields that services know: a workload's own marks (``pinned``) are not sent.  Those that have
    no others are given as they are: a long conversation is written again with each of its messages."""
    return [
        message if message.keys() <= _KNOWN else {name: message[name] for name in message if name in _KNOWN}
        for message in messages
    ]


Shape = TypeVar("Shape")


def decoding(shape: type[Shape]) -> Callable[[bytes], Shape]:
    """What reads payloads of that shape; it raises WrongShape.

    Bytes that are no UTF-8, a half of a character's escapes and bare control characters are each read as one strange
    character: the wire engine, which decodes nothing, passes over them, and both must call the same answer malformed.
    """
    decode = msgspec.json.Decoder(shape).decode

    def decoded(payload: bytes) -> Shape:
        try:
            return decode(payload)
        except msgspec.ValidationError as error:
            raise wrong(payload, error) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            try:
                return decode(mended(payload))
            except (ValueError, RecursionError):  # what was wrong at first is what to tell
                raise wrong(payload, error) from error

    return decoded


def mended(payload: bytes) -> bytes:
    """The same JSON with what is no character replaced.  Raises ValueError, RecursionError for what is no JSON."""
    document = json.loads(payload.decode("utf-8", "replace"), strict=False)
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def lacking(payload: bytes, what: str) -> WrongShape:
    """The error for a payload in which there is not what makes it one; ``what`` as in "there is no answer"."""
    return wrong(payload, msgspec.ValidationError(f"there is {what} in it"))


def reported(words: str) -> Piece:
    """An error that the service reports, in its words where it has some."""
    return Piece(error=words or "an error without words")


def wrong(payload: bytes, error: Exception) -> WrongShape:
    """The error for a payload that cannot be read."""
    start = shown(payload[:80].decode("utf-8", "replace"))
    kind = "is not the expected JSON" if isinstance(error, msgspec.ValidationError) else "is not JSON"
    return WrongShape(f"{start} {kind}: {error}")


def flat(content: object) -> str:
    """The text of a content field: text, or a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(flat, content))
    if isinstance(content, Mapping):
        return flat(content.get("text"))
    return ""
