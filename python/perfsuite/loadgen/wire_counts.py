"""What engines counted, of several together, and what of it a reader of the result must know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfsuite.loadgen.engines import Engine

TELLING = 0.01
"""Reads of which a greater share was coalesced, lagged or went without a stamp say something of the figures."""
LONG_TURN_NS = 5_000_000
"""A turn of an engine's loop that was busy for longer may have sent what fell due in it late."""


HELD = 0.95
"""A closed loop that had less than this share of its slots in flight was held up by its client."""


def idleness(held: float, slots: int, starved: int | None, paused: float = 0.0) -> list[str]:
    """What to say of a closed loop that had ``held`` requests in flight on average, and ``paused`` slots that did.
    ``starved``: how often a slot found no request; None where Python drove, in whose event loop a system may run."""
    if held + paused >= HELD * slots:
        return []
    if starved is None:
        why = (
            "between an answer and the next request the event loop was taken up, by the client or by a system that "
            "runs in it"
        )
    else:
        why = (
            f"the client was short of time between an answer and the next request (a slot found none {starved:,} times)"
        )
    return [f"{held:.3g} of {slots:,} were in flight on average: {why}"]


def counted(engines: Iterable[Engine]) -> dict[str, int]:
    """The counts of all engines: added up, of the longest the greatest."""
    total: dict[str, int] = {}
    for engine in engines:
        for name, value in engine.stats().items():
            longest = name.endswith("_max_ns")
            total[name] = max(total.get(name, 0), value) if longest else total.get(name, 0) + value
    return total


def warnings(counts: Mapping[str, int]) -> list[str]:
    """What may make figures of this run untrue, in words; nothing where nothing does."""
    reads = counts["reads"]
    few = TELLING * reads
    found = []
    if counts["coalesced_reads"] > few:
        found.append(
            f"{counts['coalesced_reads']:,} of {reads:,} reads held two chunks or more, which share a stamp: gaps of "
            "nothing between tokens are the reading's, or the sender's"
        )
    if counts["merged_reads"] > few:
        found.append(
            f"{counts['merged_reads']:,} of {reads:,} reads of raw text held more pieces than one, which count as one "
            f"chunk: {counts['merged_pieces']:,} chunks or more are missing, and gaps between tokens seem longer"
        )
    unstamped = reads - counts["kernel_reads"]
    if unstamped > few:
        found.append(
            f"{unstamped:,} of {reads:,} reads were stamped after the read and not by the kernel"
            + (f" ({counts['lag_over']:,} others waited longer than 1 ms)" if counts["lag_over"] else "")
        )
    if counts["lag_over"] > few:
        found.append(
            f"{counts['lag_over']:,} of {reads:,} reads came more than 1 ms after the kernel's stamp (up to "
            f"{counts['lag_max_ns'] / 1e6:.1f} ms): stamps are right, but the client was short of time"
        )
    if counts["turn_max_ns"] > LONG_TURN_NS:
        found.append(f"the engine was busy for {counts['turn_max_ns'] / 1e6:.1f} ms at a stretch: sends may be late")
    if counts["clock_steps"]:
        found.append(f"the wall clock was set {counts['clock_steps']:,} times: stamps around that are the clock's own")
    if counts["paused"]:
        found.append(f"the engine's log was full {counts['paused']:,} times: reading paused until Python had its turn")
    if counts["stale_retries"] > TELLING * counts["sent"]:
        found.append(
            f"{counts['stale_retries']:,} of {counts['sent']:,} requests were sent again on a new connection: the "
            "server closed the kept one without saying so"
        )
    return found
