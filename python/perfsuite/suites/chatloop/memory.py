"""Memory by the size of a conversation, and what that comes to at the guide's scales; in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypedDict, cast

from perfsuite.analysis.scaling import CLASSES, project
from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured
from perfsuite.suites.apart import Stopped, run_apart
from perfsuite.suites.chatloop.turns import maker, messages, taken
from perfsuite.units import figure

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

SIZES = (10, 50, 100, 500, 1000, 5000)
USERS = (1, 10, 25, 50, 75, 100)
USERS_MESSAGES = 50
"""Messages of each user's conversation."""
NAMES = (
    "conversation_memory",
    "untrimmed_time",
    *(f"scale_{what}_{row.name}" for what in ("memory", "cpu") for row in CLASSES),
)


class Size(TypedDict):
    """One size: the bytes that its objects hold, trims, and the share of the loop's own time without trimming."""

    messages: int
    bytes: int
    kept: int
    trims: int
    untrimmed_time: float


class Sizes(TypedDict):
    """What the process prints: the sizes, (users, bytes of the process), and CPU seconds of a message."""

    sizes: list[Size]
    users: list[tuple[int, int]]
    cpu_s: float


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for ``conversation_memory``, ``untrimmed_time`` and the scale classes."""
    asked = {
        "loop": maker(session).loop_name,
        "sizes": SIZES,
        "users": USERS,
        "messages": USERS_MESSAGES,
        "texts": taken(messages(session), 500),
        "seconds": session.remaining_s(),
    }
    command = [sys.executable, "-m", "perfsuite.suites.chatloop.sizes"]
    try:
        got = await run_apart(session, command, json.dumps(asked).encode(), "measuring conversations by their size")
    except Stopped as stopped:
        return {name: NotMeasured(str(stopped)) for name in NAMES}
    found = evidence(cast("Sizes", got))
    for line in said(cast("Sizes", got)):
        session.note(line)
    return found


def said(got: Sizes) -> Iterator[str]:
    """The sizes and the projections, for people."""
    if left_out := [f"{size:,}" for size in SIZES[len(got["sizes"]) :]]:
        yield f"no time for conversations of {' and '.join(left_out)} messages: --duration"
    for one in got["sizes"]:
        trims = f"a trim every {one['messages'] / one['trims']:.0f} messages" if one["trims"] else "never trimmed"
        yield (
            f"{one['messages']:,} messages: {figure(one['bytes'], 'bytes')} held, {trims}, "
            f"{figure(one['untrimmed_time'], 'ratio')} of the loop's time is not trimming"
        )
    points = [(float(users), float(size)) for users, size in got["users"]]
    for row in CLASSES:
        line = project(points, row.users)
        beyond = f", extrapolated from {max(users for users, _ in points):.0f}" if line.extrapolated else ""
        yield (
            f"{row.name}, {row.users:,} users{beyond}: {figure(line.value, 'bytes')} "
            f"[{figure(line.low, 'bytes')}–{figure(line.high, 'bytes')}]; the line is off by at most "
            f"{figure(line.error, 'ratio')} where it was measured"
        )


def evidence(got: Sizes) -> dict[str, Evidence]:
    """Of what the process printed."""
    sizes = got["sizes"]
    for_each = [one["bytes"] / one["messages"] for one in sizes]
    rows = [{**one, "messages_per_trim": one["messages"] / one["trims"] if one["trims"] else None} for one in sizes]
    trimmed = [one for one in sizes if one["trims"]]
    found: dict[str, Evidence] = {
        "conversation_memory": Exact(value=max(for_each), samples=len(sizes), details={"sizes": rows}),
        "untrimmed_time": Exact(value=min(one["untrimmed_time"] for one in sizes), samples=len(trimmed))
        if trimmed
        else NotMeasured(f"no conversation of up to {sizes[-1]['messages']:,} messages was trimmed: --duration"),
    }
    points = [(float(users), float(size)) for users, size in got["users"]]
    largest = max(users for users, _ in got["users"])
    for row in CLASSES:
        line = project(points, row.users)
        how = f"extrapolated from {largest} users" if line.extrapolated else f"within the {largest} users measured"
        found[f"scale_memory_{row.name}"] = Estimate(
            value=line.value,
            low=line.low,
            high=line.high,
            samples=len(points),
            details={
                "users": row.users,
                "messages_each": USERS_MESSAGES,
                "projection": how,
                "line_off_by_at_most": line.error,
                "measured": points,
            },
        )
        found[f"scale_cpu_{row.name}"] = Exact(
            value=got["cpu_s"] * row.messages_per_hour / 3600.0,
            details={"messages_per_hour": row.messages_per_hour, "cpu_s_a_message": got["cpu_s"], "of": "one core"},
        )
    return found
