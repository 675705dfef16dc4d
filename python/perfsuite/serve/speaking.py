"""A session of the realtime API: what the client says, the conversation, and its answers, one at a time.

Faults are asked for with the header or the query ``x-perfsuite-fault`` of the handshake, which strike each answer (a
status refuses the handshake), or in the ``metadata`` of one ``response.create``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfsuite.errors import MissingExtra, PerfsuiteError, UsageError, unknown
from perfsuite.serve import faults
from perfsuite.serve.answering import Answering
from perfsuite.serve.connection import Gone
from perfsuite.serve.dialect import Answer, Asked, Message, messages_of, text_of, whole_number
from perfsuite.serve.exchange import Exchange
from perfsuite.serve.http import BadRequest
from perfsuite.serve.realtime import (
    MODALITIES,
    PATH,
    Realtime,
    Tone,
    added,
    failed,
    modality_of,
    session_event,
)
from perfsuite.serve.websocket import WebSocket

if TYPE_CHECKING:
    from perfsuite.serve.connection import Connection
    from perfsuite.serve.http import Request
    from perfsuite.serve.server import Server

FAULT = "x-perfsuite-fault"
MOST_ITEMS = 10_000
KNOWN = ("session.update", "conversation.item.create", "response.create", "response.cancel")


@dataclass(slots=True, eq=False)
class SpokenExchange(Exchange):
    """An answer over a WebSocket: each line of its dialect's is a message."""

    socket: WebSocket
    speech: Realtime
    said: str = ""
    """The whole answer, once it is there."""
    told: bool = False
    """The client was told that it is over."""

    @property
    def chunked(self) -> bool:
        """There are no chunks."""
        return False

    def stream_head(self) -> bytes:
        """What comes before the first delta."""
        self.record.status = 200
        return self.frame(self.speech.opening(self.answer))

    def frame(self, data: bytes) -> bytes:
        """Events as they go out."""
        return self.socket.framed(data)

    def halves(self, event: bytes, at: int) -> tuple[bytes, bytes]:
        """A message in two fragments."""
        return self.socket.halves(event, at)

    def stream_tail(self, text: str, pieces: int) -> bytes:
        """What comes after the last delta."""
        closing = self.speech.closing(self.answer, text, pieces)
        self.said, self.told = text, not self.fault.no_done
        return self.frame(closing if self.fault.no_done else closing + self.speech.end(self.answer, text, pieces))

    def refusal(self, error: BadRequest) -> bytes:
        """A response that failed."""
        self.record.status = error.status
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
        code = error.code or ("rate_limit_exceeded" if error.status == 429 else None)
        details = {"type": "failed", "error": {"type": kind, "code": code, "message": error.message}}
        return self.frame(self.speech.done(self.answer, "failed", None, details))


def speak(server: Server, connection: Connection, request: Request, tone: Tone) -> None:
    """Answers the handshake, and whatever comes after it."""
    try:
        if request.method != "GET":
            raise BadRequest(400, f"{PATH} takes the GET of a WebSocket's handshake, not {request.method}")
        fault_text = request.headers.get(FAULT) or request.parameter(FAULT) or request.parameter("fault")
        fault = faults.parse(fault_text, FAULT) if fault_text is not None else None
        name = request.parameter("model") or server.models[0].name
        if name not in {model.name for model in server.models}:
            known = [model.name for model in server.models]
            raise BadRequest(404, str(unknown("model", name, known, "this server")), code="model_not_found")
        if fault is not None and fault.status:
            retry = fault.retry_after_s if fault.status == 429 else None
            raise BadRequest(fault.status, fault.message or f"asked to fail with {fault.status}", retry_after_s=retry)
        socket = WebSocket(connection, request)
    except (BadRequest, UsageError) as cause:
        status = 501 if isinstance(cause, MissingExtra) else 400
        refusal = cause if isinstance(cause, BadRequest) else BadRequest(status, str(cause))
        server.refuse(connection, refusal, PATH)
        return
    server.counts.request(PATH, socket.status)
    try:
        connection.send(socket.answer)
        if socket.status != 101:
            connection.finish(keep_alive=False)
            return
        session = Speaking(server, connection, request, socket, name, fault_text, tone)
        session.begin()
    except Gone:
        return


