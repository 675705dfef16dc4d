"""A realtime service behind a WebSocket: ``realtime+ws://HOST:PORT[/path]``, ``realtime+wss://…``.

Each conversation has a connection of its own, which is kept from message to message and made again, with what was said
before, where it was lost.  A conversation that a user has left is closed.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.targets.base import Failure, Message, MetricsPage, Reply, Request, Target
from perfsuite.targets.http.address import SECURE, SOCKETS, VERSION, Address, metrics_pages, parse_address
from perfsuite.targets.http.behind import Keyed
from perfsuite.targets.http.client import Client
from perfsuite.targets.http.dialect import bearer
from perfsuite.targets.http.dialects import USUAL
from perfsuite.targets.http.dialling import Dialler
from perfsuite.targets.http.failures import UNAUTHORIZED, HttpFailure, remedy
from perfsuite.targets.http.proxied import proxy_for
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.target import OPENING_S, key_for
from perfsuite.targets.http.wired import Endpoint
from perfsuite.targets.realtime.session import Place, RealtimeSession
from perfsuite.targets.realtime.socket import STAMPED, connect, needed, url_of

if TYPE_CHECKING:
    from perfsuite._core import Row
    from perfsuite.plan import Modality, Plan
    from perfsuite.targets.realtime.hearing import Heard

SCHEME = "realtime"
KEY = "OPENAI_API_KEY"
MOST_IDLE = 1000
"""Connections that are kept without a message on the way; the one used longest ago goes first."""
GONE = ("closed", "reset", "tls")


def split_target(target: str) -> Address:
    """The address of ``realtime+ws[s]://…``, with the path of its socket.  Raises UsageError."""
    _, plus, url = target.partition("+")
    if not plus or "://" not in url:
        raise UsageError(f"--target {SCHEME}: write the service's URL after it: {SCHEME}+ws://HOST:PORT")
    return socket_address(url, "--target")


