"""The server: sockets accepted, requests routed, answers counted, and an orderly end."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import TYPE_CHECKING

from perfsuite.errors import PerfsuiteError, UsageError, unknown
from perfsuite.serve import faults
from perfsuite.serve.answering import Answering, PacedSource, Source
from perfsuite.serve.anthropic import AnthropicMessages
from perfsuite.serve.chatting import Chats, ChatSource, configuration
from perfsuite.serve.connection import Connection, Gone
from perfsuite.serve.dialect import Answer, Dialect
from perfsuite.serve.exchange import Exchange
from perfsuite.serve.http import BadRequest
from perfsuite.serve.listening import Listening
from perfsuite.serve.ollama import Ollama
from perfsuite.serve.openai_chat import OpenAIChat
from perfsuite.serve.openai_responses import OpenAIResponses
from perfsuite.serve.paced import Frames, PacedStream
from perfsuite.serve.pacer import Pacer
from perfsuite.serve.pages import Counts, Pages
from perfsuite.serve.prompts import PromptCache
from perfsuite.serve.stamps import Stamps
from perfsuite.serve.truth import Record, Truth

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from perfsuite.serve.http import Request
    from perfsuite.serve.options import ModelDelays, ServeOptions
    from perfsuite.serve.realtime import Tone

SETTLE_NS = 1_000_000_000
"""So long the stamps of an answer's last tokens are waited for: a client that does not read holds them back."""
FAULT_HEADER = "x-perfsuite-fault"
SPOKEN = "/v1/realtime"
DIALECTS: dict[str, Dialect] = {
    one.path: one for one in (OpenAIChat(), OpenAIResponses(), AnthropicMessages(), Ollama())
}


