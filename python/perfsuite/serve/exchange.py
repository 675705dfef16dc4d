"""One chat request under way: what both ways of answering, paced and at length, need to know of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfsuite.serve.dialect import Answer, Asked, Dialect, encode
from perfsuite.serve.http import LAST_CHUNK, BadRequest, chunk, head

if TYPE_CHECKING:
    from perfsuite.serve.connection import Connection
    from perfsuite.serve.faults import Fault
    from perfsuite.serve.http import Request
    from perfsuite.serve.truth import Record

SETTLE_EVERY = 32
"""Pieces after which the kernel's stamps are collected: its queue has room for some hundred."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and its answer."""

    connection: Connection
    request: Request
    dialect: Dialect
    asked: Asked
    answer: Answer
    record: Record
    fault: Fault

    @property
    def chunked(self) -> bool:
        """Whether a stream is sent in chunks; a client of HTTP/1.0 gets it bare, up to the close."""
        return bool(self.request.version)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays."""
        return self.request.keep_alive and not self.fault.close_keepalive

    def fields(self, content_type: str) -> list[tuple[str, str]]:
        """Header fields of every answer."""
        kept = (self.request.keep_alive or self.fault.close_keepalive) and (self.chunked or not self.asked.stream)
        return [
            ("Content-Type", content_type),
            ("Connection", "keep-alive" if kept else "close"),
            ("X-Request-Id", self.record.id),
            ("OpenAI-Processing-Ms", str((time.monotonic_ns() - self.record.received_ns) // 1_000_000)),
        ]

    def stream_head(self) -> bytes:
        """The head of a stream, with what comes before the first token."""
        self.record.status = 200
        fields = [*self.fields(self.dialect.content_type), ("Cache-Control", "no-cache")]
        if self.chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        opening = self.dialect.opening(self.answer)
        return head(200, fields) + (self.frame(opening) if opening else b"")

    def frame(self, data: bytes) -> bytes:
        """A piece of a stream as it goes out."""
        return chunk(data) if self.chunked else data

    def halves(self, event: bytes, at: int) -> tuple[bytes, bytes]:
        """An event as it goes out, in two pieces that part at a place of it."""
        return self.frame(event[:at]), self.frame(event[at:])

    def stream_tail(self, text: str, pieces: int) -> bytes:
        """What comes after the last token."""
        closing = self.dialect.closing(self.answer, text, pieces)
        if not self.fault.no_done:
            closing += self.dialect.end(self.answer, text, pieces)
        return (self.frame(closing) if closing else b"") + (LAST_CHUNK if self.chunked else b"")

    def whole(self, text: str) -> bytes:
        """The answer that is not streamed."""
        self.record.status = 200
        body = encode(self.dialect.whole(self.answer, text))
        return head(200, [*self.fields("application/json"), ("Content-Length", str(len(body)))]) + body

    def refusal(self, error: BadRequest) -> bytes:
        """An error in the API's form."""
        self.record.status = error.status
        body = encode(self.dialect.error(error.status, error.message, error.code))
        fields = [*self.fields("application/json"), ("Content-Length", str(len(body)))]
        if error.retry_after_s is not None:
            fields.append(("Retry-After", f"{max(1, round(error.retry_after_s))}"))
        return head(error.status, fields) + body
