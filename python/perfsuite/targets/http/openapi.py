"""Which operation of a service is its chat, and what it wants to be sent, by its OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from perfsuite.targets.http.filling import ALWAYS
from perfsuite.targets.http.template_file import RequestForm

_WORDS = {
    "chat": 5, "complet": 4, "message": 4, "ask": 4, "conversation": 3, "question": 3, "generat": 3, "respon": 2,
    "prompt": 3, "answer": 3, "assist": 3, "talk": 4, "dialog": 4, "invoke": 2, "query": 2, "run": 1, "stream": 2,
    "feedback": -9, "upload": -9, "embed": -9, "token": -6, "login": -9, "auth": -6, "delete": -9, "history": -4,
    "search": -3, "admin": -6, "user": -2,
}  # fmt: skip
"""What a chat's path is made of, and what it is not."""

_MESSAGE = (
    "message", "prompt", "question", "query", "input", "text", "content", "user_message", "user_input", "msg", "q"
)  # fmt: skip
_MESSAGES = ("messages", "history", "conversation", "chat_history", "turns")
_CONVERSATION = re.compile(r"(conversation|session|thread|chat)_?(id|key|uuid)?")
_USER = re.compile(r"(user|customer|client|account)_?(id|name|key|uuid)?")
_KEY = re.compile(r"authorization|.*(key|token|secret).*")
DEEPEST = 8
SURE = 3
"""The least score at which a GET is taken for a chat: most of them only look something up."""
UNLIKELY = -2
"""Below this it is something else that takes a text: a search, an upload, a log-in."""
FORM = "application/x-www-form-urlencoded"
BEARER = {"Authorization": "Bearer {key}"}

Document = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Operation:
    """A request that asks for an answer, and how much it looks like a chat."""

    request: RequestForm
    score: int
    guessed: Sequence[str] = ()
    """Names whose values nobody told: they are guesses to look at."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those that it wants besides the usual ones; ``{key}`` stands for its key."""
    setup: RequestForm | None = None
    """What makes the conversation that its path names; ``created`` is the placeholder of that name."""
    created: str = ""


def chat_operations(document: object) -> list[Operation]:
    """The operations that take a message, the likeliest chat first."""
    found = [operation for operation in _operations(document) if operation is not None]
    return sorted(found, key=lambda operation: -operation.score)


def paths_of(document: object) -> list[str]:
    """Every operation, as ``POST /path``."""
    return [f"{method} {path}" for path, method, _ in _each(document)]


def key_headers(document: object) -> dict[str, str]:
    """The header that carries a service's key, by the first of its security schemes that is one; else nothing."""
    components = document.get("components") if isinstance(document, Mapping) else None
    schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
    for scheme in schemes.values() if isinstance(schemes, Mapping) else ():
        kind = scheme.get("type") if isinstance(scheme, Mapping) else None
        if kind == "apiKey" and scheme.get("in") == "header" and scheme.get("name"):
            return {str(scheme["name"]): "{key}"}
        if kind in ("oauth2", "openIdConnect") or (kind == "http" and str(scheme.get("scheme")).lower() == "bearer"):
            return dict(BEARER)
    return {}


def _each(document: object) -> Iterator[tuple[str, str, Document]]:
    paths = document.get("paths") if isinstance(document, Mapping) else None
    for path, item in paths.items() if isinstance(paths, Mapping) else ():
        for method, operation in item.items() if isinstance(item, Mapping) else ():
            if str(method).upper() in ("GET", "POST", "PUT") and isinstance(operation, Mapping):
                yield str(path), str(method).upper(), operation


def _operations(document: object) -> Iterator[Operation | None]:
    assert document is None or isinstance(document, Mapping)
    for path, method, operation in _each(document):
        if method in ("POST", "GET"):
            yield _Reading(document or {}).operation(method, path, operation)


