"""One call and what was heard: bytes → events → pieces → the row's tokens and the text, or the failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from perfsuite.targets.base import Failure
from perfsuite.targets.http.client import Answer, Call, Chunk, Client
from perfsuite.targets.http.dialect import Piece, Reader, Usage, WrongShape
from perfsuite.targets.http.failures import LONGEST_MESSAGE, status_failure
from perfsuite.targets.http.splitting import EventTooLarge, Split, Splitter, StreamKind

if TYPE_CHECKING:
    from perfsuite._core import Row

LARGEST_ANSWER = 256 << 20
"""Bytes of one answer on the wire; a stream that never ends is cut here, or at the request's time-out."""

LARGEST_TEXT = 8 << 20
LARGEST_ERROR = 64 << 10
LINGER_S = 2.0
"""How long an answer that said it was complete is given to end on the wire as well."""


class Hearing:
    """What one answer says, piece by piece.  ``row`` gets a token for each content chunk, at its own stamp."""

    def __init__(self, reader: Reader, row: Row | None) -> None:
        self._reader = reader
        self._row = row
        self._texts: list[str] = []
        self._size = 0
        self.usage = Usage()
        self.model: str | None = None
        self.ended = False
        self.chunks = 0
        self.whole = False
        """It was not streamed."""
        self.hidden = 0
        """Characters of reasoning and tool calls."""

    @property
    def text(self) -> str:
        """The visible answer so far."""
        return "".join(self._texts)

    def take(self, splits: list[Split]) -> None:
        """Reads events.  Raises WrongShape, and Failure for an error that the service reports."""
        for at_ns, name, payload in splits:
            self._piece(self._reader.classify(name, payload), at_ns)

    def take_whole(self, payload: bytes, at_ns: int) -> None:
        """Reads an answer that was not streamed."""
        self.whole = True
        self._piece(self._reader.whole(payload), at_ns)

    def _piece(self, piece: Piece, at_ns: int) -> None:
        if piece.error is not None:
            raise Failure("target", f"the service reports an error in its answer: {piece.error[:LONGEST_MESSAGE]}")
        if piece.text or piece.hidden:
            if piece.chunk:
                self.chunks += 1
                if self._row is not None:
                    self._row.token(1, bool(piece.text), at_ns)
            self.hidden += len(piece.hidden)
            if piece.replaces:
                self._texts, self._size = [], 0
            self._size += len(piece.text)
            if self._size > LARGEST_TEXT:
                raise Failure("too_large", f"the answer's text is longer than {LARGEST_TEXT >> 20} Mi characters")
            self._texts.append(piece.text)
        if piece.usage is not None:
            self.usage = self.usage.then(piece.usage)
        self.model = piece.model or self.model
        self.ended = self.ended or piece.end


async def converse(
    client: Client,
    call: Call,
    reader: Reader,
    row: Row | None,
    *,
    marks_end: bool,
    on_sent: Callable[[], object],
    keep: list[Chunk] | None = None,
) -> Hearing:
    """Sends a call and hears its answer out.  Raises Failure by what went wrong.

    ``marks_end``: an answer that does not say it is complete was cut short.  ``keep`` gets the body as it came.
    """
    where = f"{call.method} {call.path}"
    answer = await client.send(call, on_sent)
    try:
        if not 200 <= answer.status < 300:
            body = await read_all(answer, LARGEST_ERROR, cut=True)
            raise status_failure(answer.status, answer.phrase, answer.headers, body, where)
        coding = answer.headers.get("content-encoding", "identity").lower()
        if coding != "identity":
            raise Failure("protocol", f"{where}: the answer is encoded as {coding!r}, which was not asked for")
        hearing = Hearing(reader, row)
        try:
            await _hear(answer, hearing, kind_of(call.stream, answer), where, keep, marks_end)
        except WrongShape as error:
            raise Failure("malformed", f"{where}: {error}") from error
        except EventTooLarge as error:
            raise Failure("too_large", f"{where}: {error}") from error
        if marks_end and not hearing.ended:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if not hearing.chunks and kind in ("text/html", "text/xml", "application/xml", "application/xhtml+xml"):
                raise Failure("malformed", f"{where}: the answer is {kind}, a page: is it a chat that answers there?")
            raise Failure(
                "incomplete", f"{where}: the stream ended after {hearing.chunks} chunks without saying it was complete"
            )
        return hearing
    finally:
        answer.release()


def kind_of(asked: StreamKind, answer: Answer) -> StreamKind:
    """How an answer is split: as asked, unless its type says that it was not streamed after all."""
    content_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if asked in ("sse", "ndjson") and content_type == "application/json":
        return "none" if asked == "sse" else asked
    return asked


async def _hear(
    answer: Answer, hearing: Hearing, kind: StreamKind, where: str, keep: list[Chunk] | None, marks_end: bool
) -> None:
    splitter = Splitter(kind)
    size = 0
    at_ns = 0
    while True:
        try:
            async with asyncio.timeout(LINGER_S if hearing.ended else None):
                chunks = await answer.read()
        except TimeoutError:
            if hearing.ended:
                return
            raise
        except Failure as failure:
            if hearing.ended and failure.kind in ("reset", "incomplete", "closed"):
                return  # it was complete before the connection went
            raise
        if not chunks:
            break
        for data, at_ns in chunks:
            size += len(data)
            if size > LARGEST_ANSWER:
                raise Failure("too_large", f"{where}: the answer is larger than {LARGEST_ANSWER >> 20} MiB")
            if keep is not None:
                keep.append((data, at_ns))
            splits = splitter.feed(data, at_ns)
            if kind != "none":
                hearing.take(splits)
    rest = splitter.finish(at_ns or time.monotonic_ns())
    if kind == "none":
        hearing.take_whole(rest[0][2] if rest else b"", at_ns or time.monotonic_ns())
    else:
        hearing.take(rest)
        if splitter.cut and not hearing.ended and not marks_end:
            raise Failure("incomplete", f"{where}: the stream ended in the middle of an event")


async def read_all(answer: Answer, limit: int, *, cut: bool = False) -> bytes:
    """The whole body.  More than ``limit``: cut there, or Failure."""
    parts: list[bytes] = []
    size = 0
    while chunks := await answer.read():
        for data, _ in chunks:
            parts.append(data)
            size += len(data)
        if size > limit:
            if cut:
                break
            raise Failure("too_large", f"the answer is larger than {limit:,} bytes")
    return b"".join(parts)[:limit]
