"""A chat service behind a URL: ``http://…``, ``responses+http://…``, ``anthropic+…``, ``ollama+…``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.targets.base import Failure, Message, Reply, Request, Target
from perfsuite.targets.http.address import Address, parse_address
from perfsuite.targets.http.behind import Keyed
from perfsuite.targets.http.client import Call, Client, rendered
from perfsuite.targets.http.counting import reply_of
from perfsuite.targets.http.dialect import Dialect, WrongShape
from perfsuite.targets.http.dialects import DIALECTS, USUAL, dialect_at
from perfsuite.targets.http.failures import UNAUTHORIZED, HttpFailure, remedy, status_failure
from perfsuite.targets.http.hearing import converse, read_all
from perfsuite.targets.http.proxied import client_for
from perfsuite.targets.http.secret import Secret, secret_of
from perfsuite.targets.http.wired import Endpoint, failure_of, read_back

if TYPE_CHECKING:
    from perfsuite._core import Row, WireReply
    from perfsuite.plan import Plan

LARGEST_LIST = 4 << 20
ROTATION = 2
"""Models of a local service that a run uses when none is named: enough for a switch."""
OPENING_S = 10.0
_NOT_CHAT = ("embed", "rerank", "whisper", "tts", "dall-e", "moderation", "transcribe")


def split_target(target: str) -> tuple[str, Address]:
    """(dialect, address) of ``[DIALECT+]http[s]://…``.  Raises UsageError."""
    before, colon, rest = target.partition("://")
    prefix, plus, scheme = before.rpartition("+")
    dialect = prefix if plus else USUAL
    if not plus and before not in ("http", "https"):
        dialect = target.partition(":")[0]
        raise UsageError(f"--target {dialect}: write the service's URL after it: {dialect}+http://HOST:PORT")
    return dialect, parse_address(f"{scheme}{colon}{rest}", "--target")


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The target of a URL; models and key from the plan."""
    dialect, address = split_target(plan.target)
    key = key_for(dialect, address, plan.api_key_env)
    urls = {
        model.name: parse_address(model.url, f"--model {model.name}") if model.url else address for model in plan.models
    }
    return ChatTarget(
        dialect, address, key, urls, name=plan.target, key_name=plan.api_key_env, tokenizer=plan.tokenizer
    )


def key_for(dialect: str, address: Address, variable: str | None) -> Secret | None:
    """The key from the environment.  A variable that was named and is not set is an error.

    The service's own default variable is used as well where the address is another's: that is how compatible services
    are given their keys.
    """
    if variable is not None:
        key = secret_of(variable)
        if key is None:
            raise UsageError(f"--api-key-env {variable}: the variable is not set; export it, or name another")
        return key
    known = DIALECTS.get(dialect)
    return secret_of(known.key) if known is not None and known.key is not None else None


class _Served:
    """One address of the target: its client, and its dialect as that server takes it."""

    def __init__(self, dialect: Dialect, client: Client) -> None:
        self.dialect = dialect
        self.client = client
        self.where = ""
        """The operation that messages are sent to, for texts."""
        self.tried = False
        """The service was asked what it takes."""

    def adapt(self, failure: Failure) -> bool:
        """Leaves out what the service refused, where that is known; whether it did."""
        if not isinstance(failure, HttpFailure) or failure.status not in (400, 422):
            return False
        adapted = self.dialect.adapted(failure.message)
        self.dialect = adapted or self.dialect
        return adapted is not None


class ChatTarget(Keyed):
    """A service behind one of the dialects."""

    def __init__(
        self,
        dialect: str,
        address: Address,
        key: Secret | None,
        models: dict[str, Address] | None = None,
        *,
        name: str | None = None,
        key_name: str | None = None,
        tokenizer: Path | None = None,
    ) -> None:
        variable = key_name or DIALECTS[dialect].key or "OPENAI_API_KEY"
        super().__init__(name or address.url, address, key, variable, models, tokenizer)
        self._dialect = dialect
        self._served: dict[Address, _Served] = {}

    @property
    def clients(self) -> Sequence[Client]:
        """While it is open."""
        return [served.client for served in self._served.values()]

    async def open(self) -> None:
        """Asks the service which models it has, unless they were named.  Raises PerfsuiteError when nobody is there,
        UsageError when it wants another key or a model's name."""
        for address in self.addresses:
            if address not in self._served:
                self._served[address] = _Served(dialect_at(self._dialect, address, self._key), client_for(address))
        try:
            async with asyncio.timeout(OPENING_S):
                await self._look()
        except TimeoutError as error:
            await self.close()
            hint = "does it speak https?" if self.address.scheme == "https" else "is it up?"
            raise PerfsuiteError(f"{self.address.url} does not answer within {OPENING_S:g} s; {hint}") from error
        except BaseException:
            await self.close()
            raise

    async def _look(self) -> None:
        named = bool(self._models)
        for address, served in self._served.items():
            try:
                found = await self._listed(served)
            except HttpFailure as failure:
                if failure.status in UNAUTHORIZED:
                    raise UsageError(str(self._mask(failure))) from failure
                if not named:
                    raise UsageError(
                        f"{self._mask(failure)}: which models it has is not to be seen; name one with --model, or "
                        f"let perfsuite init {address.url} find out what answers there"
                    ) from failure
                continue
            except Failure as failure:
                raise PerfsuiteError(f"{self._mask(failure)}; {remedy(failure)}") from failure
            except WrongShape as error:
                if not named:
                    raise UsageError(
                        f"GET {served.dialect.models_path}: {error}; it does not speak {served.dialect.name}: "
                        f"perfsuite init {address.url} finds out what it does speak"
                    ) from error
                continue
            if not named:
                self._choose(found, address)

    async def _listed(self, served: _Served) -> list[str]:
        call = served.dialect.models_call()
        answer = await served.client.send(call, lambda: None)
        try:
            body = await read_all(answer, LARGEST_LIST)
            if answer.status != 200:
                raise status_failure(answer.status, answer.phrase, answer.headers, body, f"{call.method} {call.path}")
            return served.dialect.models(body)
        finally:
            answer.release()

    def _choose(self, found: list[str], address: Address) -> None:
        chat = [name for name in found if not any(word in name.lower() for word in _NOT_CHAT)] or found
        if not chat:
            raise UsageError(f"{address.url} lists no model; load one, or name one with --model")
        if len(chat) > 1 and not address.loopback:
            few = ", ".join(chat[:8]) + (f" and {len(chat) - 8} more" if len(chat) > 8 else "")
            raise UsageError(f"{address.url} has several models ({few}): choose with --model NAME")
        self._models = dict.fromkeys(chat[:ROTATION], address)

    async def send(self, request: Request, row: Row) -> Reply:
        """One message.  Its tokens are stamped as they arrive; Failure says what went wrong."""
        model = self._asked(request.model)
        served = self._served[self._at(model)]
        first = True

        def sent() -> None:
            nonlocal first
            if first:
                row.sent()
            first = False

        try:
            while True:
                dialect = served.dialect
                call, reader = self._call(served, request, model), dialect.reader(request)
                try:
                    heard = await converse(served.client, call, reader, row, marks_end=dialect.marks_end, on_sent=sent)
                    served.tried = True
                    break
                except HttpFailure as failure:
                    if not served.adapt(failure):
                        raise
        except Failure as failure:
            self._mask(failure)
            raise
        return reply_of(heard, request, model, self._counter)

    def _call(self, served: _Served, request: Request, model: str | None) -> Call:
        call = served.dialect.call(request, model)
        return replace(call, headers=(*call.headers, *request.headers)) if request.headers else call

    def counter(self, model: str | None) -> tuple[str, Callable[[Sequence[Message]], int]] | None:
        """The model's own tokenizer with its chat template, where their files are at hand."""
        found = self._counter(model)
        return (found.name, found.prompt) if found.prompt is not None else None

    # ── over the wire ─────────────────────────────────────────────────────────────────────────────────────────────────

    def endpoints(self) -> Sequence[Endpoint]:
        """One for each address; none where an address is reached through a proxy, or no engine speaks its scheme."""
        if self.unwired:
            return ()
        return [
            Endpoint(address, dialect.stream, dialect.rules, dialect.finish, dialect.marks_end)
            for address, dialect in ((address, served.dialect) for address, served in self._served.items())
        ]

    async def ready(self) -> int:
        """Sends each address a message of its own, once, where its dialect knows a way out of a refusal; how many
        messages that took."""
        sent: list[Call] = []
        for address, served in self._served.items():
            model = self._of(address)
            if not served.tried and served.dialect.adaptable and model is not None:
                served.tried = True
                with suppress(TimeoutError):
                    async with asyncio.timeout(OPENING_S):
                        await self._try(served, model, sent)
        return len(sent)

    async def _try(self, served: _Served, model: str, sent: list[Call]) -> None:
        hello = Request(
            message="Hello",
            messages=[{"role": "user", "content": "Hello"}],
            user_id="perfsuite",
            conversation_id="perfsuite",
            max_tokens=1,
        )
        refused = True
        while refused:
            dialect = served.dialect
            call = dialect.call(hello, model)
            sent.append(call)
            try:
                reader = dialect.reader(hello)
                await converse(served.client, call, reader, None, marks_end=dialect.marks_end, on_sent=lambda: None)
                return
            except Failure as failure:  # what is not about the request itself, the load will show
                refused = served.adapt(failure)

    def prepare(self, request: Request) -> None:
        """Nothing: a message stands for itself."""

    def written(self, request: Request) -> tuple[int, bytes]:
        """The endpoint's index and the request's bytes."""
        model = self._asked(request.model)
        address = self._at(model)
        served = self._served[address]
        call = self._call(served, request, model)
        served.where = f"{call.method} {call.path}"
        return list(self._served).index(address), rendered(call, address)

    def reply(self, request: Request, ended: WireReply) -> Reply:
        """An engine's answer; with its text where the body was kept."""
        model = self._asked(request.model)
        dialect = self._served[self._at(model)].dialect
        body = ended.body
        heard = None if body is None else read_back(dialect.reader(request), dialect.stream, body)
        return self._reply_of(request, model, ended, heard)

    def failure(self, request: Request, ended: WireReply, timeout_s: float) -> Failure:
        """What went wrong; a refusal that can be met is met from the next request on."""
        model = self._asked(request.model)
        served = self._served[self._at(model)]
        failure = failure_of(ended, served.where, timeout_s)
        served.adapt(failure)
        return self._mask(failure)

    async def close(self) -> None:
        """Closes the connections."""
        served, self._served = self._served, {}
        for one in served.values():
            await one.client.close()
