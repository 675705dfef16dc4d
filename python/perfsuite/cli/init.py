"""``perfsuite init URL``: what answers there, a perfsuite.toml for it, and one message to see that it works."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from perfsuite.cli.init_file import COMMON, OLLAMA, comment, template_text, toml
from perfsuite.errors import PerfsuiteError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfsuite._core import Events
    from perfsuite.discovery import Found
    from perfsuite.targets.base import Request, Target
    from perfsuite.targets.http.address import Address
    from perfsuite.targets.http.openapi import Operation

FILE = Path("perfsuite.toml")
MESSAGE = "Hello! In one sentence: what can you help me with?"
LONGEST_SHOWN = 400
LISTED = 8


def configure(parser: ArgumentParser) -> None:
    """The URL, the key's variable, the model, the message, --force."""
    parser.add_argument(
        "url", metavar="URL", help="a running service, such as http://127.0.0.1:8000 (realtime: ws://…)"
    )
    parser.add_argument("--api-key-env", metavar="NAME", help="the variable that holds the service's key")
    parser.add_argument("--model", metavar="NAME", help="the model to ask for [the first that it lists]")
    parser.add_argument("--message", metavar="TEXT", default=MESSAGE, help="what is sent to it, once")
    parser.add_argument("--timeout", metavar="TIME", default="60s", help="the longest that its answer may take [60s]")
    parser.add_argument("--force", action="store_true", help="replace a perfsuite.toml that is there")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what was tried; show tracebacks")


def execute(arguments: Namespace) -> int:
    """Writes perfsuite.toml; 1 when the service did not answer the message, or nothing that chats was found."""
    from perfsuite.exports.files import write_atomically
    from perfsuite.units import parse_duration
    from perfsuite.values import environment_name

    finding = _finding(arguments)
    address = finding.address
    timeout_s = parse_duration(arguments.timeout, "--timeout", bare="s")
    if arguments.api_key_env is not None:
        environment_name(arguments.api_key_env, "--api-key-env")
    if FILE.exists() and not arguments.force:
        raise UsageError(f"{FILE} is there already; --force replaces it, or run perfsuite init in another folder")

    async def go() -> tuple[str, list[str]]:
        async with asyncio.timeout(timeout_s):
            return await finding.run()

    try:
        text, lines = asyncio.run(go())
    except TimeoutError as error:
        hint = "--timeout gives it more" + ("; does it speak https?" if address.scheme == "https" else "")
        raise PerfsuiteError(f"{address.url} gave no answer in {timeout_s:g} s; {hint}") from error
    path = write_atomically(FILE, text.encode(), replace=arguments.force)
    for line in (*lines, "", f"wrote {path}; next: perfsuite run"):
        print(line)
    return 0


def _finding(arguments: Namespace) -> Init:
    from perfsuite.targets.http.address import SOCKETS, parse_address

    url = arguments.url.removeprefix("realtime+")
    if url.partition("://")[0] not in SOCKETS:
        return Init(arguments, parse_address(url, "URL"))
    from perfsuite.cli.init_realtime import RealtimeInit
    from perfsuite.targets.realtime.target import socket_address

    return RealtimeInit(arguments, socket_address(url, "URL"))


