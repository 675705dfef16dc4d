"""Answers at length: from any source of tokens, whole or streamed, and misbehaving where that was asked for."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Protocol

from perfsuite.serve.connection import Gone
from perfsuite.serve.dialect import Usage
from perfsuite.serve.exchange import SETTLE_EVERY, Exchange
from perfsuite.serve.http import BadRequest

if TYPE_CHECKING:
    from perfsuite.serve.options import ModelDelays
    from perfsuite.serve.paced import Frames
    from perfsuite.serve.pacer import Pacer

SECOND = 1_000_000_000
GARBAGE_BYTES = 4096
SPLIT_PAUSE_NS = 5_000_000
TWO_BYTES = "é"


class Source(Protocol):
    """Where an answer's tokens come from."""

    usage: Usage
    at_once: bool
    """Whether the head may be sent before the first token: nothing can be refused any more."""

    async def next(self) -> list[str]:
        """The next piece's tokens, when they are due; none at the end.  Raises BadRequest for what is refused."""

    def delay(self, nanoseconds: int) -> None:
        """Everything that follows is due later."""

    async def close(self) -> None:
        """The answer is over, maybe early."""


class PacedSource:
    """Tokens at fixed delays, as ``PacedStream`` sends them."""

    at_once = True

    def __init__(
        self, exchange: Exchange, frames: Frames, delays: ModelDelays, tokens: int, per_chunk: int, pacer: Pacer
    ) -> None:
        self.usage = exchange.answer.usage
        self._frames = frames
        self._tokens = tokens
        self._per_chunk = per_chunk
        self._pacer = pacer
        self._endless = exchange.fault.never_end
        self._given = 0
        self._due_ns = exchange.record.received_ns + round(delays.ttft_ms * 1e6)
        self._gap_ns = round(delays.token_ms * per_chunk * 1e6)

    async def next(self) -> list[str]:
        """The next tokens; of an answer that never ends, the same ones again."""
        left = self._tokens - self._given % self._tokens if self._endless else self._tokens - self._given
        if left <= 0:
            return []
        await self._pacer.until(self._due_ns)
        self._due_ns += self._gap_ns
        first = self._given % self._tokens
        said = self._frames.texts(first, first + min(self._per_chunk, left))
        self._given += len(said)
        return said

    def delay(self, nanoseconds: int) -> None:
        """Shifts what is due."""
        self._due_ns += nanoseconds

    async def close(self) -> None:
        """Nothing is held."""


class _Over(Exception):
    """The answer ends here; says how."""


class Answering:
    """Gives one answer; ``run`` returns how it ended, and whether the connection may stay."""

    def __init__(self, exchange: Exchange, source: Source, pacer: Pacer, seed: int) -> None:
        self._exchange = exchange
        self._source = source
        self._pacer = pacer
        self._seed = seed
        self._pieces = 0
        self._done: set[str] = set()

    async def run(self) -> str:
        """Answers; closes the source whatever happens."""
        try:
            return await self._answer()
        except Gone:
            return "gone"
        except _Over as over:
            return str(over)
        except BadRequest as error:
            await self._write(self._exchange.refusal(error))
            return "refused"
        finally:
            await self._source.close()

    async def _answer(self) -> str:
        exchange, fault = self._exchange, self._exchange.fault
        if fault.silence:
            await asyncio.get_running_loop().create_future()  # until the client leaves, which ends this task
        if fault.garbage:
            await exchange.connection.write(random.Random(self._seed).randbytes(GARBAGE_BYTES))
            raise _Over("cut")
        if fault.status:
            message = fault.message or f"asked to fail with {fault.status}"
            retry = fault.retry_after_s if fault.status == 429 else None
            raise BadRequest(fault.status, message, retry_after_s=retry)
        if not exchange.asked.stream:
            return await self._whole()
        first = None if self._source.at_once else await self._source.next()
        await self._write(exchange.stream_head())
        said: list[str] = []
        sent = 0
        piece = await self._next(0) if first is None else first
        while piece:
            await self._piece(piece)
            sent += len(piece)
            if not fault.never_end:
                said += piece
            exchange.record.tokens = exchange.answer.usage.completion = sent
            piece = await self._next(sent)
        await self._write(exchange.stream_tail("".join(said), self._pieces))
        return "complete"

    async def _whole(self) -> str:
        exchange = self._exchange
        said: list[str] = []
        while piece := await self._source.next():
            said += piece
            await self._stall(len(said))
        exchange.record.tokens = exchange.answer.usage.completion = len(said)
        body = exchange.whole("".join(said))
        fault = exchange.fault
        if fault.cut is not None or fault.reset is not None:
            await exchange.connection.write(body[: len(body) // 2])
            raise _Over("cut" if fault.reset is None else "reset")
        if fault.bad_json is not None:
            body = body[:-1] + b","
        await self._write(body)
        exchange.record.sent(time.monotonic_ns(), exchange.connection.key())
        return "complete"

    async def _next(self, sent: int) -> list[str]:
        """The next piece, after what is to happen before it."""
        await self._at_token(sent)
        return await self._source.next()

    def _strikes(self, name: str, sent: int) -> bool:
        """Whether a fault's moment has come: once for each answer."""
        at = getattr(self._exchange.fault, name)
        if at is None or sent < at or name in self._done:
            return False
        self._done.add(name)
        return True

    async def _stall(self, sent: int) -> None:
        if self._strikes("stall", sent):
            pause = round(self._exchange.fault.stall_s * SECOND)
            self._source.delay(pause)
            if not isinstance(self._source, PacedSource):
                await self._pacer.until(time.monotonic_ns() + pause)

    async def _at_token(self, sent: int) -> None:
        exchange, dialect = self._exchange, self._exchange.dialect
        if not exchange.fault:
            return
        await self._stall(sent)
        if self._strikes("cut", sent):
            raise _Over("cut")
        if self._strikes("reset", sent):
            raise _Over("reset")
        if self._strikes("bad_json", sent):
            await self._write(exchange.frame(dialect.broken()))
        if self._strikes("big", sent):
            text = "x" * exchange.fault.big_bytes
            await self._write(exchange.frame(dialect.piece(exchange.answer, text, self._pieces)))
        if self._strikes("partial_utf8", sent):
            event = dialect.piece(exchange.answer, TWO_BYTES, self._pieces)
            at = event.index(TWO_BYTES.encode()) + 1
            before, after = exchange.halves(event, at)
            await self._write(before)
            await self._pacer.until(time.monotonic_ns() + SPLIT_PAUSE_NS)
            await self._write(after)
        if self._strikes("error_in_200", sent):
            await self._write(exchange.frame(dialect.failing("asked to fail in mid-stream")))
            if exchange.chunked:
                await self._write(b"0\r\n\r\n")
            raise _Over("error")

    async def _piece(self, piece: list[str]) -> None:
        exchange = self._exchange
        await self._write(exchange.frame(exchange.dialect.piece(exchange.answer, "".join(piece), self._pieces)))
        exchange.record.sent(time.monotonic_ns(), exchange.connection.key())
        self._pieces += 1
        if not self._pieces % SETTLE_EVERY:
            exchange.connection.settle(exchange.record)

    async def _write(self, data: bytes) -> None:
        connection, pause = self._exchange.connection, round(self._exchange.fault.slowloris_s * SECOND)
        if not pause:
            await connection.write(data)
            return
        for index in range(len(data)):
            await connection.write(data[index : index + 1])
            await self._pacer.until(time.monotonic_ns() + pause)
