"""What a shard tells of its records, as text: once a second, and at its end.

Counts and the histograms of the whole load are cumulative, so that a message that comes late, twice or not at all costs
nothing.  Slices of time and windows are told again only when they have changed since the last message, for an hour of
them each second would be more than the load itself; each is cumulative too.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from perfsuite._core import Events

METRICS = (
    "response_time", "service_time", "ttft", "service_ttft", "answer_ttft", "itl", "max_gap", "tpot",
    "output_tokens_per_s", "prompt_tokens", "completion_tokens", "lateness",
)  # fmt: skip
COUNTS = (
    "started", "completed", "failed", "cancelled", "good", "warmup", "warmup_failed", "in_flight", "max_in_flight",
    "waiting", "chunks",
)  # fmt: skip
COLUMNS = (
    "due", "warmup", "ok", "failed", "over_limit", "sum_ms", "max_ms", "good", "visible_tokens", "visible_chunks",
    "finished", "tokens", "in_flight_max", "waiting",
)  # fmt: skip
"""Of windows."""
Message = TypeVar("Message", bound=msgspec.Struct)
LARGEST = 1 << 28
"""Bytes of a message, unpacked: more than any load's records are."""


class Snapshot(msgspec.Struct, kw_only=True, frozen=True):
    """A shard's records so far.  ``slices``: by metric those that changed, by their number; ``windows`` likewise, each
    with COLUMNS.  All slices are ``block_s`` long and all windows ``window_s``; who hears of another length forgets
    those it had.  ``rows``: raw rows since the last message."""

    counts: dict[str, int]
    errors: dict[str, int]
    longest_wait_ms: float
    tokens_per_chunk: float | None
    warmup_ns: int
    histograms: dict[str, bytes]
    block_s: float
    slices: dict[str, dict[int, bytes]]
    window_s: float
    windows: dict[int, tuple[float, ...]]
    rows: bytes = b""


@dataclass(slots=True)
class Taker:
    """Takes snapshots of one recorder, each with what has changed since the last.  To be called by the recorder's
    owner."""

    events: Events
    most_windows: int
    """As many of the latest windows can have changed: what is in flight has an end in the second that it was due in."""
    slices: dict[tuple[str, int], int] = field(default_factory=dict)
    windows: dict[int, tuple[float, ...]] = field(default_factory=dict)
    block_s: float = 0.0
    window_s: float = 0.0

    def take(self) -> Snapshot:
        """The records now."""
        events = self.events
        return Snapshot(
            counts={name: getattr(events, name) for name in COUNTS},
            errors=dict(events.errors),
            longest_wait_ms=events.longest_wait_ms,
            tokens_per_chunk=events.tokens_per_chunk,
            warmup_ns=events.warmup_ns,
            histograms={name: one.to_bytes() for name in METRICS if (one := events.histogram(name)).count},
            slices=self._changed_slices(),
            block_s=self.block_s,
            windows=self._changed_windows(),
            window_s=self.window_s,
            rows=events.drain_rows() if events.raw else b"",
        )

    def _changed_slices(self) -> dict[str, dict[int, bytes]]:
        events = self.events
        if events.block_s != self.block_s:
            self.block_s = events.block_s
            self.slices.clear()
        changed: dict[str, dict[int, bytes]] = {}
        for name in METRICS:
            for t_s, block in zip(events.block_times(name), events.blocks(name), strict=True):
                number = round(t_s / self.block_s)
                if self.slices.get((name, number)) != block.count:
                    self.slices[name, number] = block.count
                    changed.setdefault(name, {})[number] = block.to_bytes()
        return changed

    def _changed_windows(self) -> dict[int, tuple[float, ...]]:
        events = self.events
        last: int | None = self.most_windows
        if events.window_s != self.window_s:
            self.window_s = events.window_s
            self.windows.clear()
            last = None
        told = events.windows(last)
        numbers = [round(t_s / self.window_s) for t_s in told["t_s"]]
        rows = zip(*(told[name] for name in COLUMNS), strict=True)
        changed = {n: row for n, row in zip(numbers, rows, strict=True) if self.windows.get(n) != row}
        self.windows.update(changed)
        return changed


def packed(message: msgspec.Struct) -> str:
    """A message as text."""
    return base64.b64encode(zlib.compress(msgspec.msgpack.encode(message), 1)).decode("ascii")


def unpacked(text: str, form: type[Message]) -> Message:
    """Raises ValueError for what is no such message."""
    try:
        opener = zlib.decompressobj()
        data = opener.decompress(base64.b64decode(text, validate=True), LARGEST)
        if not opener.eof:
            raise ValueError("it is cut off, or larger than any load's records")
        return msgspec.msgpack.decode(data, type=form)
    except (ValueError, zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"no message of a shard: {error}") from error