class Init:
    """Looks at a service behind HTTP, and says what is to be written."""

    def __init__(self, arguments: Namespace, address: Address) -> None:
        self.arguments = arguments
        self.address = address

    async def run(self) -> tuple[str, list[str]]:
        """(the file's text, what is shown)"""
        found = await self._discover()
        if self.arguments.verbose:
            for line in found.tried:
                print(f"perfsuite: tried {line}", file=sys.stderr)
        if found.dialect is not None:
            return await self._dialect(found, found.dialect)
        if found.shipped is not None:
            return await self._shipped(found, found.shipped)
        if found.operations:
            return await self._service(found)
        raise PerfsuiteError("\n".join(self._nothing(found)))

    async def _discover(self) -> Found:
        """Without a key unless one was named; a default variable's goes only to a service that is known to want it."""
        from perfsuite.discovery import discover
        from perfsuite.targets.http.dialects import DIALECTS
        from perfsuite.targets.http.proxied import client_for
        from perfsuite.targets.http.secret import secret_of
        from perfsuite.targets.http.target import key_for

        variable = self.arguments.api_key_env
        client = client_for(self.address)
        try:
            key = key_for("", self.address, variable)
            found = await discover(self.address, key, client)
            if found.wants_key and found.dialect is not None and key is None:
                name = DIALECTS[found.dialect].key
                key = None if name is None else secret_of(name)
                if key is None:
                    raise UsageError(f"{self.address.url} wants a key: export {name}, or name it with --api-key-env")
                found = await discover(self.address, key, client)
            if found.wants_key:
                raise UsageError("\n".join([f"{self.address.url} does not accept the key", *found.tried]))
            return found
        finally:
            await client.close()

    def _nothing(self, found: Found) -> Iterator[str]:
        if found.paths:
            yield f"{self.address.url} has an OpenAPI document, and no operation in it that takes a message"
            yield f"it has: {', '.join(found.paths[:20])}"
            yield "describe the one that chats in a template: perfsuite run --target template:FILE (see the README)"
            return
        yield f"nothing at {self.address.url} was recognised"
        yield from (f"tried {line}" for line in found.tried)
        silent = all("closed the connection" in line or "reset" in line for line in found.tried)
        if self.address.scheme == "http" and silent:
            yield "it closes every connection without an answer: does it speak https?"
        yield "give the base URL of a chat service, or describe it in a template: --target template:FILE"

    # ── a known dialect ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _dialect(self, found: Found, dialect: str) -> tuple[str, list[str]]:
        from perfsuite.targets.http.dialects import USUAL, dialect_at
        from perfsuite.targets.http.target import ChatTarget, key_for

        named = self.arguments.model
        if named is None and not found.models:
            raise UsageError(f"{self.address.url} lists no model; name one with --model")
        model = named or _first_chat(list(found.models))
        key = key_for(dialect, self.address, self.arguments.api_key_env)
        prefix = "" if dialect == USUAL else f"{dialect}+"
        name = f"{prefix}{self.address.url}"
        target = ChatTarget(
            dialect, self.address, key, {model: self.address}, name=name, key_name=self.arguments.api_key_env
        )
        await target.open()
        try:
            shown = await self._ask(target, model)
            shown = shown if key is None else [key.hidden_in(line) for line in shown]
        finally:
            await target.close()
        what = dialect_at(dialect, self.address, None).name
        listed = ", ".join(found.models[:LISTED]) + (" …" if len(found.models) > LISTED else "")
        text = "\n".join(
            [
                f"# {what} at {self.address.url}, found by perfsuite init.",
                "# Any setting of perfsuite run can stand here.",
                f"target = {toml(name)}",
                *([OLLAMA.format(toml(self.address.url))] if dialect == "ollama" else []),
                f"# It lists: {comment(listed) or 'nothing'}.  Name two, and the switch between them is measured.",
                f"model = [{toml(model)}]",
                *self._key_lines(),
                *COMMON,
            ]
        )
        return text, [f"{name}: {what}, models: {listed or model}", *shown]

    def _key_lines(self) -> list[str]:
        name = self.arguments.api_key_env
        return [f"api_key_env = {toml(name)}  # holds the key, which itself is never written"] if name else []

    # ── a service that a template is shipped for ──────────────────────────────────────────────────────────────────────

    async def _shipped(self, found: Found, name: str) -> tuple[str, list[str]]:
        from typing import cast

        from perfsuite.targets.http.template_file import parse_template
        from perfsuite.targets.template import TemplateTarget, shipped_table

        table = {**shipped_table(name), "base": self.address.url}
        form = cast("dict[str, dict[str, object]]", table["request"])["json"]
        model = self.arguments.model or next(iter(found.models), None)
        if model is not None and "assistant_id" in form:
            form["assistant_id"] = "{model}"
        headers, _ = self._headers(found, {})
        if headers:
            table["headers"] = headers
        target = TemplateTarget(parse_template(table, str(FILE)), [model] if model else [])
        try:
            shown = await self._ask(target, model or "of its own")
        finally:
            await target.close()
        listed = f", graphs: {', '.join(found.models[:LISTED])}" if found.models else ""
        text = self._written(table, [], f"template:{name}, which is made for it", model)
        return text, [f"{self.address.url}: by template:{name}{listed}", *shown]

    def _headers(self, found: Found, wanted: dict[str, str]) -> tuple[dict[str, str], list[str]]:
        """The headers of a template, and the names of those that carry a key."""
        from perfsuite.targets.http.openapi import BEARER

        variable = self.arguments.api_key_env
        headers = {**found.key_headers, **wanted}
        keyed = [name for name, text in headers.items() if "{key}" in text]
        if variable is None:
            return {name: text for name, text in headers.items() if name not in keyed}, keyed
        headers |= {} if keyed else BEARER
        return {name: text.replace("{key}", f"{{env:{variable}}}") for name, text in headers.items()}, keyed

    # ── any other service ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _service(self, found: Found) -> tuple[str, list[str]]:
        from perfsuite.discovery import learn
        from perfsuite.targets.base import Failure
        from perfsuite.targets.template import TemplateTarget

        operation = found.operations[0]
        form = operation.request
        request_table = {"method": form.method, "path": form.path, "json": form.json, "form": form.form}
        table: dict[str, object] = {
            "base": self.address.url,
            "request": {key: value for key, value in request_table.items() if value is not None},
        }
        variable = self.arguments.api_key_env
        headers, keyed = self._headers(found, dict(operation.headers))
        if headers:
            table["headers"] = headers
        request = self._request(self.arguments.model)
        try:
            learned = await learn(table, request, str(FILE), operation.setup, operation.created)
        except Failure as failure:
            others = ", ".join(f"{one.request.method} {one.request.path}" for one in found.operations[1:4])
            sent = form.json if form.form is None else form.form
            body = "nothing" if sent is None else toml(sent)
            hints = [f"{form.method} {form.path}, sent {body}: {failure}"]
            if keyed and variable is None:
                hints.append(
                    f"its requests carry a key ({', '.join(keyed)}): name the variable that holds it with --api-key-env"
                )
            if others:
                hints.append(f"other operations that take a message: {others}; a template can describe one")
            raise PerfsuiteError("\n".join(hints)) from failure
        usage = learned.heard.usage
        target = TemplateTarget(learned.template, [self.arguments.model] if self.arguments.model else [])
        shown = [
            f"{self.address.url}: {_asked(operation)}, from its /openapi.json",
            *self._shown(learned.heard.text, learned.events, usage.prompt_tokens, usage.completion_tokens, "usage"),
            *measurable(target, learned.events.chunks),
        ]
        await target.close()
        text = self._written(learned.table, operation.guessed, "its /openapi.json", self.arguments.model)
        return text, shown

    def _written(self, table: dict[str, object], guessed: Sequence[str], source: str, model: str | None) -> str:
        return template_text(self.address.url, f"template:{FILE}", table, guessed, source, model)

    # ── the one message ───────────────────────────────────────────────────────────────────────────────────────────────

    def _request(self, model: str | None) -> Request:
        from perfsuite.targets.base import Request

        text = self.arguments.message
        return Request(
            message=text,
            messages=[{"role": "user", "content": text}],
            user_id="init",
            conversation_id="init",
            model=model,
        )

    async def _ask(self, target: Target, model: str) -> list[str]:
        import time

        from perfsuite._core import Events
        from perfsuite.targets.base import Failure

        events = Events()
        row = events.begin(time.monotonic_ns())
        try:
            reply = await target.send(self._request(model), row)
        except Failure as failure:
            raise PerfsuiteError(f"{failure} ({failure.kind}); it was asked for the model {model}") from failure
        row.end(0)
        told = (reply.prompt_tokens, reply.completion_tokens, reply.counted_by)
        return [*self._shown(reply.text, events, *told), *measurable(target, events.chunks)]

    def _shown(
        self, text: str, events: Events, prompt: int | None, completion: int | None, counted_by: str
    ) -> Iterator[str]:
        yield f"sent     {_one_line(self.arguments.message)}"
        yield f"got      {_one_line(text)}"
        ttft, response = events.histogram("service_ttft"), events.histogram("service_time")
        times = f"ttft {ttft.mean:.1f} ms, " if ttft.count else ""
        counts = f"{prompt} prompt and {completion} completion tokens ({counted_by})"
        if completion is None:
            counts = "it tells no token counts: they will be estimated"
        yield f"took     {times}response {response.mean:.1f} ms, {events.chunks} chunks; {counts}"
        if events.chunks == 1:
            yield "         the answer came in one piece: ttft is its whole time, and there is no itl"


