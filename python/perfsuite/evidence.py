"""What was observed of a metric, before it is judged.

A probe or a collector gives one piece of evidence for each metric that it can show; ``analysis.summary`` turns it into
a value with its interval.  Nothing here computes a statistic.  Time series are ``[(t_s, value), …]``, t in seconds
from the start of the phase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from perfsuite._core import Histogram

Series = Sequence[tuple[float, float]]
Details = Mapping[str, object]


@dataclass(slots=True, kw_only=True)
class Samples:
    """Many values of one quantity, in the metric's unit.

    ``blocks`` are the same values by consecutive slices of time, oldest first: they tell how much the values depend on
    one another.  Empty when the samples are independent.  ``failed`` requests count as slower than any answer; they
    were waited for ``longest_wait`` at most.  ``pieces``: the same again, for stretches, where blocks are few and long.
    ``block_times``: when each block begins, where the blocks are to be kept in the result.
    """

    histogram: Histogram
    blocks: Sequence[Histogram] = ()
    pieces: Sequence[Histogram] = ()
    block_times: Sequence[float] = ()
    failed: int = 0
    longest_wait: float = 0.0
    series: Series = ()
    details: Details = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Share:
    """``hits`` of ``trials``.  ``clusters`` are (hits, trials) of groups whose members depend on one another: the
    conversations, or consecutive slices of time; empty when the trials are independent."""

    hits: float
    trials: float
    clusters: Sequence[tuple[float, float]] = ()
    series: Series = ()
    details: Details = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class RatioOfSums:
    """``1 - sum(part) / sum(whole)`` when ``complement``, else ``sum(part) / sum(whole)``, over items that were drawn
    independently: conversations of so many bytes, requests of so many tokens."""

    parts: Sequence[float]
    wholes: Sequence[float]
    complement: bool = False
    series: Series = ()
    details: Details = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Level:
    """A quantity sampled over time.  ``summary``: its ``max``, or its ``growth`` (slope x length), from ``settled_s``
    on."""

    series: Series
    summary: Literal["max", "growth"]
    settled_s: float = 0.0
    details: Details = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Exact:
    """A figure that another run of the same seed would give again; its interval is a point."""

    value: float
    samples: int = 1
    series: Series = ()
    details: Details = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Estimate:
    """A figure whose probe knows its interval.  ``stretches``: what it was in consecutive stretches of the time."""

    value: float
    low: float
    high: float
    samples: int = 1
    stretches: Sequence[float] = ()
    series: Series = ()
    details: Details = field(default_factory=dict)


@dataclass(slots=True)
class NotMeasured:
    """The target cannot show this, or this run could not see it; ``reason`` is a clause that says why.

    ``void``: it was seen, and is worth nothing, since what the target gave is wrong: that misses any criterion."""

    reason: str
    details: Details = field(default_factory=dict)
    void: bool = False


Evidence = Samples | Share | RatioOfSums | Level | Exact | Estimate | NotMeasured
