"""The browser monitor's logs as Python reads them (the form: logs.schema.json; what of it the analysis needs).

A field that is missing, or null, is a figure that was not measured.  What cannot be meant (text for a number, a
negative count) is refused with its place.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from perfsuite.errors import UsageError, shown

FORMAT = "perfsuite-realtime-logs"
VERSION = 1
LARGEST_FILE = 64 << 20
"""The monitor's lists are bounded: a session of hours has some megabytes."""

Number: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
"""Whole up to its last digit, in JavaScript too."""
Measured: TypeAlias = Number | None


class Spread(msgspec.Struct, frozen=True, rename="camel"):
    """How many, their sum and the longest."""

    count: Number = 0.0
    sum: Number = 0.0
    max: Number = 0.0

    @property
    def mean(self) -> float | None:
        """None where there are none."""
        return self.sum / self.count if self.count else None

    @property
    def longest(self) -> float | None:
        """None where there are none."""
        return self.max if self.count else None


class Peaks(msgspec.Struct, frozen=True, kw_only=True):
    """The most of a session."""

    audio_chunks: Measured = msgspec.field(default=None, name="audioChunksCount")
    ws_buffered: Measured = msgspec.field(default=None, name="wsBufferedAmount")
    event_queue: Measured = msgspec.field(default=None, name="eventQueueSize")
    heap: Measured = msgspec.field(default=None, name="usedJSHeapSize")


class Totals(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Of the whole session."""

    processing_ms: Spread = Spread()
    audio_gap_ms: Spread = Spread()
    time_to_first_response_ms: Spread = Spread()
    messages_received: Measured = None
    messages_sent: Measured = None
    responses: Measured = None
    response_timeouts: Measured = None
    interruptions: Measured = None
    errors: Measured = None
    slow_events: Measured = None
    unclean_closes: Measured = None
    long_task_ms: Measured = None
    peaks: Peaks = Peaks()


class Page(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which session it was."""

    id: str = ""
    started: str = ""
    ended: str = ""
    duration_ms: Measured = None
    url: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One message on a WebSocket."""

    direction: str = ""
    processing_ms: Measured = None


class Chunk(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One chunk of audio."""

    processing_ms: Measured = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The state at an instant, by the document's names, by which the rules ask for them."""

    audioChunksCount: Measured = None
    wsBufferedAmount: Measured = None
    eventQueueSize: Measured = None
    usedJSHeapSize: Measured = None
    processingMs: Measured = None


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The monitor's own."""

    share: Measured = None


class Logs(msgspec.Struct, frozen=True, kw_only=True):
    """One session."""

    format: Literal["perfsuite-realtime-logs"]
    version: Literal[1]
    session: Page = Page()
    thresholds: dict[str, Measured] = msgspec.field(default_factory=dict)
    totals: Totals = Totals()
    messages: list[Message] = msgspec.field(default_factory=list)
    audio: list[Chunk] = msgspec.field(default_factory=list)
    samples: list[Sample] = msgspec.field(default_factory=list)
    cost: Cost = Cost()


class _Named(msgspec.Struct):
    format: Any = None
    version: Any = None


def parse(data: bytes, where: str) -> Logs | None:
    """The logs that ``data`` holds; None for what is something else, or no JSON.

    Raises UsageError for logs that cannot be used; ``where`` names them.
    """
    try:
        named = msgspec.json.decode(data, type=_Named)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if named.format != FORMAT:
        return None
    if named.version != VERSION or isinstance(named.version, bool):
        raise UsageError(
            f"{where} has logs of version {shown(named.version)}; this perfsuite reads {VERSION}: take the monitor.js "
            "that comes with it, or a newer perfsuite"
        )
    try:
        return msgspec.json.decode(data, type=Logs)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} has logs of the browser monitor that cannot be read: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{where} is nested too deeply to be logs of the browser monitor") from error


def read(path: str | os.PathLike[str]) -> Logs | None:
    """The logs in a file; None for a file of something else, or one that cannot be read.  Raises UsageError."""
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > LARGEST_FILE:
            return None
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError:
        return None
    return parse(data, os.fspath(path))
