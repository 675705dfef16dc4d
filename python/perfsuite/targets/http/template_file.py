"""A template: any HTTP chat service, described in TOML.  Read and checked as a whole, every mistake named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from perfsuite.errors import Mistakes, UsageError, shown, unknown
from perfsuite.targets.http.address import Address, parse_address
from perfsuite.targets.http.filling import ALWAYS, check_names
from perfsuite.targets.http.paths import JsonPath, Sign, parse_path, parse_sign
from perfsuite.targets.http.splitting import StreamKind

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
KINDS = ("sse", "ndjson", "text", "none")
MODES = ("append", "cumulative")
PERS = ("conversation", "user", "run")


@dataclass(frozen=True, slots=True)
class RequestForm:
    """A request with placeholders in its path and its body: JSON, or the fields of a form; both None: none."""

    method: str
    path: str
    json: object = None
    form: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """A request before the first message of a conversation or a user, or once in a run, and what is taken of it."""

    per: str
    request: RequestForm
    capture: Mapping[str, JsonPath]


@dataclass(frozen=True, slots=True)
class StreamForm:
    """How answers read.  ``text`` None: the payload itself is the text.  ``done``: a path whose value is true at the
    end, or a payload, or ``event:NAME``.  ``errors``: each tells that the answer is none."""

    kind: StreamKind
    events: frozenset[str] = frozenset()
    text: JsonPath | None = None
    cumulative: bool = False
    usage: JsonPath | None = None
    done: JsonPath | str | None = None
    errors: Sequence[Sign] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """The whole description.  ``headers`` still have ``{env:NAME}`` in them."""

    name: str
    base: Address
    request: RequestForm
    stream: StreamForm
    setup: Sequence[Setup] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def parse_template(table: Mapping[str, object], name: str) -> Template:
    """The template that a TOML table describes.  Raises UsageError with every mistake in it."""
    return _Parser(name).template(table)


class _Parser:
    def __init__(self, name: str) -> None:
        self.name = name
        self.mistakes = Mistakes()

    def template(self, table: Mapping[str, object]) -> Template:
        self._known(table, ("base", "setup", "request", "stream", "headers"), self.name)
        base: Address | None = None
        with self.mistakes.noted():
            base = parse_address(self._text(table, "base", self.name), f"{self.name}: base")
        setups: list[Setup] = []
        known = list(ALWAYS)
        for index, one in enumerate(self._list(table.get("setup", []), f"{self.name}: setup")):
            setup = self._setup(one, f"{self.name}: setup[{index}]", known)
            if setup is not None:
                setups.append(setup)
                known += setup.capture
        request = self._request(table.get("request"), f"{self.name}: request", known)
        stream = self._stream(table.get("stream"), f"{self.name}: stream")
        headers = self._headers(table.get("headers", {}), f"{self.name}: headers")
        self.mistakes.check()
        assert base is not None
        assert request is not None
        assert stream is not None
        return Template(self.name, base, request, stream, setups, headers)

    def _known(self, table: Mapping[str, object], names: Sequence[str], where: str) -> None:
        for key in table:
            if key not in names:
                self.mistakes.add(str(unknown("key", key, names, where)))

    def _table(self, value: object, where: str, example: str) -> Mapping[str, object] | None:
        if isinstance(value, Mapping):
            return cast("Mapping[str, object]", value)
        what = "is missing" if value is None else f"{shown(value)} is no table"
        self.mistakes.add(f"{where}: {what}; write {example}")
        return None

    def _list(self, value: object, where: str) -> list[object]:
        if isinstance(value, list):
            return value
        self.mistakes.add(f"{where}: {shown(value)} is no list; write [[setup]] above each")
        return []

    def _text(self, table: Mapping[str, object], key: str, where: str, default: str | None = None) -> str:
        value = table.get(key, default)
        if isinstance(value, str) and value:
            return value
        what = "is missing" if value is None else f"{shown(value)} is not text"
        raise UsageError(f'{where}: {key} {what}; write {key} = "…"')

    def _choice(
        self, table: Mapping[str, object], key: str, where: str, known: Sequence[str], default: str | None = None
    ) -> str:
        value = self._text(table, key, where, default)
        if value not in known:
            raise unknown(key, value, known, where)
        return value

    def _setup(self, value: object, where: str, known: Sequence[str]) -> Setup | None:
        table = self._table(value, where, '[[setup]] with per = "conversation" and a request')
        if table is None:
            return None
        self._known(table, ("per", "request", "capture"), where)
        per = ""
        with self.mistakes.noted():
            per = self._choice(table, "per", where, PERS, "conversation")
        # Before a conversation there is no message yet; before a user, no conversation.
        possible = {"run": ("model",), "user": ("model", "user_id")}.get(per, ("model", "user_id", "conversation_id"))
        request = self._request(table.get("request"), f"{where}.request", [*possible, *known[len(ALWAYS) :]])
        capture: dict[str, JsonPath] = {}
        captures = self._table(table.get("capture", {}), f"{where}.capture", '{ thread_id = "$.thread_id" }')
        for name, path in (captures or {}).items():
            if not name.isidentifier() or name in ALWAYS:
                self.mistakes.add(f"{where}.capture: {shown(name)} cannot name a placeholder; choose another")
                continue
            with self.mistakes.noted():
                capture[name] = parse_path(path, f"{where}.capture.{name}")
        return Setup(per, request, capture) if request is not None else None

    def _request(self, value: object, where: str, known: Sequence[str]) -> RequestForm | None:
        table = self._table(value, where, '[request] with path = "/chat" and json = { message = "{message}" }')
        if table is None:
            return None
        self._known(table, ("method", "path", "json", "form"), where)
        method, path = "POST", "/"
        with self.mistakes.noted():
            method = self._choice(table, "method", where, METHODS, "POST")
        with self.mistakes.noted():
            path = self._text(table, "path", where)
            if not path.startswith("/") or not path.isascii() or any(c <= " " for c in path):
                raise UsageError(f"{where}: path {shown(path)} is none; begin with /, and percent-encode what is odd")
        check_names(path, known, f"{where}.path", self.mistakes)
        check_names(table.get("json"), known, f"{where}.json", self.mistakes)
        form = self._form(table.get("form"), f"{where}.form", known)
        if form is not None and "json" in table:
            self.mistakes.add(f"{where}: a request has one body; drop json, or drop form")
        return RequestForm(method, path, table.get("json"), form)

    def _form(self, value: object, where: str, known: Sequence[str]) -> Mapping[str, object] | None:
        fields = None if value is None else self._table(value, where, '{ message = "{message}" }')
        for name, field_value in (fields or {}).items():
            if isinstance(field_value, Mapping | list):
                self.mistakes.add(f"{where}: {shown(name)} is a table or a list; a form's field is text or a number")
        check_names(fields, known, where, self.mistakes)
        return fields

    def _stream(self, value: object, where: str) -> StreamForm | None:
        table = self._table(value, where, '[stream] with kind = "sse", "ndjson", "text" or "none"')
        if table is None:
            return None
        self._known(table, ("kind", "event", "text", "mode", "usage", "done", "error"), where)
        kind, mode = "none", "append"
        with self.mistakes.noted():
            kind = self._choice(table, "kind", where, KINDS)
        with self.mistakes.noted():
            mode = self._choice(table, "mode", where, MODES, "append")
        events = table.get("event", [])
        names = [events] if isinstance(events, str) else events
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.mistakes.add(f"{where}: event {shown(events)} is neither a name nor a list of names")
            names = []
        elif names and kind != "sse":
            self.mistakes.add(f'{where}: only server-sent events have names; drop event, or write kind = "sse"')
        paths: dict[str, JsonPath | None] = dict.fromkeys(("text", "usage"))
        for key in paths:
            if key in table:
                with self.mistakes.noted():
                    paths[key] = parse_path(table[key], f"{where}.{key}")
        signs = table.get("error", [])
        errors: list[Sign] = []
        for sign in signs if isinstance(signs, list) else [signs]:
            with self.mistakes.noted():
                errors.append(parse_sign(sign, f"{where}.error"))
        if kind == "text" and table.get("text") is not None:
            self.mistakes.add(f"{where}: raw text has no path to its text; drop text, or write another kind")
        done: JsonPath | str | None = None
        if "done" in table:
            with self.mistakes.noted():
                text = self._text(table, "done", where)
                done = parse_path(text, f"{where}.done") if text.startswith("$") else text
        return StreamForm(
            cast("StreamKind", kind),
            frozenset(names),
            paths["text"],
            mode == "cumulative",
            paths["usage"],
            done,
            tuple(errors),
        )

    def _headers(self, value: object, where: str) -> dict[str, str]:
        table = self._table(value, where, '[headers] with Authorization = "Bearer {env:NAME}"')
        found: dict[str, str] = {}
        for name, text in (table or {}).items():
            if not isinstance(text, str) or any(ord(c) < 32 for c in text):
                self.mistakes.add(f"{where}: {name} is not text on one line")
            elif not name.replace("-", "").replace("_", "").isalnum():
                self.mistakes.add(f"{where}: {shown(name)} is no header's name")
            elif name.lower() in ("host", "content-length", "transfer-encoding", "connection"):
                self.mistakes.add(f"{where}: {name} is set by the client; drop it")
            else:
                found[name] = text
        return found
