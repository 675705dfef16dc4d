"""The tools of a loop: what the model asked for, and what came of it, as text that the model reads."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from perfsuite.chatloop.calls import Call, Outcome, TookTooLong
from perfsuite.chatloop.workers import Owner, TooManyHanging
from perfsuite.errors import PerfsuiteError

Kind = Literal["unknown", "arguments", "refused", "timeout", "raised", "too_large", "not_text"]
KINDS: tuple[Kind, ...] = ("unknown", "arguments", "refused", "timeout", "raised", "too_large", "not_text")
"""Why there is no result: no such tool, arguments that are no JSON object, too many calls (in one answer, or that still
hang), no result in time, an exception, a result of too many characters, or one that JSON cannot write."""

Tools = Mapping[str, Callable[..., Any]]


class ToolFailed(PerfsuiteError):
    """A tool without a result; the model is told the text."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model asks for.  ``problem``: why its arguments cannot be used."""

    name: str
    arguments: Mapping[str, Any]
    id: str
    problem: str | None = None

    def message(self) -> dict[str, Any]:
        """As an assistant's message has it."""
        function = {"name": self.name, "arguments": json.dumps(self.arguments, default=str)}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call: the text for the model, and, where it failed, why (``failed``)."""

    call: ToolCall
    text: str
    failed: Kind | None
    elapsed_ms: float

    def message(self) -> dict[str, Any]:
        """As the history has it."""
        return {"role": "tool", "tool_call_id": self.call.id, "name": self.call.name, "content": self.text}


def tools_of(tools: Tools | Iterable[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Tools by name: a mapping, or functions, which have names."""
    found = dict(tools) if isinstance(tools, Mapping) else {one.__name__: one for one in tools}
    for name, function in found.items():
        if not callable(function):
            raise TypeError(f"the tool {name!r} is of type {type(function).__name__}; it must be a function")
    return found


def tool_calls(given: object) -> list[ToolCall]:
    """The calls of an answer: in OpenAI's form, or ``{"name": …, "args": …}``."""
    if given is None:
        return []
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise TypeError(f"tool_calls must be a list, not {type(given).__name__}")
    return [_call(one, number) for number, one in enumerate(given)]


def _call(given: object, number: int) -> ToolCall:
    if isinstance(given, ToolCall):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(f"tool_calls[{number}] must be a mapping, not {type(given).__name__}")
    function = given.get("function")
    inner = function if isinstance(function, Mapping) else given
    name = inner.get("name")
    if not isinstance(name, str) or not name:
        raise TypeError(f"tool_calls[{number}] has no name")
    identity = str(given.get("id") or f"call-{number}")
    arguments = inner.get("arguments", inner.get("args"))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError as error:
            return ToolCall(name, {}, identity, f"its arguments are no JSON: {error}")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
        return ToolCall(name, {}, identity, f"its arguments are no JSON object, but {type(arguments).__name__}")
    try:
        json.dumps(arguments, default=str)  # as the history will have them
    except (TypeError, ValueError, RecursionError) as error:
        return ToolCall(name, {}, identity, f"its arguments cannot be written as JSON: {error}")
    return ToolCall(name, arguments, identity)


def prepared(
    call: ToolCall, place: int, tools: Tools, most: int, timeout_s: float | None, owner: Owner
) -> Call | ToolResult:
    """The call of a tool, or the result that says why it is not made.  ``place``: its number in the answer, from 0."""
    if place >= most:
        return _without(call, "refused", f"more than {most} calls in one answer (max_tools)")
    if call.name not in tools:
        known = ", ".join(sorted(tools)) or "none"
        return _without(call, "unknown", f"there is no tool {call.name!r}; there is: {known}")
    if call.problem is not None:
        return _without(call, "arguments", call.problem)
    return Call(tools[call.name], owner, (), call.arguments, timeout_s, apart=True, name=call.name)


def result_of(call: ToolCall, outcome: Outcome, most: int) -> ToolResult:
    """What came of a call that was made; a text of more than ``most`` characters is never built."""
    error = outcome.error
    if error is None:
        try:
            return ToolResult(call, _text(outcome.value, most), None, outcome.elapsed_ms)
        except _TooLarge as larger:
            return _without(call, "too_large", str(larger), outcome.elapsed_ms)
        except (TypeError, ValueError, RecursionError) as wrong:
            return _without(call, "not_text", f"its result cannot be written as JSON: {wrong}", outcome.elapsed_ms)
    if isinstance(error, TookTooLong):
        return _without(call, "timeout", str(error), outcome.elapsed_ms)
    if isinstance(error, TooManyHanging):
        return _without(call, "refused", str(error), outcome.elapsed_ms)
    return _without(call, "raised", f"{type(error).__name__}: {_short(str(error))}", outcome.elapsed_ms)


def _without(call: ToolCall, kind: Kind, text: str, elapsed_ms: float = 0.0) -> ToolResult:
    return ToolResult(call, f"error: {text}", kind, elapsed_ms)


def _short(text: str) -> str:
    return text if len(text) <= 1000 else f"{text[:1000]}… ({len(text):,} characters)"


class _TooLarge(Exception):
    pass


def _text(value: object, most: int) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        if len(value) > 4 * most:
            raise _TooLarge(f"it returned {len(value):,} bytes, {most:,} characters are allowed (max_tool_result)")
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        if len(value) > most:
            raise _TooLarge(f"it returned {len(value):,} characters, {most:,} are allowed (max_tool_result)")
        return value
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()  # it is not going to be awaited, and that is said here
        raise TypeError(f"it is a {type(value).__name__} to be awaited; give the async function itself as the tool")
    if _holds_more(value, most):  # else a gigabyte in a list would be written out before it is refused
        raise _TooLarge(f"it returned more than {most:,} characters (max_tool_result)")
    pieces, length = [], 0
    for piece in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
        length += len(piece)
        if length > most:
            raise _TooLarge(f"it returned more than {most:,} characters of JSON (max_tool_result)")
        pieces.append(piece)
    return "".join(pieces)


def _holds_more(value: object, most: int) -> bool:
    """Whether the texts and items in lists and mappings come to more than so many."""
    left, total, seen = [value], 0, set()
    while left and total <= most:
        one = left.pop()
        if isinstance(one, str | bytes | bytearray):
            total += len(one)
        elif isinstance(one, Mapping | list | tuple | set | frozenset) and id(one) not in seen:
            seen.add(id(one))
            total += len(one)
            if total <= most:
                left += [*one, *one.values()] if isinstance(one, Mapping) else one
    return total > most


def described(result: ToolResult) -> str:
    """A result on one line, for the log."""
    came = f"{len(result.text):,} characters" if result.failed is None else _short(result.text)
    arguments = _short(json.dumps(dict(result.call.arguments), default=str, ensure_ascii=False))
    return f"{result.call.name}({arguments}) took {result.elapsed_ms:.1f} ms: {came}"
