"""What the wire engine needs of a target: where it is, how its requests are written, how its answers read, as data."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from perfsuite._core import ERROR_KINDS
from perfsuite.targets.base import Failure
from perfsuite.targets.http.client import phrase_of
from perfsuite.targets.http.dialect import Reader, WrongShape
from perfsuite.targets.http.failures import message_in, status_failure
from perfsuite.targets.http.hearing import Hearing
from perfsuite.targets.http.splitting import EventTooLarge, Splitter, StreamKind

if TYPE_CHECKING:
    from perfsuite._core import WireReply
    from perfsuite.targets.base import Reply, Request
    from perfsuite.targets.http.address import Address

Rules = tuple[tuple[str, str], ...]
"""(role, path) pairs: what it means that there is something at a path of an event (see ``_core.Wire``)."""

WIRE_STAMPS = (
    "the kernel's receive and send stamps (SO_TIMESTAMPING, software) on the monotonic clock, by the wire engine; "
    "delivered counts what the kernel did not stamp"
)


WIRE_SCHEMES = frozenset({"http", "https"})

WIRE_TRANSPORT = "the wire engine, stamped by the kernel"

_OVER_TLS = "TLS: kernel stamps of ciphertext"
"""What is stamped of an https service: the bytes as they came, however much later Python opens them."""


_OF_TEXT = "raw text: pieces that arrive together, and that HTTP does not tell apart, count as one"


def drivable(schemes: Iterable[str]) -> bool:
    """Whether there is an engine for each scheme, on this system; False without any."""
    wanted = set(schemes)
    return bool(wanted) and sys.platform == "linux" and wanted <= WIRE_SCHEMES


def why_not_driven(direct: bool, schemes: Iterable[str]) -> str:
    """Why no engine drives what is reached so, ``direct`` or through a proxy; empty where one does."""
    wanted = sorted(set(schemes))
    if not direct:
        return "it is reached through a proxy"
    return "" if not wanted or drivable(wanted) else f"no engine of this system speaks {' and '.join(wanted)}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and how its answers read: one engine.

    ``finish``: a payload that ends the answer and is no JSON, or the event that does, ``event:NAME``.  ``marks_end``:
    an answer that does not say that it is complete was cut short.  ``speaks``: one without a chunk of text is
    malformed.  ``names``: server-sent events of other names are passed over.  ``cumulative``: each has the whole text
    so far.
    """

    address: Address
    stream: StreamKind
    rules: Rules
    finish: str | None = None
    marks_end: bool = False
    speaks: bool = False
    names: tuple[str, ...] = ()
    cumulative: bool = False


@runtime_checkable
class Wired(Protocol):
    """A target whose requests an engine can send by itself, ahead of time."""

    def endpoints(self) -> Sequence[Endpoint]:
        """One for each engine.  Empty: this target, as it is reached, is not driven over the wire."""

    async def ready(self) -> int:
        """Finds out what the service takes, before a load begins, once.  Sends a message where that cannot be known;
        how many it sent."""

    def prepare(self, request: Request) -> Awaitable[object] | None:
        """What has to be done before a request can be written; None when nothing has.  It raises Failure."""

    def written(self, request: Request) -> tuple[int, bytes]:
        """The index of its endpoint, and its bytes.  Raises Failure."""

    @property
    def wants_text(self) -> bool:
        """Bodies of answers are to be kept, from now on: their tokens are counted by a tokenizer."""

    def reply(self, request: Request, ended: WireReply) -> Reply:
        """What came back, its tokens counted where the server told none.  Its text is there where the body was
        kept."""

    def failure(self, request: Request, ended: WireReply, timeout_s: float) -> Failure:
        """What went wrong, in words."""


def wire_transport(endpoints: Sequence[Endpoint]) -> str:
    """How endpoints are reached."""
    return _with_tls(WIRE_TRANSPORT, endpoints)


def wire_stamps(endpoints: Sequence[Endpoint]) -> str:
    """Where the times of endpoints' tokens come from."""
    text = _with_tls(WIRE_STAMPS, endpoints)
    return f"{text}; {_OF_TEXT}" if any(one.stream == "text" for one in endpoints) else text


def own_stamps(transports: Iterable[str], why: str) -> str:
    """Where the times of tokens come from that no engine took: by which clients, and why by them."""
    return f"monotonic clock, in the process, by {'; '.join(sorted(set(transports)))} (not by the engine in C: {why})"


def _with_tls(text: str, endpoints: Sequence[Endpoint]) -> str:
    return f"{text}; {_OVER_TLS}" if any(one.address.scheme == "https" for one in endpoints) else text


def read_back(reader: Reader, stream: StreamKind, body: bytes) -> Hearing:
    """What a kept answer says.  The engine has judged it: what the reader does not like ends what is read."""
    hearing = Hearing(reader, None)
    # A server may answer with a document though a stream was asked for; a stream of events begins with a field's name.
    whole = stream == "none" or (stream == "sse" and body[:64].lstrip()[:1] == b"{")
    splitter = Splitter("none" if whole else stream)
    try:
        splits = splitter.feed(body, 0)
        if whole:
            hearing.take_whole(body, 0)
        else:
            hearing.take(splits)
            hearing.take(splitter.finish(0))
    except (WrongShape, EventTooLarge, Failure):
        pass
    return hearing


def failure_of(ended: WireReply, where: str, timeout_s: float) -> Failure:
    """The failure of a request that an engine ended, with what the server said about it."""
    kind = ERROR_KINDS[ended.status]
    if ended.http_status and not 200 <= ended.http_status < 300 and kind in ("http_429", "http_4xx", "http_5xx"):
        headers = {} if ended.retry_after_s is None else {"retry-after": str(ended.retry_after_s)}
        return status_failure(ended.http_status, phrase_of(ended.http_status), headers, ended.last, where)
    text = f"{where}: {ended.why or kind}"
    if kind == "protocol" and ended.http_status:
        text += f": {ended.http_status} {phrase_of(ended.http_status)}".rstrip()
        if 300 <= ended.http_status < 400:
            text += " (give the address that it redirects to; perfsuite init names it)"
    if kind == "timeout":
        text += f" of {timeout_s:g} s"
    elif ended.error_number:
        text += f": {os.strerror(ended.error_number)}"
    said = message_in(ended.last) if kind in ("target", "malformed") else ""
    if kind == "incomplete":
        text += f", after {ended.chunks:,} chunks"
        if not ended.chunks and ended.bytes:
            text += f"; {ended.bytes:,} bytes came, and no text in them: is it a chat that answers there?"
    return Failure(kind, f"{text}: {said}" if said else text)