class Speaking:
    """One session.  ``begin`` it once."""

    def __init__(
        self,
        server: Server,
        connection: Connection,
        request: Request,
        socket: WebSocket,
        model: str,
        fault: str | None,
        tone: Tone,
    ) -> None:
        self._server = server
        self._connection = connection
        self._request = request
        self._socket = socket
        self._model = model
        self._fault = fault
        self._tone = tone
        self._ident = server.new_ident()
        self._modality = MODALITIES[0]
        self._instructions = ""
        self._said: list[Message] = []
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._answered: SpokenExchange | None = None
        """What is being answered, until that is over here."""
        self._early: list[tuple[bytes, int, bool]] = []
        """What the client said after it was told that an answer is over, and before it was here too."""

    def begin(self) -> None:
        """Tells that the session is there, and listens.  Raises Gone."""
        self._connection.when_lost = self._lost
        self._say(self._told("session.created"))
        self._connection.upgrade(self._receive)

    def _told(self, kind: str) -> bytes:
        return session_event(kind, self._ident, self._model, self._modality, self._instructions)

    def _say(self, lines: bytes) -> None:
        self._connection.send(self._socket.framed(lines))

    def _lost(self) -> None:
        if self._task is not None:  # which may not have taken its first step yet
            asyncio.get_running_loop().call_soon(self._task.cancel)

    # ── what the client says ──────────────────────────────────────────────────────────────────────────────────────────

    def _receive(self, data: bytes, received_ns: int, by_kernel: bool) -> None:
        try:
            for message in self._socket.received(data):
                self._heard(message, received_ns, by_kernel)
            if self._socket.over:
                self._connection.shut()
        except Gone:
            return

    def _heard(self, message: bytes, received_ns: int, by_kernel: bool) -> None:
        if self._answered is not None and self._answered.told:
            self._early.append((message, received_ns, by_kernel))
            return
        ident = None
        try:
            try:
                event = json.loads(message)
            except (ValueError, RecursionError) as error:
                raise BadRequest(400, f"a message is not JSON: {error}") from error
            if not isinstance(event, dict):
                raise BadRequest(400, "a message must be a JSON object with a type")
            ident = event.get("event_id") if isinstance(event.get("event_id"), str) else None
            self._event(event, received_ns, by_kernel)
        except (BadRequest, UsageError) as error:
            self._say(failed(str(error), code=error.code if isinstance(error, BadRequest) else "", asked=ident))

    def _event(self, event: dict[str, object], received_ns: int, by_kernel: bool) -> None:
        kind = event.get("type")
        if kind == "session.update":
            self._update(_inner(event, "session"))
        elif kind == "conversation.item.create":
            self._add(_inner(event, "item"))
        elif kind == "response.create":
            self._respond(_inner(event, "response", optional=True), received_ns, by_kernel)
        elif kind == "response.cancel":
            if self._task is None:
                raise BadRequest(400, "there is no response to cancel", code="response_cancel_not_active")
            self._cancelled = True
            self._lost()
        else:
            raise BadRequest(400, str(unknown("event", str(kind), KNOWN, PATH)))

    def _update(self, session: Mapping[str, object]) -> None:
        self._modality = modality_of(session) or self._modality
        self._instructions = text_of(session, "instructions") or self._instructions
        self._say(self._told("session.updated"))

    def _add(self, item: Mapping[str, object]) -> None:
        if item.get("type", "message") != "message":
            raise BadRequest(400, "this server keeps items of the type message alone")
        if len(self._said) >= MOST_ITEMS:
            raise BadRequest(400, f"a conversation has {MOST_ITEMS} items at most")
        [message] = messages_of([item], "item")
        self._said.append(message)
        self._say(added(self._ident, len(self._said), message))

    # ── an answer ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _respond(self, asked: Mapping[str, object], received_ns: int, by_kernel: bool) -> None:
        if self._task is not None:
            raise BadRequest(400, "a response is under way", code="conversation_already_has_active_response")
        exchange = self._exchange(asked, received_ns, by_kernel)
        server, connection = self._server, self._connection
        server.counts.in_flight += 1
        connection.answering(exchange.record)
        self._cancelled = False
        self._socket.held = exchange.fault.slowloris_s > 0.0
        self._answered = exchange
        self._task = server.spawn(self._answer(exchange))
        server.pacer.catch_up()

    def _exchange(self, asked: Mapping[str, object], received_ns: int, by_kernel: bool) -> SpokenExchange:
        server = self._server
        metadata = asked.get("metadata")
        text = metadata.get(FAULT) if isinstance(metadata, Mapping) else None
        text = text if isinstance(text, str) else self._fault
        fault = faults.parse(text, FAULT) if text is not None else server.misfortune.draw()
        limit = whole_number(asked, "max_output_tokens")
        instructions = text_of(asked, "instructions") or self._instructions
        opening: list[Message] = [{"role": "system", "content": instructions}] if instructions else []
        messages = [*opening, *self._said] or [{"role": "user", "content": ""}]
        per_chunk = server.options.tokens_per_chunk
        speech = Realtime(modality_of(asked) or self._modality, self._tone, per_chunk, growing=fault.grow)
        ident = server.new_ident()
        record = server.truth.begin(f"resp_{ident}", PATH, received_ns, by_kernel)
        answer = Answer(ident, self._model, 0)
        answer.usage.prompt, answer.usage.cached = server.prompts.count(self._model, messages)
        record.model, record.stream, record.fault = self._model, True, text or ("by chance" if fault else "")
        record.tokens_per_chunk = per_chunk
        return SpokenExchange(
            connection=self._connection,
            request=self._request,
            dialect=speech,
            asked=Asked(
                self._model,
                messages,
                stream=True,
                max_tokens=limit,
                include_usage=True,
                conversation=f"conversation-{self._ident}",
            ),
            answer=answer,
            record=record,
            fault=fault,
            socket=self._socket,
            speech=speech,
        )

    async def _answer(self, exchange: SpokenExchange) -> None:
        server, connection = self._server, self._connection
        how = "gone"
        try:
            source = server.source(exchange)
            how = await Answering(exchange, source, server.pacer, server.options.seed).run()
            connection.settle(exchange.record)
        except PerfsuiteError as error:
            how = "broken"
            self._complain(str(error))
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            how = "cancelled"
        finally:
            self._over(exchange, how)

    def _complain(self, text: str) -> None:
        import sys

        print(f"perfsuite: {PATH}: {text}", file=sys.stderr)

    def _over(self, exchange: SpokenExchange, how: str) -> None:
        connection, socket = self._connection, self._socket
        self._task = self._answered = None
        connection.answering(None)
        self._server.told(exchange, how)
        try:
            if how == "cancelled":
                self._say(exchange.speech.done(exchange.answer, "cancelled", None))
            if how == "complete":
                self._said.append({"role": "assistant", "content": exchange.said})
            if how == "reset":
                connection.reset()
            elif how in ("cut", "gone", "broken"):
                connection.close()
            elif how == "complete" and (exchange.fault.no_done or exchange.fault.close_keepalive):
                connection.send(socket.farewell())
                connection.finish(keep_alive=False)
            else:
                socket.held = False
                socket.flush()
                early, self._early = self._early, []
                for told in early:
                    self._heard(*told)
        except Gone:
            return


def _inner(event: Mapping[str, object], name: str, *, optional: bool = False) -> Mapping[str, object]:
    found = event.get(name, {} if optional else None)
    if not isinstance(found, Mapping):
        raise BadRequest(400, f"{event.get('type')} needs an object {name}")
    return found
