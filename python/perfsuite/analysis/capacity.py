"""What a system bears at loads that were not measured: the universal scalability law behind a number of slots.

Gunther's law (Guerrilla Capacity Planning, 2007): with n requests in flight, ``n/X(n) = a + b (n - 1) + c n (n - 1)``,
where X is the throughput, a the seconds of a request by itself, b what each further one has it wait (contention) and c
what each pair of them costs (coherency).  A server that takes so many at a time and lets the others wait has a corner
that no such curve has: here n is then no more than the slots, and the rest is a queue.  With no limit of slots it is
the law itself; which of the two holds, the levels decide (Akaike's criterion).

The levels are of a closed loop: each of n users has one request in flight.  A user who thinks for z seconds between an
answer and the next message follows the interactive response time law (Denning and Buzen, 1978): ``users = X (R + z)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEWEST = 4
"""Levels below which nothing is fitted."""
LEAST_ERROR = 0.02
"""A level is not known any better than this share: no system is the same for long."""
REPLICATES = 500
MOST_SLOTS = 64
"""Numbers of slots that are tried."""


@dataclass(frozen=True, slots=True)
class Level:
    """What was measured with so many in flight: requests ended a second, with the standard error as a share of it, and
    latencies in ms by name."""

    concurrency: float
    throughput: float
    error: float
    latencies: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Law:
    """Throughput and response time by the number in flight; all times in seconds."""

    alone: float
    contention: float
    coherency: float
    slots: float = math.inf

    def throughput(self, concurrency: float) -> float:
        """Requests ended a second."""
        held = min(concurrency, self.slots)
        return held / (self.alone + self.contention * (held - 1) + self.coherency * held * (held - 1))

    def response_s(self, concurrency: float) -> float:
        """The mean time of a request, waiting for a slot included (Little's law)."""
        return concurrency / self.throughput(concurrency)

    @property
    def most(self) -> float:
        """The concurrency of the highest throughput; infinite where it only comes nearer to its limit."""
        if self.coherency <= 0.0:
            return self.slots
        return min(self.slots, max(1.0, math.sqrt(max(0.0, self.alone - self.contention) / self.coherency)))

    @property
    def peak(self) -> float:
        """The highest throughput that any concurrency reaches; infinite where nothing limits it."""
        if math.isfinite(self.most):
            return self.throughput(self.most)
        return 1.0 / self.contention if self.contention > 0.0 else math.inf

    @property
    def knee(self) -> float:
        """The concurrency at which throughput over response time is highest (Kleinrock's power, ICC 1979): below it
        there is room, above it requests mostly wait for one another.  Infinite where they never do."""
        a, b, c = self.alone, self.contention, self.coherency
        if c > 0.0:
            half = (b - c) / (6.0 * c)
            knee = math.sqrt(half * half + max(0.0, a - b) / (3.0 * c)) - half
        else:
            knee = (a - b) / b if b > 0.0 else math.inf
        return min(self.slots, max(1.0, knee))


@dataclass(frozen=True, slots=True)
class Curve:
    """A latency in ms by concurrency, which never falls; how far levels lie from it, as a share (root mean square)."""

    at: Callable[[float], float]
    spread: float

    def within(self, limit_ms: float, highest: float) -> float:
        """The highest concurrency, up to ``highest``, at which it is at most ``limit_ms``; 0 where it never is."""
        if self.at(1.0) > limit_ms:
            return 0.0
        if self.at(highest) <= limit_ms:
            return highest
        low, high = 1.0, highest
        while high > low * 1.0001:
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self.at(middle) <= limit_ms else (low, middle)
        return low

    def between(self, concurrency: float) -> Interval:
        """The latency, with two such spreads either way."""
        value = self.at(concurrency)
        return Interval(value, value / self._wide, value * self._wide)

    def interval(self, limit_ms: float, highest: float) -> Interval:
        """``within``, with where two such spreads more or less would put it."""
        limits = (limit_ms, limit_ms / self._wide, limit_ms * self._wide)
        return Interval(*(self.within(limit, highest) for limit in limits))

    @property
    def _wide(self) -> float:
        return 1.0 + 2.0 * self.spread


@dataclass(frozen=True)
class Model:
    """A law fitted to levels, with laws fitted to what other such measurements might have shown."""

    levels: tuple[Level, ...]
    law: Law
    replicates: tuple[Law, ...]
    spread: float
    """Standard error of a level about the law, as a share."""

    def interval(self, figure: Callable[[Law], float]) -> Interval:
        """A figure of the law."""
        found = sorted(figure(law) for law in self.replicates)
        low, high = found[int(0.025 * len(found))], found[math.ceil(0.975 * len(found)) - 1]
        value = figure(self.law)
        return Interval(value, min(low, value), max(high, value))

    def extrapolates(self, concurrency: float) -> bool:
        """Whether so many were not in flight in any level."""
        return concurrency > self.levels[-1].concurrency

    @cached_property
    def latency_names(self) -> tuple[str, ...]:
        """The latencies that every level has."""
        first, *others = (set(level.latencies) for level in self.levels)
        return tuple(sorted(first.intersection(*others)))

    def latency(self, name: str) -> Curve:
        """A latency by concurrency: what it is in a slot, by the form of the law, and its part of the wait."""
        import numpy as np

        held = np.array([min(level.concurrency, self.law.slots) for level in self.levels])
        waits = np.array([self._wait_ms(level.concurrency) for level in self.levels])
        columns = np.column_stack([np.ones_like(held), held - 1, held * (held - 1), waits])
        seen = np.array([level.latencies[name] for level in self.levels])
        coefficients = _least_squares(columns, seen[:, None], 1.0 / seen)[:, 0]
        misfit = float(np.sqrt(np.mean((columns @ coefficients / seen - 1.0) ** 2)))
        alone, contention, coherency, part = map(float, coefficients)

        def at(concurrency: float) -> float:
            held = min(concurrency, self.law.slots)
            served = alone + contention * (held - 1) + coherency * held * (held - 1)
            return served + part * self._wait_ms(concurrency)

        return Curve(at, max(LEAST_ERROR, misfit))

    def _wait_ms(self, concurrency: float) -> float:
        waiting = max(0.0, concurrency - self.law.slots)
        return 1e3 * waiting / self.law.throughput(concurrency)


def fit(levels: Sequence[Level], *, replicates: int = REPLICATES, seed: int = 0) -> Model | None:
    """The law of these levels; None for fewer than FEWEST different ones."""
    import numpy as np

    ordered = tuple(sorted((one for one in levels if one.throughput > 0.0), key=lambda one: one.concurrency))
    if len({one.concurrency for one in ordered}) < FEWEST:
        return None
    at = np.array([one.concurrency for one in ordered])
    response = at / np.array([one.throughput for one in ordered])
    errors = np.array([max(LEAST_ERROR, one.error) for one in ordered])
    law, misfit = _fitted(at, response[:, None], errors)
    best = law[0]
    free = max(1, len(ordered) - 3 - math.isfinite(best.slots))
    errors = errors * math.sqrt(max(1.0, misfit[0] / free))
    fitted = np.array([best.response_s(n) for n in at])
    noise = np.random.default_rng(seed).standard_normal((len(at), replicates))
    others, _ = _fitted(at, fitted[:, None] * np.exp(errors[:, None] * noise), errors)
    return Model(levels=ordered, law=best, replicates=tuple(others), spread=float(np.sqrt(np.mean(errors**2))))


def _fitted(at: Array, response: Array, errors: Array) -> tuple[list[Law], Array]:
    """The best law of each column of response times (s), and its misfit in squared errors."""
    import numpy as np

    weights = 1.0 / (errors * response[:, 0])
    best = np.full(response.shape[1], np.inf)
    misfit = np.zeros_like(best)
    found = np.zeros((4, response.shape[1]))
    for slots in _slots(at):
        held = np.minimum(at, slots)
        columns = np.column_stack([np.ones_like(held), held - 1, held * (held - 1)])
        in_slots = response * (held / at)[:, None]  # what a slot takes for a request
        solved = _least_squares(columns, in_slots, weights * at / held)
        squares = ((weights * at / held)[:, None] ** 2 * (columns @ solved - in_slots) ** 2).sum(axis=0)
        criterion = squares + 2.0 * math.isfinite(slots)
        better = criterion < best - 1e-9
        best[better], misfit[better] = criterion[better], squares[better]
        found[:3, better], found[3, better] = solved[:, better], slots
    return [Law(*map(float, row)) for row in found.T], misfit


def _slots(at: Array) -> list[float]:
    """No limit, and the numbers of slots that these levels could show: two of them at or above."""
    highest = int(sorted(set(at))[-2])
    if highest <= MOST_SLOTS:
        return [math.inf, *map(float, range(1, highest + 1))]
    tried = {round(highest ** (i / MOST_SLOTS)) for i in range(MOST_SLOTS + 1)}
    return [math.inf, *sorted(float(one) for one in tried)]


def _least_squares(columns: Array, seen: Array, weights: Array) -> Array:
    """Non-negative weighted least squares of each column of ``seen``: of the few sets of coefficients that may be
    other than zero, the best that has none below it."""
    import numpy as np

    a = columns * weights[:, None]
    y = seen * weights[:, None]
    best = (y**2).sum(axis=0)
    solved = np.zeros((a.shape[1], y.shape[1]))
    usable = [i for i in range(a.shape[1]) if np.any(a[:, i])]
    for count in range(1, len(usable) + 1):
        for chosen in combinations(usable, count):
            part = a[:, chosen]
            found = np.linalg.lstsq(part, y, rcond=None)[0]
            squares = ((part @ found - y) ** 2).sum(axis=0)
            better = (found >= 0.0).all(axis=0) & (squares < best)
            best[better] = squares[better]
            solved[:, better] = 0.0
            solved[np.ix_(np.array(chosen), np.flatnonzero(better))] = found[:, better]
    return solved


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A level predicted from the others.  ``beyond``: it is above them all."""

    concurrency: float
    measured: float
    predicted: float
    beyond: bool

    @property
    def error(self) -> float:
        """How far the predicted throughput is off, as a share of the measured one."""
        return abs(self.predicted / self.measured - 1.0)


def held_out(levels: Sequence[Level]) -> list[HeldOut]:
    """Each level but the first, predicted from the others; none where these are too few."""
    ordered = sorted(levels, key=lambda one: one.concurrency)
    found = []
    for left_out in ordered[1:]:
        others = [one for one in ordered if one.concurrency != left_out.concurrency]
        model = fit(others, replicates=1)
        if model is not None:
            predicted = model.law.throughput(left_out.concurrency)
            beyond = model.extrapolates(left_out.concurrency)
            found.append(HeldOut(left_out.concurrency, left_out.throughput, predicted, beyond))
    return found


def in_flight(law: Law, users: float, think_s: float) -> float:
    """How many of so many users have a request in flight, when each thinks so long between an answer and the next."""
    if think_s <= 0.0:
        return users
    low, high = 0.0, users
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle + law.throughput(max(middle, 1e-9)) * think_s < users:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
