"""What a client says of each request and each gap, held against what the server knows of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

from perfsuite import stats
from perfsuite._core import Events
from perfsuite.errors import PerfsuiteError
from perfsuite.loadgen.raw import COLUMNS, rows
from perfsuite.selfchecks import Deviation
from perfsuite.suites.selfcheck.served import Told

MILLISECOND = 1e6
LATE_NS = 1_000_000


@dataclass(slots=True)
class Said:
    """What the client says of one request: when it was due, its send, its end and each of its chunks, on the clock that
    the server reads too.  ``measured``: it was not of the warm-up."""

    due_ns: int
    sent_ns: int
    end_ns: int
    measured: bool
    chunks_ns: list[int] = field(default_factory=list)


Pair = tuple[Said, Told]


@dataclass(frozen=True, slots=True)
class Compared:
    """The errors of one load.  ``rate``: the client's requests a second over the truth's, less 1; ``coalesced``: the
    share of gaps whose chunks left apart and have one stamp; ``late``: the share of sends more than LATE_NS after they
    were due; ``truth_kernel``: the share of requests of which the truth is all the kernel's."""

    requests: int
    ttft: Deviation
    itl: Deviation | None
    end: Deviation
    rate: float
    coalesced: float
    late: float
    truth_kernel: float


def said(events: Events) -> dict[int, Said]:
    """What ``events``, made with ``raw`` and ``stamps``, has recorded of each request that was answered, by its tag.

    Raises PerfsuiteError when requests failed: of those nothing can be compared."""
    found: dict[int, Said] = {}
    start = events.start_ns
    for row in rows(events.drain_rows()):
        record = dict(zip(COLUMNS[1:], row, strict=True))
        if record["status"] == "cancelled":
            continue
        if record["status"] != "ok":
            raise PerfsuiteError(f"a request of the self check failed ({record['status']}): its errors cannot be told")
        tag, due, sent, end = (cast("int", record[name]) for name in ("tag", "due_ns", "sent_ns", "end_ns"))
        found[tag] = Said(start + due, start + sent, start + end, measured=not record["warmup"])
    stamps = array("q", events.drain_stamps())
    for tag, at_ns in zip(stamps[::2], stamps[1::2], strict=True):
        one = found.get(tag)
        if one is not None:
            one.chunks_ns.append(at_ns)
    return found


def joined(client: Mapping[int, Said], truth: Mapping[int, Told]) -> list[Pair]:
    """What both say of each measured request.

    Raises PerfsuiteError when there is none, or when they do not speak of the same requests and chunks: a client that
    loses some cannot be told from a precise one by the rest."""
    measured = {tag: one for tag, one in client.items() if one.measured}
    if not measured:
        raise PerfsuiteError("no request was answered in the time of the check: give it longer with --duration")
    lost = sum(not _same(one, truth.get(tag)) for tag, one in measured.items())
    if lost:
        raise PerfsuiteError(
            f"client and server do not agree on {lost:,} of {len(measured):,} requests: the client's answers have "
            "chunks that were not sent, or lack some that were"
        )
    return [(one, truth[tag]) for tag, one in measured.items()]


def compare(held: Sequence[Pair], scheduled: Sequence[Pair]) -> Compared:
    """The errors of a closed loop and an open one together; the rate's and the sends' are of the open one alone."""
    pairs = [*held, *scheduled]
    gaps = [(b - a) / MILLISECOND for one, _ in pairs for a, b in pairwise(one.chunks_ns)]
    true_gaps = [(b - a) / MILLISECOND for _, told in pairs for a, b in pairwise(told.offsets_ns)]
    return Compared(
        requests=len(pairs),
        ttft=deviation(
            [(one.chunks_ns[0] - one.sent_ns) / MILLISECOND for one, _ in pairs],
            [told.offsets_ns[0] / MILLISECOND for _, told in pairs],
        ),
        itl=deviation(gaps, true_gaps) if gaps else None,
        end=deviation(
            [(one.end_ns - one.sent_ns) / MILLISECOND for one, _ in pairs],
            [told.offsets_ns[-1] / MILLISECOND for _, told in pairs],
        ),
        rate=rate_error([one.sent_ns for one, _ in scheduled], [told.received_ns for _, told in scheduled]),
        coalesced=(
            sum(gap <= 0.0 < true for gap, true in zip(gaps, true_gaps, strict=True)) / len(gaps) if gaps else 0.0
        ),
        late=sum(one.sent_ns - one.due_ns > LATE_NS for one, _ in scheduled) / len(scheduled),
        truth_kernel=sum(told.kernel for _, told in pairs) / len(pairs),
    )


def deviation(client: Sequence[float], truth: Sequence[float]) -> Deviation:
    """The errors of values that belong together, in pairs."""
    errors = [said - true for said, true in zip(client, truth, strict=True)]
    p50, p99, most = stats.quantiles(map(abs, errors), (0.5, 0.99, 1.0))
    ours, theirs = (stats.quantiles(values, (0.5, 0.99)) for values in (client, truth))
    return Deviation(
        count=len(errors),
        mean=math.fsum(errors) / len(errors),
        p50=p50,
        p99=p99,
        max=most,
        shift_p50=ours[0] - theirs[0],
        shift_p99=ours[1] - theirs[1],
    )


def rate_error(sent_ns: Iterable[int], received_ns: Iterable[int]) -> float:
    """How much faster than they came the client says that requests left: a share of the truth.  0 for a single one."""
    sent, received = sorted(sent_ns), sorted(received_ns)
    ours, theirs = sent[-1] - sent[0], received[-1] - received[0]
    return theirs / ours - 1.0 if ours > 0 and theirs > 0 else 0.0


def _same(one: Said, told: Told | None) -> bool:
    return told is not None and told.complete and 0 < len(one.chunks_ns) == len(told.offsets_ns)
