"""Any HTTP chat service: ``template:NAME`` for one that is shipped, ``template:FILE`` for one described in TOML.

A ``perfsuite.toml`` may hold the template too, in its table ``[template]``: ``template:perfsuite.toml``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from perfsuite._core import ERROR_KINDS, LRUCache
from perfsuite.errors import UsageError, unknown
from perfsuite.targets.base import Failure, Reply, Request, Target
from perfsuite.targets.http.address import Address, parse_address
from perfsuite.targets.http.behind import Behind
from perfsuite.targets.http.client import Call, Client, rendered
from perfsuite.targets.http.counting import reply_of
from perfsuite.targets.http.dialect import JSON_HEADERS, encoded_json
from perfsuite.targets.http.failures import masked, status_failure
from perfsuite.targets.http.filling import Values, filled, filled_field, filled_path, header_secrets, with_secrets
from perfsuite.targets.http.hearing import converse, read_all
from perfsuite.targets.http.paths import MISSING
from perfsuite.targets.http.proxied import client_for
from perfsuite.targets.http.template_file import RequestForm, Setup, Template, parse_template
from perfsuite.targets.http.template_reader import TemplateReader
from perfsuite.targets.http.template_rules import NoRule, endpoint_of
from perfsuite.targets.http.wired import Endpoint, failure_of, read_back

if TYPE_CHECKING:
    from perfsuite._core import Row, WireReply
    from perfsuite.plan import Plan

FORM = "application/x-www-form-urlencoded"

REMEMBERED = 100_000
"""Conversations and users whose captures are kept."""
LARGEST_ANSWER = 4 << 20


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The target ``template:…``; ``--model NAME@URL`` sends it to another address than its base."""
    template = load_template(rest)
    urls = {choice.url for choice in plan.models if choice.url}
    if len(urls) > 1:
        raise UsageError("a template has one address; give one URL with --model, or one template for each")
    if urls:
        template = replace(template, base=parse_address(urls.pop(), "--model"))
    return TemplateTarget(template, [choice.name for choice in plan.models], plan.tokenizer)


def shipped() -> list[str]:
    """The names of the templates that come with the package."""
    folder = files("perfsuite") / "data" / "templates"
    return sorted(one.name.removesuffix(".toml") for one in folder.iterdir() if one.name.endswith(".toml"))


def shipped_table(name: str) -> dict[str, object]:
    """A template that comes with the package, as its file has it."""
    import tomllib

    return tomllib.loads((files("perfsuite") / "data" / "templates" / f"{name}.toml").read_text(encoding="utf-8"))


def shipped_for(operations: Collection[str]) -> str | None:
    """The shipped template all of whose requests are among these operations (``POST /a/{b}``, whatever b is called)."""
    there = {_unnamed(one) for one in operations}
    for name in shipped():
        template = load_template(name)
        requests = [*(setup.request for setup in template.setup), template.request]
        if {_unnamed(f"{one.method} {one.path}") for one in requests} <= there:
            return name
    return None


def _unnamed(operation: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", operation)


def load_template(name: str) -> Template:
    """The template of a name or a file.  Raises UsageError with everything that is wrong with it."""
    import tomllib

    if not name:
        raise UsageError(f"template: needs a name or a file after it; shipped: {', '.join(shipped())}")
    if name in shipped():
        text = (files("perfsuite") / "data" / "templates" / f"{name}.toml").read_text(encoding="utf-8")
    elif "/" in name or name.endswith(".toml") or Path(name).is_file():
        try:
            text = Path(name).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:
            words = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise UsageError(f"template:{name}: cannot read it: {words}; name a TOML file") from error
    else:
        raise unknown("template", name, shipped())
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"template:{name} is not valid TOML: {error}") from error
    inner = table.get("template")
    if isinstance(inner, dict):
        return parse_template(inner, f"{name} [template]")
    return parse_template(table, name)


