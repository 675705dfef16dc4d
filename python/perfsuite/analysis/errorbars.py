"""The client's own error in what it measured: from self checks to the error bars of a metric, and into its interval.

A mean or a median may be off by what the medians and means of a check were; any other quantile by what its p99 was.
What came over the wire is stamped as first token, gap or end; an open loop's rate is counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from perfsuite.metric import catalogue
from perfsuite.result import ErrorBars, MetricResult
from perfsuite.selfchecks import Check, Load, covering, usual_pace_ms
from perfsuite.units import figure

WAITED = 0.2
"""Seconds a second that a client may wait for a processor before it is said."""
STOLEN = 0.05
LATE = 0.01


def error_of(name: str, stat: str, value: float, check: Check) -> float | None:
    """How far a figure may be off, in its own unit (ms; a rate's in 1/s); None where a check says nothing of it."""
    row = catalogue().get(name)
    stamp = row.stamp if row is not None else None
    if stamp == "rate":
        return abs(check.rate) * value
    deviation = {"first": check.ttft, "gap": check.itl, "end": check.end}.get(stamp or "")
    if deviation is None:
        return None
    return deviation.central if stat in ("mean", "p50", "value") else deviation.tail


def with_error(result: MetricResult, checks: Sequence[Check]) -> MetricResult:
    """The metric with the greatest error that ``checks`` tell of it, and its interval as much wider on either side."""
    if result.value is None or result.censored:
        return result
    value = result.value
    errors = [error_of(result.name, result.stat, value, one) for one in checks]
    known = [one for one in errors if one is not None and math.isfinite(one)]
    if not known or len(known) < len(errors):
        return result
    error = max(known)
    low, high = result.interval or (value, value)
    return msgspec.structs.replace(
        result,
        measurement_error=error,
        interval=(None if low is None else max(0.0, low - error), None if high is None else high + error),
    )


def bars_of(stretch: str, load: Load, checks: Iterable[Check]) -> tuple[ErrorBars, Check | None]:
    """What is known of the client's error under a load, and the check that it is from."""
    found = covering(load, checks)
    bars = ErrorBars(
        stretch=stretch,
        engine=load.engine,
        scheme=load.scheme,
        streams=load.streams,
        tokens_per_chunk=load.tokens_per_chunk,
        chunks_per_s=load.chunks_per_s,
        command=command_for(load),
    )
    if found is None:
        return bars, None
    return msgspec.structs.replace(bars, checked=found.at, text=described(found), command=""), found


def described(check: Check) -> str:
    """What a check found, on a line."""
    parts = [
        f"{name} ±{figure(one.central, 'ms', 2)}, p99 ±{figure(one.tail, 'ms', 2)}"
        for name, one in (("ttft", check.ttft), ("itl", check.itl))
        if one is not None
    ]
    return f"{'; '.join(parts)} by a self check at {check.load.streams:,} streams on {check.at[:10]}"


def command_for(load: Load) -> str:
    """The self check that would cover a load; "" for an engine or a scheme that it does not drive."""
    if load.engine not in ("wire", "asyncio") or load.scheme not in ("http", "https"):
        return ""
    tokens = max(1, math.floor(load.tokens_per_chunk + 0.05))
    pace = f" --pace {load.pace_ms:g}ms" if load.pace_ms < usual_pace_ms(load.streams) else ""
    return (
        f"perfsuite selfcheck --engine {load.engine} --scheme {load.scheme} --streams {load.streams} "
        f"--tokens-per-chunk {tokens}{pace}"
    )


def cpu_warnings(waited: float | None, stolen: float | None) -> list[str]:
    """What a client that had to wait for a processor has to say; nothing where it had not."""
    found = []
    if waited is not None and waited > WAITED:
        found.append(
            f"the CPU was short: the client's threads waited {waited:.2g} s a second for a processor; what it stamps "
            "itself may be late by as much as it waited"
        )
    if stolen is not None and stolen > STOLEN:
        found.append(f"the CPU was short: this machine's host gave {stolen:.0%} of its time to others")
    return found


def late_warning(late: int, sends: int) -> list[str]:
    """A client that sent late says so."""
    if late > 1.0 + LATE * sends:
        return [f"{late:,} of {sends:,} requests left more than 1 ms after they were due, though a slot was free"]
    return []