def socket_address(url: str, where: str) -> Address:
    """The address of ``ws[s]://…``: without a path, or with a version alone, of ``/v1/realtime``.  Raises
    UsageError."""
    address = parse_address(url, where, SOCKETS)
    last = address.path.rpartition("/")[2]
    if not last or VERSION.fullmatch(last):
        base = address.versioned()
        return Address(base.scheme, base.host, base.port, f"{base.path}/realtime")
    return address


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The target of a URL; models and key from the plan.  Raises MissingExtra."""
    needed(f"a {SCHEME} target")
    address = split_target(plan.target)
    models = {
        model.name: socket_address(model.url, f"--model {model.name}") if model.url else address
        for model in plan.models
    }
    key = key_for(USUAL, address, plan.api_key_env)
    return RealtimeTarget(
        address,
        key,
        models,
        name=plan.target,
        key_name=plan.api_key_env,
        tokenizer=plan.tokenizer,
        modality=plan.modality or "audio",
    )


class RealtimeTarget(Keyed):
    """A service that is spoken to in realtime events."""

    def __init__(
        self,
        address: Address,
        key: Secret | None = None,
        models: dict[str, Address] | None = None,
        *,
        name: str | None = None,
        key_name: str | None = None,
        tokenizer: Path | None = None,
        modality: Modality = "audio",
    ) -> None:
        super().__init__(name or f"{SCHEME}+{address.url}", address, key, key_name or KEY, models, tokenizer)
        self._modality = modality
        self._diallers: dict[Address, Dialler] = {}
        self._idle: OrderedDict[Place, RealtimeSession] = OrderedDict()
        self._of_user: dict[str, Place] = {}
        self._retried = 0
        self.reconnected = 0
        """Connections made for conversations that had one before."""

    # ── what is said of it ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def clients(self) -> Sequence[Client]:
        """None: nothing is sent over HTTP."""
        return ()

    def endpoints(self) -> Sequence[Endpoint]:
        """None: the engine in C speaks HTTP."""
        return ()

    @property
    def metrics_pages(self) -> Sequence[Sequence[MetricsPage]]:
        """Over HTTP at the same place."""
        above = [
            Address("https" if one.scheme in SECURE else "http", one.host, one.port, one.path.rpartition("/")[0])
            for one in self.addresses
        ]
        return metrics_pages(above, self.credentials())

    @property
    def transport(self) -> str:
        """How it is reached, and where arrivals are stamped."""
        return STAMPED

    @property
    def stamps(self) -> str:
        """Where the times of its tokens come from, and which deltas are its tokens."""
        return (
            f"monotonic clock, in the process, by {STAMPED} (not by the engine in C, which speaks HTTP); ttft is the "
            "answer's first delta of text or audio, itl the gaps between deltas of the same kind"
        )

    @property
    def retried(self) -> int:
        """Messages sent again because a kept connection turned out to be closed."""
        return self._retried

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self) -> None:
        """Opens a session and closes it: which model it has, and whether the key will do.  Raises PerfsuiteError when
        nobody is there, UsageError when it wants another key."""
        for address in dict.fromkeys(self.addresses):
            if not address.loopback and proxy_for(Address(_web(address), address.host, address.port)) is not None:
                raise UsageError(
                    f"{address.url} would be reached through the proxy that the environment names, which realtime "
                    f"targets are not: put {address.host} into NO_PROXY"
                )
            model = self._of(address)
            try:
                async with asyncio.timeout(OPENING_S):
                    session = await self._begin(Place("", model))
            except TimeoutError as error:
                hint = "does it speak TLS?" if address.scheme in SECURE else "is it a realtime service?"
                raise PerfsuiteError(f"{address.url} opens no session within {OPENING_S:g} s; {hint}") from error
            except HttpFailure as failure:
                if failure.status in UNAUTHORIZED:
                    raise UsageError(str(self._mask(failure))) from failure
                raise UsageError(f"{self._mask(failure)}: is the path right?") from failure
            except Failure as failure:
                raise PerfsuiteError(f"{self._mask(failure)}; {remedy(failure)}") from failure
            session.close()
            if model is None and session.model:
                self._models = {session.model: address}

    async def close(self) -> None:
        """Closes the connections."""
        idle, self._idle = self._idle, OrderedDict()
        for session in idle.values():
            session.close()
        self._of_user.clear()
        await asyncio.sleep(0)  # lets the transports close their sockets

    # ── a message ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def send(self, request: Request, row: Row) -> Reply:
        """One message.  Its deltas are stamped as they arrive; Failure says what went wrong."""
        model = self._asked(request.model)
        place = Place(request.conversation_id, model, tuple(request.headers))
        messages = request.messages or [{"role": "user", "content": request.message}]
        self._leave(request.user_id, place)
        times: dict[str, float] = {}
        try:
            heard = await self._answered(place, messages, request.max_tokens, row, times)
        except Failure as failure:
            self._mask(failure)
            raise
        return self._reply(heard, messages, model, {**times, **heard.times})

    async def _answered(
        self, place: Place, messages: Sequence[Message], max_tokens: int | None, row: Row, times: dict[str, float]
    ) -> Heard:
        sent_ns: list[int] = []

        def sent() -> int:
            if not sent_ns:  # not when it is sent again
                sent_ns.append(time.monotonic_ns())
                row.sent(sent_ns[0])
            return sent_ns[0]

        session = self._kept(place, messages)
        while True:
            kept = session is not None
            if session is None:
                began = time.monotonic_ns()
                session = await self._begin(place)
                times["session"] = (time.monotonic_ns() - began) / 1e6
            try:
                heard = await session.answer(messages, max_tokens, row, sent)
            except Failure as failure:
                session.abort()
                if kept and session.unanswered and failure.kind in GONE:
                    self._retried += 1
                    session = None
                    continue
                raise
            except BaseException:
                session.abort()
                raise
            self._keep(place, session)
            return heard

    async def _begin(self, place: Place) -> RealtimeSession:
        address = self._at(place.model)
        dialler = self._diallers.setdefault(address, Dialler(address))
        path = address.path if place.model is None else f"{address.path}?model={quote(place.model, safe='')}"
        where = url_of(address, address.path)
        headers = (("User-Agent", "perfsuite"), *bearer(self._key), *place.headers)
        socket = await connect(dialler, path, headers, where)
        session = RealtimeSession(socket, where, self._modality)
        try:
            await session.begin()
        except BaseException:
            session.abort()
            raise
        return session

    def _kept(self, place: Place, messages: Sequence[Message]) -> RealtimeSession | None:
        """The conversation's session, where it can go on with these messages."""
        session = self._idle.pop(place, None)
        if session is None:
            return None
        if session.closed or not session.continues(messages):
            session.close()
            self.reconnected += 1
            return None
        return session

    def _keep(self, place: Place, session: RealtimeSession) -> None:
        before = self._idle.pop(place, None)
        if before is not None:  # two messages of one conversation were on the way at once
            before.close()
        self._idle[place] = session
        while len(self._idle) > MOST_IDLE:
            self._idle.popitem(last=False)[1].close()

    def _leave(self, user: str, place: Place) -> None:
        """A user who begins another conversation has left the last one."""
        before = self._of_user.get(user)
        if before is not None and before.conversation != place.conversation:
            left = self._idle.pop(before, None)
            if left is not None:
                left.close()
        self._of_user[user] = place

    def _reply(self, heard: Heard, messages: Sequence[Message], model: str | None, times: dict[str, float]) -> Reply:
        usage, counted_by = heard.usage, "usage"
        if usage.completion_tokens is None or usage.prompt_tokens is None:
            own = self._counter(model)
            usage = own.completed(usage, messages, heard.text, heard.hidden)
            counted_by = own.name
        return Reply(
            text=heard.text,
            model=model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            counted_by=counted_by,
            ended_ns=heard.ended_ns,
            times=times,
            extra={"audio_bytes": heard.audio_bytes, "audio_chunks": heard.audio_chunks, "response": heard.ident},
        )


def _web(address: Address) -> str:
    return "https" if address.scheme in SECURE else "http"
