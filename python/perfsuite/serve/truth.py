"""The truth on the wire: when each request had arrived, and when each piece of its answer was sent.

Stamps are of the monotonic clock, in nanoseconds.  A request's is the kernel's receive stamp of its last byte.  A
token's is the kernel's stamp of its send where the system gives one, else taken when the send has returned.  The
newest requests are kept in full; the histograms are of all since the last reset.
"""

from __future__ import annotations

import json
from array import array
from collections import deque
from collections.abc import Iterator
from itertools import pairwise

from perfsuite._core import Histogram
from perfsuite.serve.stamps import KEY_MASK

MOST_REQUESTS = 100_000
MOST_STAMPS = 12_000_000
"""96 MB of stamps at most, whatever the requests' lengths."""
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


class Record:
    """One request.  ``end`` says how it ended: ``complete``, ``refused``, ``cut``, ``reset``, ``error``, or ``gone``
    when the client left; ``open`` before that."""

    __slots__ = (
        "_awaited",
        "by_kernel",
        "end",
        "fault",
        "id",
        "merged",
        "model",
        "path",
        "received_by_kernel",
        "received_ns",
        "sent_ns",
        "seq",
        "status",
        "stream",
        "tokens",
        "tokens_per_chunk",
    )  # fmt: skip

    def __init__(self, seq: int, ident: str, path: str, received_ns: int, received_by_kernel: bool) -> None:
        self.seq = seq
        self.id = ident
        self.path = path
        self.received_ns = received_ns
        self.received_by_kernel = received_by_kernel
        self.model = ""
        self.stream = False
        self.status = 0
        self.fault = ""
        self.tokens = 0
        self.tokens_per_chunk = 1
        self.sent_ns = array("q")
        self.by_kernel = 0
        self.merged = 0
        self.end = "open"
        self._awaited: dict[int, int] = {}

    def sent(self, at_ns: int, key: int = -1) -> None:
        """A piece was handed to the kernel; ``key``: of the kernel's stamp that is to come."""
        if key >= 0:
            self._awaited[key] = len(self.sent_ns)
        self.sent_ns.append(at_ns)

    def settle(self, stamps: list[tuple[int, int]]) -> None:
        """Replaces stamps taken in the process by the kernel's.

        TCP may have to hold sends back (its window is full) and merge them into one packet, which is stamped once, by
        its last byte: the sends before that left with it.  They are counted in ``merged``.
        """
        awaited = self._awaited
        for key, at_ns in stamps:
            while awaited:
                earlier = next(iter(awaited))
                if (key - earlier) & KEY_MASK > KEY_MASK >> 1:
                    break  # sent after the one that this stamp is of
                self.sent_ns[awaited.pop(earlier)] = at_ns
                self.by_kernel += 1
                self.merged += earlier != key

    @property
    def awaits(self) -> bool:
        """Whether stamps of the kernel's are still to come: what was sent last has not left yet."""
        return bool(self._awaited)

    def forget_awaited(self) -> None:
        """No more stamps of the kernel's will come: those taken in the process stay."""
        self._awaited.clear()

    def row(self) -> dict[str, object]:
        """As /truth shows it: the pieces as offsets from the receipt."""
        received = self.received_ns
        count = len(self.sent_ns)
        return {
            "seq": self.seq,
            "id": self.id,
            "path": self.path,
            "model": self.model,
            "stream": self.stream,
            "status": self.status,
            "end": self.end,
            "fault": self.fault,
            "received_ns": received,
            "received_by": "kernel" if self.received_by_kernel else "process",
            "tokens": self.tokens,
            "tokens_per_chunk": self.tokens_per_chunk,
            "sent_by": "process" if not self.by_kernel else "kernel" if self.by_kernel == count else "mixed",
            "sent_by_kernel": self.by_kernel,
            "sent_merged": self.merged,
            "sent_offsets_ns": [at - received for at in self.sent_ns],
        }


