"""Pauses of a closed loop's slot that comes to no connection.

A request to a port that nobody listens on fails within microseconds, and the next one after it: a slot would try
thousands of times a second, which tells nothing more and takes the processor.  So it pauses before it tries again,
twice as long with each failure in a row.  It is not in flight meanwhile.  Schedules bound their own attempts and are
kept.  The engines in C do the same (``csrc/wire/pfs_wire.h``).
"""

from __future__ import annotations

UNREACHED = ("dns", "connect", "tls")
"""Kinds of failure after which a slot pauses."""
FIRST_S = 0.01
LONGEST_S = 1.0
_DOUBLINGS = 7


def pause_s(failures: int) -> float:
    """Before the next attempt, after so many failures in a row."""
    return 0.0 if failures < 1 else min(LONGEST_S, FIRST_S * 2 ** min(failures - 1, _DOUBLINGS))


def pauses_said(pauses: int, paused_s: float) -> list[str]:
    """What to say of a load whose slots paused so often, so long together; nothing where none did."""
    if not pauses:
        return []
    return [
        f"no connection came about {pauses:,} times, and slots paused after it for {paused_s:.3g} s together (each "
        f"{LONGEST_S:g} s at most before its next attempt): they were not in flight meanwhile"
    ]
