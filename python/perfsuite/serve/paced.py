"""Answers of fixed delays: the ground truth that clients are held against.

All words are of one token.  The events are made once for each model and dialect, but for the answer's id; a token then
costs a heap operation, two concatenations, a send and a stamp.  Dues are from the request's receive stamp and do not
add up lateness: the i-th piece is due at ``ttft + i × tokens per chunk × delay per token``.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from perfsuite.serve.connection import Gone
from perfsuite.serve.dialect import PLACE, Answer, Dialect
from perfsuite.serve.exchange import SETTLE_EVERY, Exchange
from perfsuite.serve.http import chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfsuite.serve.options import ModelDelays
    from perfsuite.serve.pacer import Pacer

WORDS = tuple(
    """
    the a of and to in is was for on that with as it be at by from this have or one had not but what all were
    when we there can an your which their said if do will each about how up out them then she many some so these
    would other into has more her two like him see time could no make than first been its who now people my made
    over did down only way find use may water long little very after words called just where most know
    """.split()  # noqa: SIM905 - a list of words is read as one
)
"""Each is one token of the models' tokenizer, with a space before it and without."""
MILLISECOND = 1_000_000


class Frames:
    """The pieces of an endless answer of one model in one dialect: the same ones every time."""

    def __init__(
        self, dialect: Dialect, model: str, created: int, include_usage: bool, per_chunk: int, seed: int
    ) -> None:
        self._dialect = dialect
        self._answer = Answer(PLACE, model, created, include_usage=include_usage)
        self._per_chunk = per_chunk
        self._random = random.Random(f"{seed} {model}")
        self._first = True
        self.words: list[str] = []
        self.pairs: list[tuple[bytes, bytes]] = []
        self.named = False
        """Whether the pieces have the answer's id in them."""

    def texts(self, first: int, end: int) -> list[str]:
        """The tokens from the one to before the other."""
        while len(self.words) < end:
            word = self._random.choice(WORDS)
            self.words.append(word.capitalize() if not self.words else f" {word}")
        return self.words[first:end]

    def piece_text(self, index: int, tokens: int) -> str:
        """The text of one piece of an answer of so many tokens."""
        return "".join(self.texts(index * self._per_chunk, min(tokens, (index + 1) * self._per_chunk)))

    def prepare(self, pieces: int) -> None:
        """Makes that many frames of whole pieces."""
        for index in range(len(self.pairs), pieces):
            text = self.piece_text(index, (index + 1) * self._per_chunk)
            before, found, after = chunk(self._dialect.piece(self._answer, text, index)).partition(PLACE.encode())
            self.named = bool(found)
            self.pairs.append((before, after))


class PacedStream:
    """A stream without faults on a chunked connection: the quick way."""

    def __init__(
        self, exchange: Exchange, frames: Frames, delays: ModelDelays, tokens: int, per_chunk: int,
        done: Callable[[Exchange, str], None],
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._connection = exchange.connection
        self._record = exchange.record
        self._frames = frames
        self._tokens = tokens
        self._per_chunk = per_chunk
        self._pieces = -(-tokens // per_chunk)
        self._whole = tokens // per_chunk
        self._index = 0
        self._done = done
        self._ident = exchange.answer.ident.encode() if frames.named else b""
        self._begin_ns = exchange.record.received_ns + round(delays.ttft_ms * MILLISECOND)
        self._gap_ns = round(delays.token_ms * per_chunk * MILLISECOND)

    def start(self, pacer: Pacer) -> None:
        """Sends the head, and waits for the first token's time."""
        self._pacer = pacer
        try:
            self._connection.send(self._exchange.stream_head())
        except Gone:
            self._done(self._exchange, "gone")
            return
        self._connection.when_lost = self._lost
        pacer.at(self._begin_ns, self._step)

    def _lost(self) -> None:
        self._done(self._exchange, "gone")

    def _step(self, due: int) -> int:
        connection, index = self._connection, self._index
        if connection.closed:
            return 0
        if index < self._whole:
            before, after = self._frames.pairs[index]
            data = before + self._ident + after
        else:
            text = self._frames.piece_text(index, self._tokens)
            data = chunk(self._exchange.dialect.piece(self._exchange.answer, text, index))
        try:
            sent = connection.send(data)
        except Gone:
            return 0  # ``_lost`` was called
        if not sent:
            connection.when_drained = self._drained
            return 0
        return self._sent()

    def _sent(self) -> int:
        """Stamps the piece; returns when the next is due."""
        record = self._record
        record.sent(time.monotonic_ns(), self._connection.key())
        self._index = index = self._index + 1
        if index == self._pieces:
            self._end()
            return 0
        if not index % SETTLE_EVERY:
            self._connection.settle(record)
        return self._begin_ns + index * self._gap_ns

    def _drained(self) -> None:
        """The piece that had to wait is with the kernel now."""
        if not self._connection.closed:
            following = self._sent()
            if following:
                self._pacer.at(following, self._step)

    def _end(self) -> None:
        exchange, connection = self._exchange, self._connection
        connection.when_lost = None
        exchange.answer.usage.completion = self._record.tokens = self._tokens
        text = "".join(self._frames.texts(0, self._tokens))
        try:
            connection.send(exchange.stream_tail(text, self._pieces))
        except Gone:
            self._done(exchange, "gone")
            return
        connection.settle(self._record)
        self._done(exchange, "complete")
