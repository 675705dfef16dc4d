"""What is asked of a load, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from perfsuite.errors import UsageError

if TYPE_CHECKING:
    from perfsuite.targets.base import Request

DELIVERED = 0.99
"""A load of which less than this share was delivered was not delivered."""

MISSED_NS = 250_000_000
"""A send this long after it was due, though a slot was free, was not delivered when it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """What is asked of a load.

    ``duration_s`` is the whole time in which requests are started, its first ``warmup_s`` included.  Three loops:

    - closed: ``concurrency`` in flight, each pausing ``think_s`` between an answer and the next request;
    - open: ``rate`` requests due a second, spaced by ``arrivals`` (ramp and step climb to ``rate`` over the duration),
      at most ``concurrency`` in flight (None: no cap);
    - paced: ``users``, each with a request due every ``pace_s`` from a start of its own, whatever the answers do; a
      user has one in flight at most, so what falls due before the last answer came waits, on the user's clock.

    ``max_tokens``: no new requests once prompt and completion tokens together reach it.

    A load that several processes drive together: ``part`` (index, of how many) says which of the arrivals, or of the
    users, this one sends; all parts together send exactly what one process would, and ``rate`` and ``users`` are of the
    whole.  ``start_ns``: when it begins, on this process' monotonic clock; None: as soon as all is ready.
    """

    duration_s: float
    concurrency: int | None = None
    rate: float | None = None
    arrivals: Literal["constant", "poisson", "ramp", "step"] = "poisson"
    users: int | None = None
    pace_s: float = 1.0
    warmup_s: float = 0.0
    max_requests: int | None = None
    max_tokens: int | None = None
    request_timeout_s: float = 60.0
    think_s: float = 0.0
    seed: int = 0
    part: tuple[int, int] = (0, 1)
    start_ns: int | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value!r} and must be {need}"
            for name, value, good, need in (
                ("duration_s", self.duration_s, 0.0 < self.duration_s < 1e9, "above 0"),
                ("warmup_s", self.warmup_s, 0.0 <= self.warmup_s <= self.duration_s, "0 to duration_s"),
                ("request_timeout_s", self.request_timeout_s, self.request_timeout_s > 0.0, "above 0"),
                ("think_s", self.think_s, self.think_s >= 0.0, "0 or more"),
                ("pace_s", self.pace_s, 1e-6 <= self.pace_s < 1e9, "a microsecond or more"),
                ("concurrency", self.concurrency, self.concurrency is None or self.concurrency >= 1, "1 or more"),
                ("users", self.users, self.users is None or self.users >= 1, "1 or more"),
                ("rate", self.rate, self.rate is None or 0.0 < self.rate <= 1e9, "above 0"),
                ("max_requests", self.max_requests, self.max_requests is None or self.max_requests >= 1, "1 or more"),
                ("max_tokens", self.max_tokens, self.max_tokens is None or self.max_tokens >= 1, "1 or more"),
                ("part", self.part, 0 <= self.part[0] < self.part[1], "an index below the number of parts"),
            )
            if not good
        ]
        if self.users is not None and (self.rate is not None or self.concurrency is not None):
            wrong.append("paced users have a rate and a concurrency already: give users, or rate and concurrency")
        if self.rate is None and self.concurrency is None and self.users is None:
            wrong.append("a load needs a concurrency (closed loop), a rate (open loop), or both; or users (paced)")
        if wrong:
            raise UsageError("; ".join(wrong))

    @property
    def due_rate(self) -> float | None:
        """Requests that fall due a second by the schedule (a ramp's or a step's highest); None for a closed loop."""
        return self.users / self.pace_s if self.users is not None else self.rate

    @property
    def most_in_flight(self) -> int | None:
        """What may be in flight at once; None: no cap."""
        return self.users if self.users is not None else self.concurrency

    def __str__(self) -> str:
        if self.users is not None:
            return f"{self.users:,} users, a request every {self.pace_s:g} s each"
        return f"{self.rate:.4g} requests/s" if self.rate is not None else f"{self.concurrency:,} in flight"


@runtime_checkable
class ByUser(Protocol):
    """Requests that know whose they are: where the source of a load has ``of``, a paced user gets its own."""

    def of(self, user: int) -> Request | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What came of it, warm-up left out but for ``sent`` and ``tokens``, which is all that went out.

    ``rate``: requests sent a second in the measured time, which is ``duration_s`` long; ``due_rate``: requests that
    fell due in it by the schedule, a second (a ramp's are fewer than the rate it climbs to); None of a closed loop.
    ``warmup``: requests of the warm-up, which no other count has.  ``late_sends``: sends more than a millisecond after
    they were due though a slot was free.  ``mean_in_flight``: over the measured time, from send to end.
    ``ended``: why nothing more was sent before the time was over, or None.  ``short``: what was
    asked and not delivered (see ``shortfall``), or None.  ``examples``: the first failures of each kind that differ,
    shortened.  ``pauses``: times a slot of a closed loop paused because its request came to no connection, and
    ``paused_s`` the time of all slots together (``backoff``).  ``answered``: tokens of all answers, as the server told
    them, else as they came; ``cpu_s``: what this process used of processors meanwhile, with whatever else it did.
    ``where``: which processes drove it, in words, and ``shards`` what each did, where it was not this one alone.
    ``wire``: what the engines counted
    (``csrc/wire/pfs_wire.h`` says what each means); nothing where Python drove.  ``warnings``: what the client did that
    may show in the figures.
    """

    max_in_flight: int
    rate: float
    requests: int
    completed: int
    failed: int
    duration_s: float
    sent: int
    tokens: int
    warmup: int = 0
    due_rate: float | None = None
    late_sends: int = 0
    coalesced_reads: int = 0
    mean_in_flight: float | None = None
    pauses: int = 0
    paused_s: float = 0.0
    answered: int = 0
    cpu_s: float = 0.0
    where: str = ""
    shards: list[dict[str, object]] = field(default_factory=list)
    ended: str | None = None
    short: str | None = None
    examples: dict[str, list[str]] = field(default_factory=dict)
    wire: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def shortfall(spec: LoadSpec, *, due: int, in_time: int, missed: int, begun: int, ended: bool) -> str | None:
    """What of the load asked for was not delivered, in words; None where it was, within one in a hundred.

    ``due``: requests that fell due in the measured time; ``in_time``: sends in it; ``missed``: sends more than
    MISSED_NS late though a slot was free; ``begun``: requests sent at all; ``ended``: the load came to an end before
    its time, and what was not sent for that is not missing.  A closed loop is short only when some of its slots never
    sent: one that is slow because the answers are has delivered what was asked.
    """
    if spec.due_rate is None:
        if ended or begun >= (spec.concurrency or 1):
            return None
        return f"{begun:,} of {spec.concurrency:,} slots came to send at all"
    allowed = (1.0 - DELIVERED) * due + 1.0
    if missed > allowed:
        return (
            f"{missed:,} of {due:,} requests left more than {MISSED_NS // 1_000_000} ms late though a slot was free: "
            "the client was short of time"
        )
    if ended or due - in_time <= allowed:
        return None
    text = f"sent {in_time:,} of the {due:,} requests that fell due within the time"
    if spec.users is not None:
        return f"{text}: users waited for answers longer than their pace"
    if spec.concurrency is not None:
        return f"{text}: no more than {spec.concurrency:,} were to be in flight"
    return f"{text}: the client was short of time"