class Truth:
    """The ring of records, and what they add up to."""

    def __init__(self, most_requests: int = MOST_REQUESTS, most_stamps: int = MOST_STAMPS) -> None:
        self._most_requests = most_requests
        self._most_stamps = most_stamps
        self._next = 0
        self.reset()

    def reset(self) -> None:
        """Forgets everything but the running number."""
        self._ring: deque[Record] = deque()
        self._stamps = 0
        self._first = self._next
        self.dropped = 0
        self.pieces = 0
        self.pieces_by_kernel = 0
        self.pieces_merged = 0
        self.ended: dict[str, int] = {}
        self._histograms = {name: Histogram(precision=10) for name in ("ttft", "itl", "max_gap", "service_time")}

    def begin(self, ident: str, path: str, received_ns: int, by_kernel: bool) -> Record:
        """A request has arrived."""
        record = Record(self._next, ident, path, received_ns, by_kernel)
        self._next += 1
        self._ring.append(record)
        if len(self._ring) > self._most_requests:
            self._drop()
        return record

    def end(self, record: Record, how: str) -> None:
        """A request has ended; the second word on it is ignored.  One of before the last reset counts no more."""
        if record.end != "open":
            return
        record.end = how
        record.forget_awaited()
        if record.seq < self._first:
            return
        self.ended[how] = self.ended.get(how, 0) + 1
        sent = record.sent_ns
        count = len(sent)
        if not count:
            return
        self.pieces += count
        self.pieces_by_kernel += record.by_kernel
        self.pieces_merged += record.merged
        record_ms = self._histograms
        if record.stream:
            record_ms["ttft"].record((sent[0] - record.received_ns) / 1e6)
            if count > 1:
                gaps = [(after - before) / 1e6 for before, after in pairwise(sent)]
                record_ms["itl"].record_many(gaps)
                record_ms["max_gap"].record(max(gaps))
        record_ms["service_time"].record((sent[-1] - record.received_ns) / 1e6)
        self._stamps += count
        while self._stamps > self._most_stamps and self._ring:
            self._drop()

    def _drop(self) -> None:
        old = self._ring.popleft()
        if old.end != "open":
            self._stamps -= len(old.sent_ns)
        else:
            self._first = max(self._first, old.seq + 1)  # it will not be counted when it ends: its row is gone
        self.dropped += 1

    def rows(self, since: int = 0, ident: str | None = None) -> Iterator[bytes]:
        """A line of JSON for what follows, then one for each request from the number ``since`` on, oldest first."""
        kept = [one for one in self._ring if one.seq >= since and (ident is None or one.id == ident)]
        meta = {"clock": "CLOCK_MONOTONIC", "unit": "ns", "requests": len(kept), "dropped": self.dropped}
        yield json.dumps(meta, separators=(",", ":")).encode() + b"\n"
        for record in kept:
            yield json.dumps(record.row(), separators=(",", ":")).encode() + b"\n"

    def summary(self) -> dict[str, object]:
        """Counts, and quantiles in milliseconds of all requests that ended since the last reset."""
        return {
            "requests": self._next - self._first,
            "ended": dict(sorted(self.ended.items())),
            "dropped": self.dropped,
            "pieces": self.pieces,
            "pieces_sent_by_kernel": self.pieces_by_kernel,
            "pieces_merged": self.pieces_merged,
            **{f"{name}_ms": self._figures(histogram) for name, histogram in self._histograms.items()},
        }

    @staticmethod
    def _figures(histogram: Histogram) -> dict[str, float | int]:
        if not histogram.count:
            return {"count": 0}
        figures: dict[str, float | int] = {"count": histogram.count, "mean": histogram.mean, "min": histogram.min}
        for quantile, value in zip(QUANTILES, histogram.quantiles(QUANTILES), strict=True):
            figures[f"p{quantile * 100:g}".replace(".", "")] = value
        figures["max"] = histogram.max
        return figures
