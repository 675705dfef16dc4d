"""What answers at a URL: an OpenAI-compatible service, Anthropic, Ollama, or any other by its ``/openapi.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from perfsuite._core import Events, Row
from perfsuite.errors import PerfsuiteError
from perfsuite.targets.base import Failure, Request
from perfsuite.targets.http.address import Address
from perfsuite.targets.http.client import Answer, Call, Chunk, Client
from perfsuite.targets.http.dialect import JSON_HEADERS, WrongShape, bearer
from perfsuite.targets.http.dialects import dialect_at
from perfsuite.targets.http.failures import remedy, status_failure
from perfsuite.targets.http.hearing import Hearing, read_all
from perfsuite.targets.http.inference import infer_name, infer_stream
from perfsuite.targets.http.openapi import Operation, chat_operations, key_headers, paths_of
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.splitting import EventTooLarge, Splitter
from perfsuite.targets.http.template_file import RequestForm, StreamForm, Template, parse_template
from perfsuite.targets.http.template_reader import TemplateReader
from perfsuite.targets.template import TemplateTarget, shipped_for

LARGEST_DOCUMENT = 8 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """``dialect`` with its ``models``, or ``operations`` of an OpenAPI document; neither: nothing was recognised, and
    ``tried`` says what was asked and what came.  ``wants_key``: it answers 401 or 403."""

    dialect: str | None = None
    models: Sequence[str] = ()
    operations: Sequence[Operation] = ()
    paths: Sequence[str] = ()
    shipped: str | None = None
    """The shipped template that is made for it; ``models`` are what it can be asked for then."""
    key_headers: Mapping[str, str] = field(default_factory=dict)
    """The header that carries a key, where the OpenAPI document says so; ``{key}`` stands for it."""
    wants_key: bool = False
    tried: Sequence[str] = field(default_factory=tuple)


async def discover(address: Address, key: Secret | None, client: Client) -> Found:
    """Asks what is there, sending no message.  Raises PerfsuiteError when nobody answers."""
    tried: list[str] = []
    looking = _Looking(address, key, client, tried)
    if await looking.ollama():
        return Found("ollama", await looking.models("ollama") or (), tried=tried)
    listing = await looking.get(f"{address.versioned().path}/models")
    if listing.status in (401, 403):
        dialect = "anthropic" if _anthropic_error(listing.document, address) else "openai"
        models = await looking.models(dialect) if dialect == "anthropic" and key is not None else None
        return Found(dialect, models or (), wants_key=models is None, tried=tried)
    if listing.status == 200 and isinstance(listing.document, Mapping) and "data" in listing.document:
        dialect = "anthropic" if "first_id" in listing.document or address.host == "api.anthropic.com" else "openai"
        models = await looking.models(dialect)
        if models is not None:
            return Found(dialect, models, tried=tried)
    api = await looking.get(f"{address.path}/openapi.json")
    if api.status == 200 and isinstance(api.document, Mapping) and "paths" in api.document:
        operations, paths = chat_operations(api.document), paths_of(api.document)
        name = shipped_for(paths)
        graphs = await looking.graphs() if name == "langgraph" else ()
        if operations or name is not None:
            return Found(None, graphs, operations, paths, name, key_headers(api.document), tried=tried)
    else:
        paths = []
    for dialect in ("anthropic", "openai"):
        refused = await looking.refused(dialect, listing.status)
        if refused is not None:
            return Found(dialect, paths=paths, wants_key=refused in (401, 403), tried=tried)
    if paths:
        return Found(paths=paths, tried=tried)
    return Found(wants_key=api.status in (401, 403), tried=tried)


@dataclass(frozen=True, slots=True)
class _Got:
    status: int
    document: object


class _Looking:
    def __init__(self, address: Address, key: Secret | None, client: Client, tried: list[str]) -> None:
        self._address = address
        self._key = key
        self._client = client
        self._tried = tried

    async def get(self, path: str) -> _Got:
        return await self._ask(Call("GET", path, (*JSON_HEADERS, *bearer(self._key)), b"", "none"))

    async def _ask(self, call: Call) -> _Got:
        where = f"{call.method} {call.path}"
        try:
            answer = await self._client.send(call, lambda: None)
            try:
                body = await read_all(answer, LARGEST_DOCUMENT)
            finally:
                answer.release()
        except Failure as failure:
            if failure.kind in ("dns", "connect", "tls"):
                raise PerfsuiteError(f"{failure}; {remedy(failure)}") from failure
            self._note(f"{where}: {failure}")
            return _Got(0, None)
        if answer.status != 200:
            self._note(str(status_failure(answer.status, answer.phrase, answer.headers, body, where)))
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
            if answer.status == 200:
                self._note(f"{where}: 200, but not JSON")
        return _Got(answer.status, document)

    def _note(self, text: str) -> None:
        """Keeps what was tried, without a key that the service repeats."""
        self._tried.append(text if self._key is None else self._key.hidden_in(text))

    async def ollama(self) -> bool:
        """Ollama itself: others answer its /api/tags too, but not its version."""
        version = await self.get(f"{self._address.path}/api/version")
        return version.status == 200 and isinstance(version.document, Mapping) and "version" in version.document

    async def graphs(self) -> list[str]:
        """What a LangGraph server can be asked to run."""
        path = f"{self._address.path}/assistants/search"
        got = await self._ask(Call("POST", path, (*JSON_HEADERS, *bearer(self._key)), b"{}", "none"))
        listed = got.document if got.status == 200 and isinstance(got.document, list) else []
        names = (one.get("graph_id") for one in listed if isinstance(one, Mapping))
        return list(dict.fromkeys(name for name in names if isinstance(name, str) and name))

    async def refused(self, name: str, otherwise: int) -> int | None:
        """The status with which the dialect's own operation refuses a request that has nothing in it: a service that
        lists no models is known by that.  None where it is not there, or answers as it does to anything, ``otherwise``.
        """
        dialect = dialect_at(name, self._address, self._key)
        nothing = Request(message="", messages=[], user_id="", conversation_id="")
        got = await self._ask(replace(dialect.call(nothing, ""), body=b"{}", stream="none"))
        if got.status not in (400, 401, 403, 422) or got.status == otherwise:
            return None
        return got.status if name != "anthropic" or _anthropic_error(got.document, self._address) else None

    async def models(self, name: str) -> list[str] | None:
        """The models as the dialect lists them; None when it cannot."""
        dialect = dialect_at(name, self._address, self._key)
        got = await self._ask(dialect.models_call())
        if got.status != 200:
            return None
        try:
            return dialect.models(json.dumps(got.document).encode())
        except WrongShape as error:
            self._note(f"GET {dialect.models_path}: {error}")
            return None


def _anthropic_error(document: object, address: Address) -> bool:
    return address.host == "api.anthropic.com" or (isinstance(document, Mapping) and document.get("type") == "error")


@dataclass(frozen=True, slots=True)
class Learned:
    """A service that was sent one message: the template that reads its answers, as a table too, and what it said."""

    table: dict[str, object]
    template: Template
    heard: Hearing
    events: Events


async def learn(
    table: Mapping[str, object], request: Request, name: str, setup: RequestForm | None = None, created: str = ""
) -> Learned:
    """Sends one message by a template that has no ``stream`` yet, finds out how its answer reads, and reads it so.

    The answer is kept as it came, with its stamps, and read again: one message is all that is sent.  ``name`` is the
    template's, for messages.  ``setup`` makes the conversation first, and its answer says what fills ``created``.
    Raises Failure.
    """
    if setup is not None:
        table = {**table, "setup": [await _set_up(table, request, name, setup, created)]}
    events = Events()
    row = events.begin(time.monotonic_ns())
    target = TemplateTarget(parse_template({**table, "stream": {"kind": "text"}}, name))
    try:
        call = target.call(target.template.request, await target.values(request, request.model), stream=True)
        answer = await target.client.send(call, row.sent)
        try:
            chunks = await _chunks(answer)
        finally:
            answer.release()
    except Failure as failure:
        raise target.masked(failure) from failure.__cause__
    finally:
        await target.close()
    last_ns = chunks[-1][1] if chunks else time.monotonic_ns()
    body = b"".join(data for data, _ in chunks)
    where = f"{call.method} {call.path}"
    if not 200 <= answer.status < 300:
        raise target.masked(status_failure(answer.status, answer.phrase, answer.headers, body, where))
    whole = {**table, "stream": infer_stream(answer.headers.get("content-type", ""), body, request.message)}
    template = parse_template(whole, name)
    heard = replay(template.stream, chunks, request.message, row)
    row.end(0, heard.usage.prompt_tokens, heard.usage.completion_tokens, at_ns=last_ns)
    return Learned(whole, template, heard, events)


async def _set_up(
    table: Mapping[str, object], request: Request, name: str, setup: RequestForm, created: str
) -> dict[str, object]:
    """The ``[[setup]]`` table: the request as it is, and where in its answer the name of what it made lies."""
    parts = {"method": setup.method, "path": setup.path, "json": setup.json, "form": setup.form}
    asked = {name: part for name, part in parts.items() if part is not None}
    target = TemplateTarget(parse_template({**table, "request": asked, "stream": {"kind": "text"}}, name))
    try:
        call = target.call(target.template.request, await target.values(request, request.model), stream=False)
        answer = await target.client.send(call, lambda: None)
        try:
            body = await read_all(answer, LARGEST_DOCUMENT)
        finally:
            answer.release()
    except Failure as failure:
        raise target.masked(failure) from failure.__cause__
    finally:
        await target.close()
    where = f"set-up request {call.method} {call.path}"
    if not 200 <= answer.status < 300:
        raise target.masked(status_failure(answer.status, answer.phrase, answer.headers, body, where))
    path = infer_name(body, created)
    if path is None:
        raise Failure("malformed", f"{where}: nothing in its answer looks like the {created} that it made")
    return {"per": "conversation", "request": asked, "capture": {created: path}}


def replay(form: StreamForm, chunks: Sequence[Chunk], message: str, row: Row | None) -> Hearing:
    """An answer that was kept, read as ``form`` says.  Raises Failure."""
    hearing = Hearing(TemplateReader(form, message), row)
    splitter = Splitter(form.kind)
    at_ns = 0
    try:
        for data, at_ns in chunks:
            hearing.take(splitter.feed(data, at_ns))
        rest = splitter.finish(at_ns)
        if form.kind != "none":
            hearing.take(rest)
        for at, _, payload in rest if form.kind == "none" else ():
            hearing.take_whole(payload, at)
    except (WrongShape, EventTooLarge) as error:
        raise Failure("malformed", str(error)) from error
    return hearing


async def _chunks(answer: Answer) -> list[Chunk]:
    chunks: list[Chunk] = []
    size = 0
    while got := await answer.read():
        chunks += got
        size += sum(len(data) for data, _ in got)
        if size > LARGEST_DOCUMENT:
            raise Failure("too_large", f"the answer is larger than {LARGEST_DOCUMENT >> 20} MiB")
    return chunks
