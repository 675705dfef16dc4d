"""What a phase's stretches of load came to, as its result says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from perfsuite.result import ErrorCount
from perfsuite.suites.session import Stretch

STAMPS = (
    "reads", "kernel_reads", "kernel_sends", "coalesced_reads", "coalesced_chunks", "stamps_dropped", "clock_steps",
    "lag_over", "lag_max_ns", "turn_max_ns", "starved", "stale_retries", "paused", "naps",
    "nap_ns", "merged_reads", "merged_pieces", "cpu_ns",
)  # fmt: skip
"""Of what the engines of the load counted, what says how far its stamps can be trusted (csrc/wire/pfs_wire.h)."""


class FailedCalls:
    """Failed calls that are no requests of a stretch, by kind."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, list[str]] = {}

    def add(self, kind: str, text: str) -> None:
        """One more; the first few different texts are kept."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        kept = self._first.setdefault(kind, [])
        if len(kept) < 3 and text not in kept:
            kept.append(text)

    def counted(self) -> list[ErrorCount]:
        """As the result has them."""
        return [ErrorCount(kind=kind, count=n, first=self._first[kind]) for kind, n in self._counts.items()]


def errors(stretches: list[Stretch]) -> list[ErrorCount]:
    """Failed requests by kind, each with its first few different texts."""
    counts: dict[str, int] = {}
    first: dict[str, list[str]] = {}
    for one in stretches:
        for kind, count in one.events.errors.items():
            counts[kind] = counts.get(kind, 0) + count
        if one.delivered is not None:
            for kind, texts in one.delivered.examples.items():
                known = first.setdefault(kind, [])
                known += [text for text in texts if text not in known]
    return [ErrorCount(kind=kind, count=count, first=first.get(kind, [])[:3]) for kind, count in counts.items()]


def fallen_short(stretches: Iterable[Stretch], *, chosen: bool) -> list[str]:
    """The stretches that were not driven as asked for, and why: those whose load the suite chose itself, or the
    others."""
    return [
        f"{one.name}: {one.delivered.short}"
        for one in stretches
        if one.delivered is not None and one.delivered.short is not None and one.chosen is chosen
    ]


def unanswered(stretches: list[Stretch]) -> Iterator[str]:
    """The stretches of which nothing was answered, not even in the warm-up: a system that hangs from its first request
    on has no sample to fail by, and must not pass for one that was not measurable."""
    for one in stretches:
        events, delivered = one.events, one.delivered
        begun = events.started + events.warmup
        if delivered is None or not begun or events.completed + events.warmup > events.warmup_failed:
            continue
        first = next((f" ({kind}: {texts[0]})" for kind, texts in delivered.examples.items() if texts), "")
        yield f"{one.name}: none of {begun:,} requests was answered{first}"


def delivered(stretches: list[Stretch]) -> dict[str, object]:
    """What was sent and what came of it: in all, by stretch, and how far the stamps can be trusted."""
    ended = [one for one in stretches if one.delivered is not None]
    if not ended:
        return {}
    rows = [one.delivered for one in ended if one.delivered is not None]
    asked = [row for one, row in zip(ended, rows, strict=True) if not one.trial]  # the rate is not of a search's levels
    seconds = sum(row.duration_s for row in asked)
    due = [(row.due_rate * row.duration_s, row.duration_s) for row in asked if row.due_rate is not None]
    return {
        "max_in_flight": max(row.max_in_flight for row in rows),
        "rate": sum(row.rate * row.duration_s for row in asked) / seconds if seconds else 0.0,
        "due_rate": sum(number for number, _ in due) / sum(length for _, length in due) if due else None,
        "warmup": sum(row.warmup for row in rows),
        "warmup_failed": sum(one.events.warmup_failed for one in ended),
        "requests": sum(row.requests for row in rows),
        "completed": sum(row.completed for row in rows),
        "failed": sum(row.failed for row in rows),
        "duration_s": sum(row.duration_s for row in rows),
        "late_sends": sum(row.late_sends for row in rows),
        "coalesced_reads": sum(row.coalesced_reads for row in rows),
        "stretches": [
            {
                "stretch": one.name,
                "asked": str(one.spec),
                "duration_s": row.duration_s,
                "rate": row.rate,
                "due_rate": row.due_rate,
                "warmup": row.warmup,
                "max_in_flight": row.max_in_flight,
                "mean_in_flight": row.mean_in_flight,
                "requests": row.requests,
                "completed": row.completed,
                "failed": row.failed,
                "late_sends": row.late_sends,
                "pauses": row.pauses,
                "paused_s": row.paused_s,
                "ended": row.ended,
                "short": row.short,
            }
            for one, row in zip(ended, rows, strict=True)
        ],
        **client_cpu(ended),
        "shards": [
            {"stretch": one.name, **shard} for one, row in zip(ended, rows, strict=True) for shard in row.shards
        ],
        "stamps": [
            {"stretch": one.name, **{name: row.wire[name] for name in STAMPS}}
            for one, row in zip(ended, rows, strict=True)
            if row.wire
        ],
    }


def client_cpu(stretches: list[Stretch]) -> dict[str, object]:
    """What the client itself cost, where its process is not the system's too: CPU seconds while it drove, the same in
    ms for each thousand tokens of an answer, and of the whole process until the last request had ended."""
    told = [one for one in stretches if one.process_cpu_s is not None and one.delivered is not None]
    if not told:
        return {}
    driving = sum(one.delivered.cpu_s for one in told if one.delivered is not None)
    answered = sum(one.delivered.answered for one in told if one.delivered is not None)
    return {
        "client_cpu": {
            "driving_s": driving,
            "tokens": answered,
            "ms_per_1000_tokens": 1e6 * driving / answered if answered else None,
            "process_s": told[-1].process_cpu_s,
        }
    }


def windows(stretches: list[Stretch]) -> dict[str, list[float | None]]:
    """The windows of the last driven stretch, the one that the phase's latencies are of."""
    if not stretches:
        return {}
    return {name: [float(value) for value in column] for name, column in stretches[-1].events.windows().items()}
