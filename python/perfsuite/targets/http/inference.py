"""How an answer reads, found out from one that came: its kind, where its text lies, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from perfsuite.targets.base import Failure
from perfsuite.targets.http.failures import worded
from perfsuite.targets.http.splitting import Splitter
from perfsuite.targets.http.template_reader import usage_of

_TEXTS = (
    "content", "text", "delta", "token", "answer", "response", "reply", "message", "output", "completion", "result",
    "chunk", "generated_text", "assistant", "data", "value",
)  # fmt: skip
_NO_TEXTS = (
    "id", "role", "type", "model", "object", "created", "status", "event", "finish_reason", "name", "error", "session",
    "timestamp", "created_at", "user", "version", "kind", "time", "date",
)  # fmt: skip
_GOOD = ("success", "ok", "succeeded")
_WELL = ("ok", "success", "succeeded")
"""A truth of such a name says that an answer is one, and so does a status of such a value; ``error`` there: none."""

_ENDS = ("done", "finished", "is_final", "final", "complete", "completed", "end", "is_finished")

Event = tuple[str, bytes]


def infer_stream(content_type: str, body: bytes, message: str) -> dict[str, object]:
    """The ``[stream]`` table for answers like this one.  Raises Failure when no text can be found in it."""
    kind = content_type.partition(";")[0].strip().lower()
    start = body.lstrip(b"\xef\xbb\xbf\r\n ")
    if kind == "text/event-stream" or start.startswith((b"data:", b"event:")):
        return _events(_split("sse", body), message)
    whole = _document(body)
    if whole is not None:
        if isinstance(whole, Mapping | list):
            return {"kind": "none", **_within([whole], message)}
        return {"kind": "none", "text": "$"} if isinstance(whole, str) else {"kind": "none"}
    lines = _split("ndjson", body)
    if len(lines) > 1 and all(isinstance(_document(payload), Mapping) for _, payload in lines):
        return {"kind": "ndjson", **_within([_document(payload) for _, payload in lines], message)}
    if not body.strip():
        raise Failure("malformed", "the answer is empty")
    if "html" in kind:
        raise Failure("malformed", "the answer is an HTML page, not a chat's")
    return {"kind": "text"}


def infer_name(body: bytes, wanted: str) -> str | None:
    """Where the name of what a request made lies in its answer: under the name that is ``wanted``, as an ``id``, or
    under the only name that ends so; None where nothing does."""
    document = _document(body)
    if isinstance(document, str):
        return "$"
    names: dict[str, str] = {}
    for path, name, value in _values(document, "$", ""):
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            names.setdefault(name.lower(), path)
    for name in (wanted.lower(), wanted.lower().replace("_", ""), "id", "uuid"):
        if name in names:
            return names[name]
    ends = [path for name, path in names.items() if name.endswith(("_id", "uuid"))]
    return ends[0] if len(ends) == 1 else None


def _values(document: object, path: str, name: str) -> Iterator[tuple[str, str, object]]:
    """(path, name, value) of everything in tables within tables, what is less deep first."""
    if not isinstance(document, Mapping):
        yield path, name, document
        return
    inner = [(f"{path}{_step(key)}", str(key), value) for key, value in document.items()]
    for deep in (False, True):
        for at, key, value in inner:
            if isinstance(value, Mapping) is deep:
                yield from _values(value, at, key)


def _step(key: object) -> str:
    return f".{key}" if _plain(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


def _split(kind: str, body: bytes) -> list[Event]:
    splitter = Splitter("sse" if kind == "sse" else "ndjson")
    return [(name, payload) for _, name, payload in [*splitter.feed(body, 0), *splitter.finish(0)]]


def _document(payload: bytes) -> object:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        return None


def _events(events: Sequence[Event], message: str) -> dict[str, object]:
    if not any(payload for _, payload in events):
        raise Failure("malformed", "the stream has no event with data in it")
    form: dict[str, object] = {"kind": "sse"}
    documents = [(name, _document(payload)) for name, payload in events]
    tables = [(name, document) for name, document in documents if isinstance(document, Mapping | list)]
    last_name, last = events[-1]
    if not tables:
        if len(events) > 1 and last.startswith(b"[") and last.endswith(b"]"):
            form["done"] = last.decode("utf-8", "replace")
            documents.pop()
        if all(isinstance(document, str) for _, document in documents):
            form["text"] = "$"  # each is a text in JSON's quotes
        spoken = list(dict.fromkeys(name for name, _ in events[:-1]))
        told_apart = bool(spoken) and not {"message", last_name} & set(spoken)
        if told_apart and "done" not in form and last_name.lower() in _ENDS:
            form["event"] = spoken if len(spoken) > 1 else spoken[0]  # what the end has with it is no text
        return form
    for name, document in tables:
        if name == "error":
            raise Failure("target", f"the service reports an error: {worded(document)}")
    form |= _within([document for _, document in tables], message)
    texts = _find_all(str(form["text"]), tables)
    named = {name for name, value in texts if value}
    if "message" not in named and named != {name for name, _ in events}:
        form["event"] = sorted(named) if len(named) > 1 else next(iter(named))
    if last_name and last_name not in named and last_name.lower() in _ENDS and "event" in form:
        form["done"] = f"event:{last_name}"  # whatever it says: only events of the names above are read
    elif not isinstance(documents[-1][1], Mapping | list) and last:
        form["done"] = last.decode("utf-8", "replace")
    return form


def _within(documents: Sequence[object], message: str) -> dict[str, object]:
    """Where the text, the usage and the end lie in documents that came one after the other."""
    for document in documents:
        error = document.get("error") if isinstance(document, Mapping) else None
        refused = isinstance(document, Mapping) and any(document.get(name) is False for name in _GOOD)
        if error or refused:
            raise Failure("target", f"the service reports an error in its answer: {worded(error or document)}")
    leaves: dict[str, list[str]] = {}
    usage: str | None = None
    ends: dict[str, list[bool]] = {}
    for document in documents:
        for path, name, value in _leaves(document, "$", ""):
            if isinstance(value, str):
                leaves.setdefault(path, []).append(value)
            elif isinstance(value, bool) and name.lower() in _ENDS:
                ends.setdefault(path, []).append(value)
            elif isinstance(value, Mapping):
                told = usage_of(value)
                if told is not None and told.completion_tokens is not None:
                    usage = path
    best = max(leaves, key=lambda path: _likely(path, leaves[path], len(documents), message), default=None)
    if best is None or _likely(best, leaves[best], len(documents), message) < 0:
        raise Failure("malformed", f"no text was found in the answer: {worded(documents[-1])}")
    form: dict[str, object] = {"text": best}
    grown = [text for text in leaves[best] if text and text != message]
    growing = all(after.startswith(before) for before, after in pairwise(grown))
    if len(grown) > 1 and growing and len(set(grown)) > 1:
        form["mode"] = "cumulative"
    if usage is not None:
        form["usage"] = usage
    for path, values in ends.items():
        if len(documents) > 1 and values[-1] and not any(values[:-1]):
            form["done"] = path
    if any(isinstance(document, Mapping) for document in documents):
        signs = list(dict.fromkeys(sign for document in documents for sign in _signs(document)))
        form["error"] = ["$.error", *signs] if signs else "$.error"
    return form


def _signs(document: object) -> Iterator[str]:
    """What else would tell an error, by what an answer without one has."""
    for name, value in document.items() if isinstance(document, Mapping) else ():
        if str(name).lower() in _GOOD and value is True:
            yield f"$.{name}=false"
        elif name == "status" and isinstance(value, str) and value.lower() in _WELL:
            yield "$.status=error"


def _leaves(value: object, path: str, name: str) -> Iterator[tuple[str, str, object]]:
    """(path, the last name in it, value) of every text and truth, and of every table, beneath a value."""
    if isinstance(value, Mapping):
        if path != "$":
            yield path, name, value
        for key, inner in value.items():
            yield from _leaves(inner, path + _step(key), str(key))
    elif isinstance(value, list):
        if value:
            last = name.lower() in ("messages", "history", "turns")
            yield from _leaves(value[-1 if last else 0], f"{path}[{-1 if last else 0}]", name)
    else:
        yield path, name, value


def _plain(key: object) -> bool:
    return isinstance(key, str) and bool(key) and not any(c.isspace() or c in ".[]\"'" for c in key)


def _likely(path: str, values: Sequence[str], documents: int, message: str) -> float:
    """How much a path looks like the answer's text; below 0: not at all."""
    name = path.replace("]", "").replace("[", ".").rsplit(".", 1)[-1].strip('"').lower()
    if name.lstrip("-").isdigit():
        name = path.split("[")[-2].rsplit(".", 1)[-1].lower() if path.count("[") else name
    said = [value for value in values if value]
    if not said or name in _NO_TEXTS or name.endswith(("_id", "_at")):
        return -50.0
    score = 20.0 - _TEXTS.index(name) if name in _TEXTS else 0.0
    score += 10.0 * len(values) / documents + min(sum(map(len, said)), 200) / 40.0
    return score - (30.0 if set(said) == {message} else 0.0)


def _find_all(path: str, tables: Sequence[tuple[str, object]]) -> list[tuple[str, object]]:
    from perfsuite.targets.http.paths import MISSING, parse_path

    at = parse_path(path, "inferred")
    return [(name, found) for name, document in tables if (found := at.find(document)) is not MISSING]