def measurable(target: Target, chunks: int) -> Iterator[str]:
    """What a run can show of a target whose answer came in so many chunks, and what it cannot and why, over the five
    phases."""
    from perfsuite.metric import streamed
    from perfsuite.phases import documented
    from perfsuite.suites.probes import PROBES

    names = dict.fromkeys([*(name for phase in documented().values() for name in phase.metrics), *streamed()])
    shown: list[str] = []
    hidden: dict[str, list[str]] = {}
    for name in names:
        reasons = [one.unavailable(target) for one in PROBES.values() if name in one.provides]
        if not reasons:  # sampled beside the run, from the system's processes
            reasons = [None if target.process_ids else "needs the system's process: name it with --pid"]
        elif name in INSIDE and target.inspection is None:
            reasons = [f"{target.name} does not show its inside"]
        elif name in OF_GAPS and chunks == 1:
            reasons = ["its answer came in one piece"]
        if None in reasons:
            shown.append(name)
        else:
            hidden.setdefault(str(reasons[-1]), []).append(name)
    yield f"measured {', '.join(shown)}"
    for reason, missing in hidden.items():
        yield f"not      {', '.join(missing)}: {reason}"


def _asked(operation: Operation) -> str:
    """What is sent, in the order that it is."""
    parts = [f"{one.method} {one.path}" for one in (operation.setup, operation.request) if one is not None]
    return ", then ".join(parts)


def _first_chat(models: list[str]) -> str:
    return next((name for name in models if "embed" not in name.lower()), models[0])


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else line[: LONGEST_SHOWN - 1] + "…"


OF_GAPS = ("itl", "max_gap", "tpot", "stalls")
"""Metrics of what lies between the pieces of an answer."""

INSIDE = ("cache_hit_rate", "compression_efficiency")
"""Metrics of the load probes that only a system which shows its inside can give."""