class TemplateTarget(Behind):
    """A service that a template describes."""

    def __init__(self, template: Template, models: Sequence[str] = (), tokenizer: Path | None = None) -> None:
        super().__init__(f"template:{template.name}", tokenizer)
        self.template = template
        self._models = tuple(models)
        self._secrets = header_secrets(template.headers, f"{template.name}: headers")
        self.client = client_for(template.base)
        self._captured: LRUCache[tuple[int, str], asyncio.Task[dict[str, object]]] = LRUCache(REMEMBERED)
        self._where = ""
        self._endpoint: Endpoint | None = None
        self._not_readable = ""
        if not self.unwired:
            try:
                self._endpoint = endpoint_of(template)
            except NoRule as reason:
                self._not_readable = f"{template.name}: {reason}"

    @property
    def addresses(self) -> Sequence[Address]:
        """The template's base; its headers are not sent for metrics."""
        return (self.template.base,)

    @property
    def clients(self) -> Sequence[Client]:
        """The one."""
        return (self.client,)

    @property
    def unwired(self) -> str:
        """Also that an engine cannot read its answers."""
        return super().unwired or self._not_readable

    @property
    def models(self) -> Sequence[str]:
        """Those that were named."""
        return self._models

    async def open(self) -> None:
        """Nothing is sent before the first message."""

    def call(self, form: RequestForm, values: Values, stream: bool, more: Sequence[tuple[str, str]] = ()) -> Call:
        """A request with everything filled in."""
        headers = dict(JSON_HEADERS) | ({} if form.form is None else {"Content-Type": FORM})
        for name, text in self.template.headers.items():
            headers = {known: value for known, value in headers.items() if known.lower() != name.lower()}
            headers[name] = with_secrets(text, self._secrets)
        body = b"" if form.json is None else encoded_json(filled(form.json, values))
        if form.form is not None:
            body = urlencode({name: filled_field(value, values) for name, value in form.form.items()}).encode()
        if not body:
            headers.pop("Content-Type", None)
        path = self.template.base.path + filled_path(form.path, values)
        kind = self.template.stream.kind if stream else "none"
        return Call(form.method, path, (*headers.items(), *more), body, kind)

    async def send(self, request: Request, row: Row) -> Reply:
        """One message, after the set-up requests that it needs; those are not in its service time."""
        model = request.model or next(iter(self._models), None)
        try:
            values = await self.values(request, model)
            heard = await converse(
                self.client,
                self.call(self.template.request, values, stream=True, more=request.headers),
                TemplateReader(self.template.stream, request.message),
                row,
                marks_end=self.template.stream.done is not None,
                on_sent=row.sent,
            )
        except Failure as failure:
            self.masked(failure)
            raise
        if not heard.text and not heard.hidden:
            raise Failure("malformed", self._nothing())
        return reply_of(heard, request, model, self._counter)

    def _nothing(self) -> str:
        form = self.template.stream
        where = f" at {form.text.text}" if form.text is not None else ""
        among = f" in events named {' or '.join(sorted(form.events))}" if form.events else ""
        path = self.template.request.path
        return f"{path}: the answer has no text{where}{among}; correct [stream] in {self.template.name}"

    def masked(self, failure: Failure) -> Failure:
        """The same failure, without a key that a server repeated in its words."""
        return masked(failure, self._secrets.values())

    async def values(self, request: Request, model: str | None) -> dict[str, object]:
        """What fills the placeholders of a request: its own fields, and what the set-up requests gave."""
        values = self._own(request, model)
        for number, setup in enumerate(self.template.setup):
            values |= await self._once(number, _key(setup, request), setup, dict(values))
        return values

    def _own(self, request: Request, model: str | None) -> dict[str, object]:
        return {
            "message": request.message,
            "messages": [{"role": m.get("role"), "content": m.get("content")} for m in request.messages],
            "model": model,
            "user_id": request.user_id,
            "conversation_id": request.conversation_id,
            "max_tokens": request.max_tokens,
        }

    def _known(self, request: Request, model: str | None) -> dict[str, object] | None:
        """The values, where every set-up request that they need has been answered."""
        values = self._own(request, model)
        for number, setup in enumerate(self.template.setup):
            task = self._captured.get((number, _key(setup, request)))
            if task is None or not task.done() or task.cancelled() or task.exception() is not None:
                return None
            values |= task.result()
        return values

    # ── over the wire ─────────────────────────────────────────────────────────────────────────────────────────────────

    def endpoints(self) -> Sequence[Endpoint]:
        """The service, where an engine can read its answers."""
        return () if self._endpoint is None else (self._endpoint,)

    async def ready(self) -> int:
        """Nothing is sent before the first message."""
        return 0

    def prepare(self, request: Request) -> Awaitable[object] | None:
        """The set-up requests that it needs, where one of them has not been answered yet."""
        model = request.model or next(iter(self._models), None)
        return None if self._known(request, model) is not None else self._prepared(request, model)

    async def _prepared(self, request: Request, model: str | None) -> None:
        try:
            await self.values(request, model)
        except Failure as failure:
            self.masked(failure)
            raise

    def written(self, request: Request) -> tuple[int, bytes]:
        """Its bytes; there is one endpoint."""
        values = self._known(request, request.model or next(iter(self._models), None))
        if values is None:
            raise Failure("target", "what its set-up request captured was forgotten meanwhile: too many conversations")
        call = self.call(self.template.request, values, stream=True, more=request.headers)
        self._where = f"{call.method} {self.template.request.path}"
        return 0, rendered(call, self.template.base)

    def reply(self, request: Request, ended: WireReply) -> Reply:
        """An engine's answer; with its text where the body was kept."""
        model = request.model or next(iter(self._models), None)
        form, body = self.template.stream, ended.body
        heard = None if body is None else read_back(TemplateReader(form, request.message), form.kind, body)
        return self._reply_of(request, model, ended, heard)

    def failure(self, request: Request, ended: WireReply, timeout_s: float) -> Failure:
        """What went wrong, without a key."""
        silent = ended.http_status == 200 and not ended.chunks and ERROR_KINDS[ended.status] == "malformed"
        if silent and not ended.last:
            return Failure("malformed", self._nothing())
        return self.masked(failure_of(ended, self._where, timeout_s))

    async def _once(self, number: int, key: str, setup: Setup, values: Values) -> dict[str, object]:
        """What a set-up request captured; sent once for its conversation, user or run, whoever else waits for it."""
        task = self._captured.get((number, key))
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.get_running_loop().create_task(self._set_up(setup, values))
            self._captured[number, key] = task
        return await asyncio.shield(task)

    async def _set_up(self, setup: Setup, values: Values) -> dict[str, object]:
        call = self.call(setup.request, values, stream=False)
        where = f"set-up request {call.method} {call.path}"
        answer = await self.client.send(call, _nobody)
        try:
            body = await read_all(answer, LARGEST_ANSWER)
        finally:
            answer.release()
        if not 200 <= answer.status < 300:
            raise status_failure(answer.status, answer.phrase, answer.headers, body, where)
        if not setup.capture:
            return {}
        import json

        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Failure("malformed", f"{where}: the answer is not JSON: {error}") from error
        found: dict[str, object] = {}
        for name, path in setup.capture.items():
            value = path.find(document)
            if value is MISSING or value is None:
                raise Failure("malformed", f"{where}: there is nothing at {path.text} ({name}) in its answer")
            found[name] = value
        return found

    async def close(self) -> None:
        """Ends the set-up requests under way and closes the connections."""
        tasks = [task for task in self._captured.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._captured.clear()
        await self.client.close()


def _key(setup: Setup, request: Request) -> str:
    """What a set-up request is sent once for."""
    return {"run": "", "user": request.user_id, "conversation": request.conversation_id}[setup.per]


def _nobody() -> None:
    """A set-up request has no row."""