class _Reading:
    """Fills in one operation."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._takes_message = False
        self._guessed: list[str] = []

    def operation(self, method: str, path: str, operation: Document) -> Operation | None:
        setup, param = self._creating(path) or (None, "")
        created = param if param.isidentifier() and param not in ALWAYS else "created_id"
        request, headers = self.request(method, path, operation, {param: f"{{{created}}}"})
        if not self._takes_message:
            return None
        named = re.sub(r"\{[^}]*\}", "", path)
        words = f"{named} {operation.get('operationId', '')} {operation.get('summary', '')}".lower()
        score = sum(weight for word, weight in _WORDS.items() if word in words)
        if score < (SURE if method == "GET" else UNLIKELY):
            return None
        return Operation(
            request, score - (method == "GET"), self._guessed, headers, setup, created if setup is not None else ""
        )

    def request(
        self, method: str, path: str, operation: Document, known: Mapping[str, str]
    ) -> tuple[RequestForm, dict[str, str]]:
        """The request, and the headers that it wants; ``known``: parameters of the path that have a value already."""
        filled = path
        query: list[str] = []
        headers: dict[str, str] = {}
        for parameter in self._parameters(operation):
            name, where = str(parameter.get("name")), parameter.get("in")
            schema = parameter.get("schema")
            if where == "path":
                value = known.get(name) or self._value(name, schema, required=True)
                filled = filled.replace(f"{{{name}}}", _in_url(value))
            elif where == "query":
                required = parameter.get("required") is True
                value = self._value(name, schema, required=required)
                if value is not None:
                    query.append(f"{quote(name)}={_in_url(value)}")
            elif where == "header" and _KEY.fullmatch(name.lower()):
                headers |= BEARER if name.lower() == "authorization" else {name: "{key}"}
            elif where == "header" and parameter.get("required") is True:
                self._guessed.append(name)
                headers[name] = "perfsuite"
        content = self._resolved(operation.get("requestBody")).get("content")
        where = "?".join([filled, *filter(None, ["&".join(query)])])
        body = self._body(content, "application/json")
        if body is None and isinstance(fields := self._body(content, FORM), Mapping):
            plain = {name: value for name, value in fields.items() if not isinstance(value, Mapping | list)}
            return RequestForm(method, where, form=plain), headers
        return RequestForm(method, where, body), headers

    def _body(self, content: object, kind: str) -> object:
        """What is sent as this kind of body; None where it takes none of the kind."""
        media = content.get(kind) if isinstance(content, Mapping) else None
        if not isinstance(media, Mapping):
            return None
        schema = self._resolved(media.get("schema"))
        # A body that is one text, or one list, has no name but its title: FastAPI's for a lone parameter.
        title = "" if "properties" in schema else str(schema.get("title", "")).replace(" ", "_")
        if schema.get("type") == "array" and self._of_messages(schema):
            title = _MESSAGES[0]
        return self._value(title, schema, required=True)

    def _creating(self, path: str) -> tuple[RequestForm, str] | None:
        """The request that makes the conversation of ``/sessions/{session_id}/…``, and that parameter's name."""
        paths = self._document.get("paths")
        for found in re.finditer(r"/\{([^}]*)\}", path):
            name = found[1]
            if not (_CONVERSATION.fullmatch(name.lower()) or name.lower() == "id"):
                continue
            for before in (path[: found.start()], path[: found.start()] + "/"):
                item = paths.get(before) if isinstance(paths, Mapping) else None
                post = item.get("post") if isinstance(item, Mapping) else None
                if isinstance(post, Mapping):
                    reading = _Reading(self._document)
                    request, _ = reading.request("POST", before, post, {})
                    if not reading._takes_message:  # else it is a chat itself
                        return request, name
        return None

    def _parameters(self, operation: Document) -> Iterator[Document]:
        listed = operation.get("parameters")
        for parameter in listed if isinstance(listed, list) else ():
            yield self._resolved(parameter)

    def _resolved(self, value: object, depth: int = 0) -> Document:
        """The table behind a ``$ref``, ``allOf`` joined, the first real choice of ``anyOf`` and ``oneOf``."""
        if not isinstance(value, Mapping) or depth > DEEPEST:
            return {}
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            at: object = self._document
            for part in reference[2:].split("/"):
                at = at.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(at, Mapping) else None
            return self._resolved(at, depth + 1)
        for key in ("anyOf", "oneOf"):
            choices = value.get(key)
            if isinstance(choices, list):
                for choice in choices:
                    resolved = self._resolved(choice, depth + 1)
                    if resolved and resolved.get("type") != "null":
                        return {**resolved, **{name: v for name, v in value.items() if name not in (key, "title")}}
        parts = value.get("allOf")
        if isinstance(parts, list):
            joined: dict[str, object] = {name: v for name, v in value.items() if name != "allOf"}
            for part in parts:
                joined = {**self._resolved(part, depth + 1), **joined}
            return joined
        return value

    def _value(self, name: str, schema: object, *, required: bool, depth: int = 0) -> object:
        """What a field is sent: a placeholder where its name says what it is, else its default, its example, or the
        least that its type allows; None: it is left out."""
        form = self._resolved(schema)
        kind = form.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), None)
        low = name.lower()
        if kind == "string" and (placeholder := self._placeholder(low, form)):
            return placeholder
        if kind == "array" and low in _MESSAGES and self._of_messages(form):
            self._takes_message = True
            return "{messages}"
        if kind == "boolean" and low in ("stream", "streaming"):
            return True
        if kind == "object" or "properties" in form:
            return self._object(form, required, depth, low if depth else "")
        if not required:
            return None
        for key in ("default", "example", "const"):
            if form.get(key) is not None:
                return form[key]
        for key in ("examples", "enum"):
            choices = form.get(key)
            if isinstance(choices, list) and choices:
                return choices[0]
        self._guessed.append(name)
        least = form.get("minimum")
        plain: dict[object, object] = {"integer": 1, "number": 1.0, "boolean": False, "array": [], "string": "x"}
        if form.get("format") == "uuid":
            return "00000000-0000-4000-8000-000000000001"
        return least if kind in ("integer", "number") and least is not None else plain.get(kind, {})

    def _placeholder(self, name: str, form: Document) -> str | None:
        if form.get("enum") or form.get("const") or form.get("format") in ("uuid", "date", "date-time", "uri"):
            return None
        if name in _MESSAGE:
            self._takes_message = True
            return "{message}"
        if _CONVERSATION.fullmatch(name):
            return "{conversation_id}"
        if _USER.fullmatch(name):
            return "{user_id}"
        if name in ("model", "model_name") and form.get("default") is None and form.get("example") is None:
            return "{model}"
        return None

    def _of_messages(self, form: Document) -> bool:
        properties = self._resolved(form.get("items")).get("properties")
        return isinstance(properties, Mapping) and {"role", "content"} <= set(properties)

    def _object(self, form: Document, required: bool, depth: int, of: str) -> object:
        properties = form.get("properties")
        if not isinstance(properties, Mapping) or depth > DEEPEST:
            return {} if required else None
        needed = form.get("required")
        needed = needed if isinstance(needed, list) else []
        body: dict[str, object] = {}
        whole = any(str(name).lower() == "messages" for name in properties)
        for name, schema in properties.items():
            if whole and name not in needed and str(name).lower() in _MESSAGE:
                continue  # the messages have it already
            if depth and name not in needed and not required:
                continue
            # A user's or a session's own id: the table's name says whose it is.
            told = f"{of}_{name}" if of and str(name).lower() in ("id", "key", "uuid") else str(name)
            value = self._value(told, schema, required=name in needed, depth=depth + 1)
            if value is not None and value != {}:
                body[str(name)] = value
        return body if body or required else None


def _in_url(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if text.startswith("{") and text.endswith("}") else quote(text, safe="")
