"""What is asked of a load, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from perfsuite.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """What is asked of a load.

    ``duration_s`` is the whole time in which requests are started, its first ``warmup_s`` included.  ``rate`` None: a
    closed loop of ``concurrency``, each pausing ``think_s`` between requests.  Else an open loop: ``rate`` requests due
    a second, spaced by ``arrivals`` (ramp and step climb to ``rate`` over the duration), at most ``concurrency`` in
    flight (None: no cap).  ``max_tokens``: no new requests once prompt and completion tokens together reach it.
    """

    duration_s: float
    concurrency: int | None = None
    rate: float | None = None
    arrivals: Literal["constant", "poisson", "ramp", "step"] = "poisson"
    warmup_s: float = 0.0
    max_requests: int | None = None
    max_tokens: int | None = None
    request_timeout_s: float = 60.0
    think_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value!r} and must be {need}"
            for name, value, good, need in (
                ("duration_s", self.duration_s, 0.0 < self.duration_s < 1e9, "above 0"),
                ("warmup_s", self.warmup_s, 0.0 <= self.warmup_s <= self.duration_s, "0 to duration_s"),
                ("request_timeout_s", self.request_timeout_s, self.request_timeout_s > 0.0, "above 0"),
                ("think_s", self.think_s, self.think_s >= 0.0, "0 or more"),
                ("concurrency", self.concurrency, self.concurrency is None or self.concurrency >= 1, "1 or more"),
                ("rate", self.rate, self.rate is None or 0.0 < self.rate <= 1e9, "above 0"),
                ("max_requests", self.max_requests, self.max_requests is None or self.max_requests >= 1, "1 or more"),
                ("max_tokens", self.max_tokens, self.max_tokens is None or self.max_tokens >= 1, "1 or more"),
            )
            if not good
        ]
        if self.rate is None and self.concurrency is None:
            wrong.append("a load needs a concurrency (closed loop), a rate (open loop), or both")
        if wrong:
            raise UsageError("; ".join(wrong))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What came of it, warm-up left out.

    ``rate``: requests sent a second in the measured time, which is ``duration_s`` long.  ``late_sends``: sends more
    than a millisecond after they were due though a slot was free.  ``short``: what was asked and not delivered, or
    None.  ``examples``: the first failures of each kind, shortened.
    """

    max_in_flight: int
    rate: float
    requests: int
    completed: int
    failed: int
    duration_s: float
    late_sends: int = 0
    coalesced_reads: int = 0
    short: str | None = None
    examples: dict[str, list[str]] = field(default_factory=dict)