class Server:
    """A server of one event loop: ``await start()``, ``await close()``.

    Public state: ``url``, ``truth``, ``counts``, and ``stamps``, which says whether they come from the kernel.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.truth = Truth()
        self.counts = Counts()
        self.stamps = Stamps(receive=options.kernel_stamps, send=options.kernel_stamps)
        self.url = ""
        self.pacer: Pacer
        self._models = {model.name: model for model in options.served}
        self._chats: Chats | None = None
        if options.engine == "reference":
            self._chats = Chats(configuration(options.served, options.tokens))
        self._tone: Tone | None = None
        self._frames: dict[tuple[str, str, bool], Frames] = {}
        self.prompts = PromptCache()
        self.misfortune = faults.Misfortune(options.fault, options.fault_probability, options.seed)
        self._idents = random.Random(f"{options.seed} ids")
        self._created = int(time.time())
        self._listening: Listening | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pages = Pages(self)

    @property
    def models(self) -> list[ModelDelays]:
        """The models served, the default first."""
        return list(self._models.values())

    @property
    def connections(self) -> int:
        """Open connections."""
        return 0 if self._listening is None else len(self._listening.connections)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Listens.  Raises UsageError when the address cannot be had."""
        options = self.options
        context = None
        if options.secure:
            from perfsuite.serve import tls

            context = tls.context(options.certificate, options.key, options.certificate_out)
        self._loop = asyncio.get_running_loop()
        listening = Listening(self, options.host, options.port, context=context, refused=self._refused)
        self.pacer = Pacer()
        try:
            if self._chats is not None:
                await self._chats.open()
        except BaseException:
            listening.close()
            self.pacer.close()
            raise
        self.url = listening.url
        self._listening = listening
        listening.open()

    def _refused(self) -> None:
        self.counts.refused_connections += 1

    async def close(self) -> None:
        """Stops listening, ends what is under way, and closes everything."""
        listening = self._listening
        if listening is None:
            return
        listening.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        listening.close()
        self._listening = None
        self.pacer.close()
        if self._chats is not None:
            await self._chats.close()

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        if self._listening is not None:
            self._listening.connections.discard(connection)

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def refuse(self, connection: Connection, error: BadRequest, path: str = "unreadable") -> None:
        """Answers what is no request, and closes."""
        self.counts.request(path, error.status)
        self._say(connection, self._pages.failure(error, keep_alive=False), keep_alive=False)

    def handle(self, connection: Connection, request: Request, received_ns: int, by_kernel: bool) -> None:
        """Answers a request."""
        dialect = DIALECTS.get(request.path)
        if request.path == SPOKEN:
            self._speak(connection, request)
            return
        if dialect is None:
            self.spawn(self._page(connection, request))
            return
        ident = self.new_ident()
        named = request.headers.get("x-request-id", "")
        shown = named[:128] if named and named.isprintable() else ident
        record = self.truth.begin(shown, request.path, received_ns, by_kernel)
        self.counts.in_flight += 1
        try:
            exchange = self._exchange(connection, request, dialect, ident, record)
        except (BadRequest, RecursionError) as cause:
            error = cause if isinstance(cause, BadRequest) else BadRequest(400, "the body is nested too deeply")
            record.status = error.status
            refusal = self._pages.failure(error, keep_alive=request.keep_alive, dialect=dialect, ident=record.id)
            self._count(record.path, error.status, record, "refused")
            self._say(connection, refusal, request.keep_alive)
            return
        self._start(exchange)
        self.pacer.catch_up()

    def new_ident(self) -> str:
        """Of an answer or a session."""
        return f"{self._idents.getrandbits(96):024x}"

    def _speak(self, connection: Connection, request: Request) -> None:
        from perfsuite.serve.realtime import Tone
        from perfsuite.serve.speaking import speak

        if self._tone is None:
            self._tone = Tone(self.options.seed)
        speak(self, connection, request, self._tone)

    def _exchange(
        self, connection: Connection, request: Request, dialect: Dialect, ident: str, record: Record
    ) -> Exchange:
        if request.method != "POST":
            raise BadRequest(405, f"{request.path} takes POST, not {request.method}")
        text = request.headers.get(FAULT_HEADER) or request.parameter(FAULT_HEADER) or request.parameter("fault")
        try:
            fault = faults.parse(text, FAULT_HEADER) if text is not None else self.misfortune.draw()
            faults.check_unspoken(fault, request.path)
        except UsageError as error:
            raise BadRequest(400, str(error)) from error
        asked = dialect.read(request.json())
        name = asked.model or next(iter(self._models))
        if name not in self._models:
            raise BadRequest(404, str(unknown("model", name, self._models, "this server")), code="model_not_found")
        answer = Answer(ident, name, self._created, include_usage=asked.include_usage)
        answer.usage.prompt, answer.usage.cached = self.prompts.count(name, asked.messages)
        record.model, record.stream, record.fault = name, asked.stream, text or ("by chance" if fault else "")
        record.tokens_per_chunk = self.options.tokens_per_chunk
        return Exchange(connection, request, dialect, asked, answer, record, fault)

    def _start(self, exchange: Exchange) -> None:
        options, asked = self.options, exchange.asked
        per_chunk = options.tokens_per_chunk
        source: Source
        if self._chats is not None:
            source = ChatSource(exchange, self._chats, per_chunk)
        else:
            delays, tokens = self._paced(exchange)
            frames = self._frames_of(exchange)
            if asked.stream and exchange.chunked and not exchange.fault and exchange.keep_alive:
                frames.prepare(tokens // per_chunk)
                PacedStream(exchange, frames, delays, tokens, per_chunk, self._finished).start(self.pacer)
                return
            source = PacedSource(exchange, frames, delays, tokens, per_chunk, self.pacer)
        self.spawn(self._answer(exchange, source))

    def _paced(self, exchange: Exchange) -> tuple[ModelDelays, int]:
        options = self.options
        tokens = min(options.tokens, exchange.asked.max_tokens or options.tokens)
        exchange.answer.finish = "length" if tokens < options.tokens else "stop"
        return self._models[exchange.answer.model], tokens

    def source(self, exchange: Exchange) -> Source:
        """Where the tokens of an answer at length come from."""
        per_chunk = self.options.tokens_per_chunk
        if self._chats is not None:
            return ChatSource(exchange, self._chats, per_chunk)
        delays, tokens = self._paced(exchange)
        return PacedSource(exchange, self._frames_of(exchange), delays, tokens, per_chunk, self.pacer)

    def _frames_of(self, exchange: Exchange) -> Frames:
        answer = exchange.answer
        key = (exchange.dialect.path, answer.model, answer.include_usage)
        frames = self._frames.get(key)
        if frames is None:
            options = self.options
            frames = Frames(
                exchange.dialect,
                answer.model,
                self._created,
                answer.include_usage,
                options.tokens_per_chunk,
                options.seed,
            )
            self._frames[key] = frames
        return frames

    async def _answer(self, exchange: Exchange, source: Source) -> None:
        connection = exchange.connection
        task = asyncio.current_task()
        assert task is not None
        connection.when_lost = lambda: None if task.done() else _cancel(task)
        how = "gone"
        try:
            how = await Answering(exchange, source, self.pacer, self.options.seed).run()
            connection.settle(exchange.record)
        except PerfsuiteError as error:
            how = "error"
            print(f"perfsuite: {exchange.request.path}: {error}", file=sys.stderr)
        finally:
            connection.when_lost = None
            self._finished(exchange, how)

    def told(self, exchange: Exchange, how: str) -> None:
        """An answer has ended: counts it, and tells the truth about it once the last stamps are there."""
        record, connection = exchange.record, exchange.connection
        if record.awaits and how == "complete" and not connection.closed:
            self.counts.in_flight -= 1
            self.counts.request(record.path, record.status)
            connection.settle_later(record, lambda: self.truth.end(record, how))
            self.pacer.at(time.monotonic_ns() + SETTLE_NS, lambda due: self._settle(connection, record))
        else:
            self._count(record.path, record.status, record, how)
        self.counts.prompt_tokens += exchange.answer.usage.prompt
        self.counts.completion_tokens += record.tokens

    def _finished(self, exchange: Exchange, how: str) -> None:
        self.told(exchange, how)
        record, connection = exchange.record, exchange.connection
        if how == "reset":
            connection.reset()
        elif how in ("complete", "refused") or (how == "error" and exchange.chunked and "error_in_200" in record.fault):
            connection.finish(exchange.keep_alive and (exchange.chunked or not exchange.asked.stream))
        else:
            connection.close()

    @staticmethod
    def _settle(connection: Connection, record: Record) -> int:
        if record.awaits and record.end == "open":
            connection.collect()
            connection.settle_now()
        return 0

    def collect(self) -> None:
        """Takes the stamps that have come for answers given, before the truth is told."""
        for connection in list(self._listening.connections) if self._listening is not None else ():
            if not connection.busy:
                connection.collect()

    def _count(self, path: str, status: int, record: Record, how: str) -> None:
        self.counts.in_flight -= 1
        self.counts.request(path, status)
        self.truth.end(record, how)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Runs a coroutine until it ends or the server does."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "an answer failed", "exception": error, "task": task})

    async def _page(self, connection: Connection, request: Request) -> None:
        status = 500
        try:
            status = await self._pages.give(connection, request)
        except Gone:
            return
        except BaseException:
            connection.close()  # it may have the half of an answer
            raise
        finally:
            self.counts.request(request.path if status != 404 else "unknown", status)
        connection.finish(request.keep_alive)

    @staticmethod
    def _say(connection: Connection, data: bytes, keep_alive: bool) -> None:
        try:
            connection.send(data)
        except Gone:
            return
        connection.finish(keep_alive)

    def reset(self) -> None:
        """Forgets the truth so far, and what prompts there were."""
        self.truth.reset()
        self.prompts.clear()


def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
