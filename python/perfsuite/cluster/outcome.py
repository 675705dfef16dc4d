"""What came of a load that several shards drove, added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perfsuite.loadgen import Delivered, LoadSpec
from perfsuite.loadgen.schedule import schedule

if TYPE_CHECKING:
    from perfsuite.cluster.clocks import Clock
    from perfsuite.cluster.merged import Merged, Shard

EXAMPLES = 3
QUANTILES = (0.5, 0.95, 0.99)


@dataclass(slots=True)
class Part:
    """One shard's part: who drives it, and how it went.  ``lost``: why it came to no end of its own; ``heard_ns``: when
    it told something last, on this process' clock."""

    spec: LoadSpec
    worker: str
    clock: Clock
    attempt: int = 1
    delivered: Delivered | None = None
    lost: str | None = None
    heard_ns: int = 0
    number: int = 0
    """Of its last message."""

    @property
    def name(self) -> str:
        """For people."""
        index, of = self.spec.part
        again = "" if self.attempt == 1 else f" (attempt {self.attempt})"
        return f"shard {index + 1} of {of}{again}"


def row(part: Part, shard: Shard | None) -> dict[str, object]:
    """A line of the result for each shard and attempt."""
    last = None if shard is None else shard.last
    counts = last.counts if last is not None else {}
    answered = None if shard is None else shard.histograms.get("response_time")
    p50, p95, p99 = answered.quantiles(QUANTILES) if answered is not None and answered.count else (None, None, None)
    done = part.delivered
    return {
        "shard": part.spec.part[0] + 1,
        "attempt": part.attempt,
        "worker": part.worker,
        "state": "done" if done is not None else f"lost: {part.lost}",
        "requests": counts.get("started", 0),
        "completed": counts.get("completed", 0),
        "failed": counts.get("failed", 0),
        "rate": None if done is None else done.rate,
        "response_p50_ms": p50,
        "response_p95_ms": p95,
        "response_p99_ms": p99,
        "clock_error_ms": part.clock.error_ns / 1e6,
    }


def added_up(whole: LoadSpec, parts: Sequence[Part], merged: Merged, *, passed_s: float) -> Delivered:
    """The load as one.  ``passed_s``: how long it went on.  Of a shard that was lost counts what it told last."""
    ended = [(part, part.delivered) for part in parts if part.delivered is not None]
    lost = [part for part in parts if part.delivered is None]
    warmup_s = merged.warmup_ns / 1e9
    lasted = [done.duration_s for _, done in ended]
    if lost and not lasted:
        lasted = [max(0.0, min(passed_s, whole.duration_s) - warmup_s)]
    duration_s = max(lasted, default=0.0)
    requests, completed, failed = merged.started, merged.completed, merged.failed
    examples: dict[str, list[str]] = {}
    wire: dict[str, int] = {}
    for _, done in ended:
        for kind, texts in done.examples.items():
            known = examples.setdefault(kind, [])
            known += [text for text in texts if text not in known][: EXAMPLES - len(known)]
        for name, value in done.wire.items():
            wire[name] = max(wire.get(name, 0), value) if name.endswith("_max_ns") else wire.get(name, 0) + value
    due = due_in(whole, duration_s, warmup_s)
    short = [f"{part.name} on {part.worker}: {done.short}" for part, done in ended if done.short is not None]
    short += [f"{part.name} was lost with {part.worker} ({part.lost})" for part in lost]
    if short:
        short.append(f"{share_delivered(whole, parts, merged, due, duration_s):.1%} of the load was delivered")
    return Delivered(
        max_in_flight=merged.max_in_flight,
        rate=sum(done.rate for _, done in ended) + sum(_rate_of_lost(part, merged, duration_s) for part in lost),
        requests=requests,
        completed=completed,
        failed=failed,
        duration_s=duration_s,
        sent=sum(done.sent for _, done in ended) + sum(_sent_by_lost(part, merged) for part in lost),
        tokens=sum(done.tokens for _, done in ended) + sum(_tokens_of_lost(part, merged) for part in lost),
        warmup=merged.warmup,
        due_rate=due / duration_s if due is not None and duration_s > 0.0 else None,
        late_sends=sum(done.late_sends for _, done in ended),
        coalesced_reads=sum(done.coalesced_reads for _, done in ended),
        mean_in_flight=sum(done.mean_in_flight or 0.0 for _, done in ended) if ended else None,
        pauses=sum(done.pauses for _, done in ended),
        paused_s=sum(done.paused_s for _, done in ended),
        answered=sum(done.answered for _, done in ended),
        cpu_s=sum(done.cpu_s for _, done in ended),
        ended=next((done.ended for _, done in ended if done.ended is not None), None),
        short="; ".join(short) or None,
        examples=examples,
        wire=wire,
        warnings=[f"{part.name}: {text}" for part, done in ended for text in done.warnings],
    )


def due_in(whole: LoadSpec, duration_s: float, warmup_s: float) -> int | None:
    """Requests that fall due in the measured time by the whole schedule; None of a closed loop."""
    if whole.due_rate is None:
        return None
    since, until = warmup_s * 1e9, (warmup_s + duration_s) * 1e9
    number = 0
    for at, _ in schedule(replace(whole, part=(0, 1))):
        if at >= until:
            break
        number += at >= since
    return number if whole.max_requests is None else min(number, whole.max_requests)


def share_delivered(
    whole: LoadSpec, parts: Sequence[Part], merged: Merged, due: int | None, duration_s: float
) -> float:
    """Of the load that was asked for: of an open loop the requests that were sent, of those that fell due; of a closed
    one the time that slots were driven, of the time of all."""
    if due is not None:
        sent = max(0, merged.started - sum(_unended(part, merged) for part in parts if part.delivered is None))
        return min(1.0, sent / due) if due else 1.0
    slots = sum(part.spec.concurrency or 1 for part in parts)
    driven = 0.0
    for index, part in enumerate(parts):
        if part.delivered is not None:
            driven += (part.spec.concurrency or 1) * part.delivered.duration_s
        else:
            driven += (part.spec.concurrency or 1) * min(duration_s, _told_s(index, merged))
    return min(1.0, driven / (slots * duration_s)) if duration_s > 0.0 else 0.0


def _told_s(index: int, merged: Merged) -> float:
    """Seconds of the measured time that a shard has told of."""
    shard = merged.shards.get(index)
    if shard is None or shard.last is None or not shard.windows:
        return 0.0
    return max(0.0, (max(shard.windows) + 1) * shard.last.window_s - merged.warmup_ns / 1e9)


def _last(part: Part, merged: Merged) -> dict[str, int]:
    shard = merged.shards.get(part.spec.part[0])
    return shard.last.counts if shard is not None and shard.last is not None else {}


def _unended(part: Part, merged: Merged) -> int:
    """What of a lost shard was due and not sent when it told last."""
    return _last(part, merged).get("waiting", 0)


def _sent_by_lost(part: Part, merged: Merged) -> int:
    counts = _last(part, merged)
    return counts.get("started", 0) + counts.get("warmup", 0) - counts.get("waiting", 0)


def _rate_of_lost(part: Part, merged: Merged, duration_s: float) -> float:
    counts = _last(part, merged)
    return (counts.get("started", 0) - counts.get("waiting", 0)) / duration_s if duration_s > 0.0 else 0.0


def _tokens_of_lost(part: Part, merged: Merged) -> int:
    shard = merged.shards.get(part.spec.part[0])
    if shard is None:
        return 0
    tokens = (shard.histograms.get(name) for name in ("prompt_tokens", "completion_tokens"))
    return round(sum(one.sum for one in tokens if one is not None))
