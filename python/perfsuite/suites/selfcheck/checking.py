"""The self check: what is checked, one load after the other, and whether it is within limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from perfsuite._core import Events
from perfsuite.collectors.shortage import CpuWatch
from perfsuite.errors import UsageError
from perfsuite.loadgen import LoadSpec
from perfsuite.selfchecks import Check, Load, usual_pace_ms
from perfsuite.suites.selfcheck.against_truth import Pair, compare, joined, said
from perfsuite.suites.selfcheck.driving import ENGINES, Driven, load
from perfsuite.suites.selfcheck.served import Served, model_of, serving

if TYPE_CHECKING:
    from perfsuite.result import ErrorBars, Result

STREAMS: tuple[int, ...] = (1, 32, 128, 512)
TOKENS_PER_CHUNK: tuple[int, ...] = (1, 4)
SCHEMES: tuple[str, ...] = ("http", "https")
SPOKEN: tuple[str, ...] = ("ws", "wss")
"""Checked where they are asked for: the realtime API."""
SEALED = ("https", "wss")
DURATION_S = 2.5
FEWEST_TOKENS = 25
SHORTEST_MS = 200.0
CLOSED_SHARE = 0.65
"""Of the time; the rest is an open loop at OPEN_SHARE of the throughput found, for the rate."""
OPEN_SHARE = 0.8
WARMUP_SHARE = 0.15
HANDSHAKE_S = 0.004
"""More warm-up for each connection over TLS: both its ends are made on this machine."""
REQUEST_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One load to check.  ``token_ms``: from token to token of each stream; None: by the number of streams."""

    engine: str
    scheme: str
    streams: int
    tokens_per_chunk: int
    token_ms: float | None = None

    def __str__(self) -> str:
        return str(
            Load(
                engine=self.engine,
                scheme=self.scheme,
                streams=self.streams,
                tokens_per_chunk=self.tokens_per_chunk,
            )
        )

    @property
    def pace_ms(self) -> float:
        """From token to token."""
        return usual_pace_ms(self.streams) if self.token_ms is None else self.token_ms

    @property
    def tokens(self) -> int:
        """Of each answer: quick ones have more, so that they last."""
        return max(FEWEST_TOKENS, math.ceil(SHORTEST_MS / self.pace_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a client may be off: the median and the p99 of its errors in ttft and itl, in ms, and its rate."""

    p50_ms: float = 1.0
    p99_ms: float = 20.0
    rate: float = 0.02


def beyond(check: Check, limits: Limits) -> list[str]:
    """What of a check is beyond the limits, in words."""
    found = []
    for name, one in (("ttft", check.ttft), ("itl", check.itl)):
        if one is not None:
            found += [
                f"{name} {stat} off by {off:.3g} ms, more than {limit:g}"
                for stat, off, limit in (("p50", one.central, limits.p50_ms), ("p99", one.tail, limits.p99_ms))
                if not off <= limit
            ]
    if not abs(check.rate) <= limits.rate:
        found.append(f"rate off by {check.rate:+.2%}, more than {limits.rate:.2%}")
    if check.load.streams < check.asked:
        found.append(f"held {check.load.streams:,} of {check.asked:,} streams")
    return found


def loads_of(result: Result) -> list[Condition]:
    """The loads that a run's figures are of: of each engine and scheme the most streams, at the densest pace.  Raises
    UsageError for a run that drove nothing over the wire."""
    found: dict[tuple[str, str], list[ErrorBars]] = {}
    for phase in result.phases:
        for bars in phase.error_bars:
            found.setdefault((bars.engine, bars.scheme), []).append(bars)
    if not found:
        raise UsageError(
            f"the run against {result.run.target} drove nothing over the wire, or is of an older version: there is no "
            "load of it to check; name one with --streams, --scheme and --tokens-per-chunk"
        )
    asked = []
    for (engine, scheme), some in found.items():
        if engine not in ENGINES:
            raise UsageError(f"the run used the engine {engine!r}, which this version cannot check")
        whole = Load(
            engine=engine,
            scheme=scheme,
            streams=max(one.streams for one in some),
            tokens_per_chunk=math.floor(max(1.0, min(one.tokens_per_chunk for one in some)) + 0.05),
            chunks_per_s=max(one.chunks_per_s for one in some),
        )
        asked.append(
            Condition(
                engine=engine,
                scheme=scheme,
                streams=whole.streams,
                tokens_per_chunk=round(whole.tokens_per_chunk),
                token_ms=min(whole.pace_ms, usual_pace_ms(whole.streams)),
            )
        )
    return asked


def conditions(
    engines: dict[str, str], streams: Sequence[int], tokens_per_chunk: Sequence[int], token_ms: float | None = None
) -> list[Condition]:
    """Every combination.  ``engines``: the engine of each scheme."""
    return [
        Condition(engine=engine, scheme=scheme, streams=count, tokens_per_chunk=tokens, token_ms=token_ms)
        for (scheme, engine), tokens, count in itertools.product(engines.items(), tokens_per_chunk, streams)
    ]


def run(
    asked: Sequence[Condition], *, duration_s: float = DURATION_S, say: Callable[[str], object] = lambda text: None
) -> Iterator[Check]:
    """Checks one condition after the other, and gives each when it is done.  ``say`` is told what comes next.

    Raises PerfsuiteError when the server does not start or a load cannot be compared."""
    groups = itertools.groupby(asked, key=lambda one: (one.scheme, one.tokens_per_chunk))
    for (scheme, tokens_per_chunk), group in groups:
        some = list(group)
        with serving(
            tokens=max(one.tokens for one in some),
            paces_ms=sorted({one.pace_ms for one in some}),
            tokens_per_chunk=tokens_per_chunk,
            tls=scheme in SEALED,
            spoken=scheme in SPOKEN,
            longest_s=60.0 + len(some) * 2.0 * (duration_s + 2.0 * REQUEST_TIMEOUT_S),
        ) as served:
            for one in some:
                say(str(one))
                yield check(served, one, duration_s)


def check(served: Served, one: Condition, duration_s: float) -> Check:
    """One condition: a closed loop that holds the streams, then an open one."""
    at = datetime.now().astimezone().isoformat(timespec="seconds")
    watch = CpuWatch()
    connecting_s = one.streams * HANDSHAKE_S if one.scheme in SEALED else 0.0
    closed_s, warmup_s = duration_s * CLOSED_SHARE, duration_s * WARMUP_SHARE + connecting_s
    closed = LoadSpec(
        duration_s=closed_s + connecting_s,
        concurrency=one.streams,
        warmup_s=warmup_s,
        request_timeout_s=REQUEST_TIMEOUT_S,
    )
    held = _stretch(served, one, closed)
    scheduled = _stretch(
        served,
        one,
        LoadSpec(
            duration_s=duration_s - closed_s,
            rate=OPEN_SHARE * held.requests_per_s,
            arrivals="constant",
            request_timeout_s=REQUEST_TIMEOUT_S,
        ),
    )
    found = compare(held.pairs, scheduled.pairs)
    shortage = watch.seen()
    return Check(
        load=Load(
            engine=one.engine,
            scheme=one.scheme,
            streams=held.in_flight,
            tokens_per_chunk=float(one.tokens_per_chunk),
            chunks_per_s=held.chunks_per_s,
        ),
        at=at,
        duration_s=duration_s,
        requests=found.requests,
        ttft=found.ttft,
        itl=found.itl,
        end=found.end,
        rate=found.rate,
        cpu_ms_per_1000_tokens=(held.driven.cpu_s + scheduled.driven.cpu_s) / (held.tokens + scheduled.tokens) * 1e6,
        kernel=min(held.driven.kernel, scheduled.driven.kernel),
        truth_kernel=found.truth_kernel,
        coalesced=found.coalesced,
        late=found.late,
        waited=shortage.waited,
        stolen=shortage.stolen,
        load_average=shortage.load,
        asked=one.streams,
    )


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What came of one load: per second of the time from the first send to the last end."""

    driven: Driven
    pairs: list[Pair]
    in_flight: int
    requests_per_s: float
    chunks_per_s: float
    tokens: int


def _stretch(served: Served, one: Condition, spec: LoadSpec) -> _Stretch:
    served.forget()
    events = Events(warmup_ns=round(spec.warmup_s * 1e9), raw=True, stamps=True)
    driven = load(served, one.engine, model_of(one.pace_ms), one.tokens, spec, events)
    client = said(events)
    pairs = joined(client, served.truth(driven.numbers))
    seconds = (max(row.end_ns for row in client.values()) - min(row.sent_ns for row in client.values())) / 1e9
    return _Stretch(
        driven=driven,
        pairs=pairs,
        in_flight=events.max_in_flight,
        requests_per_s=len(client) / seconds,
        chunks_per_s=sum(len(row.chunks_ns) for row in client.values()) / seconds,
        tokens=one.tokens * len(client),
    )
