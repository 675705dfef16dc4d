"""How another process' monotonic clock stands to this one's.

Of a round trip that began at ``sent`` and ended at ``came``, in which the other said ``there``, nothing is known but
that ``there`` was read in between.  The offset that is off by the least at worst is the one from the midpoint, and it
is off by half of the round trip at most, however unevenly the two ways shared it (Cristian 1989, "Probabilistic clock
synchronization").  Of several round trips the shortest says most.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """``there = here + offset_ns``, give or take ``error_ns``."""

    offset_ns: int
    error_ns: int

    def there(self, here_ns: int) -> int:
        """An instant of this process' clock on the other's."""
        return here_ns + self.offset_ns

    def here(self, there_ns: int) -> int:
        """An instant of the other's clock on this one."""
        return there_ns - self.offset_ns


def related(round_trips: Iterable[tuple[int, int, int]]) -> Clock:
    """The relation by round trips (sent, there, came), of which there must be one."""
    sent, there, came = min(round_trips, key=lambda trip: trip[2] - trip[0])
    return Clock(there - (sent + came) // 2, (came - sent + 1) // 2)
