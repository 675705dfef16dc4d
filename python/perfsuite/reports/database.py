"""What was measured of a chat service's database, in lines: how quick its queries are, and what each index is worth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from perfsuite.reports.figures import printable
from perfsuite.result import PhaseResult
from perfsuite.units import figure, number

SPEEDS = (
    ("session creation", "session_create_time"),
    ("message creation", "message_create_time"),
    ("sessions of a user", "sessions_query_time"),
    ("messages of a session, and the newest", "messages_query_time"),
    ("memories of a user, of a profile, and the newest", "memories_query_time"),
    ("logs of a session", "logs_query_time"),
    ("your queries", "named_query_time"),
)
"""What is asked of the database, and the metric of its times."""
USED = {True: "✓", False: "✗ not in the plan", None: ""}
SLOWER = {True: "✗ the plan uses it all the same", False: "✗ not in the plan", None: ""}


def speeds(phase: PhaseResult) -> Iterator[str]:
    """A line for each kind of query that was measured."""
    for text, name in SPEEDS:
        found = phase.metric(name)
        if found is None or found.stats is None:
            continue
        half, most = found.stats.p50, found.stats.p95
        if half is None:
            speed = "no median, for half of them failed"
        elif most is None:
            speed = f"{figure(half, 'ms')} (more than 5 % failed)"
        else:
            speed = f"{figure(half, 'ms')} (95 % within {figure(most, 'ms')})"
        yield f"{text}: {speed}, {found.samples:,} times"
        for row in found.details.get("queries", []):
            yield f"  {_named(row)}"


def _named(row: Mapping[str, Any]) -> str:
    """One of the user's own queries."""
    failed = f", {row['failed']:,} failed" if row["failed"] else ""
    speed = f"{figure(row['p50_ms'], 'ms')} (95 % within {figure(row['p95_ms'], 'ms')}), " if row["times"] else ""
    return f"{printable(row['query'])}: {speed}{row['times']:,} times{failed}"


def index_rows(phase: PhaseResult) -> list[Mapping[str, Any]]:
    """What the database suite said of each index."""
    metric = phase.metric("indexes_used")
    rows: list[Mapping[str, Any]] = metric.details.get("indexes", []) if metric is not None else []
    return rows


def index_line(row: Mapping[str, Any]) -> str:
    """What an index is worth, by the quickest tenth of the look-ups with it and without."""
    return f"{printable(row['index'])}: {_worth(row)}".rstrip()


def _worth(row: Mapping[str, Any]) -> str:
    times, used = row["times_quicker"], row["used"]
    if times is None:
        side = "with it" if not row.get("answered_with") else "without it"
        return f"no figure, for no look-up was answered {side} {USED[used]}"
    both = f"{figure(row['p10_with_ms'], 'ms')} with it, {figure(row['p10_without_ms'], 'ms')} without"
    low, high = row["interval"][0], math.inf if row["interval"][1] is None else row["interval"][1]
    if low > 1.0:
        return f"{both}: {number(times, 2)} times quicker {USED[used]}"
    if high < 1.0:
        return f"{both}: {number(row['times_slower'], 2)} times slower {SLOWER[used]}"
    return (
        f"{both}: {number(times, 2)} times as quick, not certain ({number(low, 2)} to {number(high, 2)}) {USED[used]}"
    )


def plan_line(row: Mapping[str, Any]) -> str | None:
    """The line of its query's plan that has the index, else the first; None where plans are not read."""
    steps = [line.strip() for line in str(row["plan_with"] or "").splitlines()]
    return next((printable(step) for step in [*(one for one in steps if row["index"] in one), *steps]), None)


def lines(phase: PhaseResult) -> Iterator[str]:
    """All of it, for a screen; nothing for a phase that measured no database."""
    rows, quick = index_rows(phase), list(speeds(phase))
    if quick:
        yield "Queries, half of them within:"
        yield from (f"  • {text}" for text in quick)
    if rows:
        yield "Indexes, by the quickest tenth of the look-ups:"
    for row in rows:
        yield f"  • {index_line(row)}"
        plan = plan_line(row)
        if plan is not None:
            yield f"      {plan}"
