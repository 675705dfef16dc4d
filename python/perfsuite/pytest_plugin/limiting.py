"""The fixture ``rate_limiter``: limiters whose time the test moves."""

from __future__ import annotations

from perfsuite._core import RateLimiter
from perfsuite.limits import TokenBucket

MOST_KEYS = 10_000


class Limiters:
    """Makes limiters that share one clock, which stands still until it is moved: nothing depends on the machine."""

    def __init__(self) -> None:
        self._now_ns = 1_000_000_000

    def __call__(self, rate: float, capacity: float | None = None, max_keys: int = MOST_KEYS) -> RateLimiter:
        """A RateLimiter of ``rate`` a second for each key, and ``capacity`` at once [as many as a second brings]."""
        return RateLimiter(rate, max(1.0, rate) if capacity is None else capacity, max_keys, clock=self.now_ns)

    def bucket(self, rate: float, capacity: float | None = None) -> TokenBucket:
        """A TokenBucket, likewise.  Its waits would still sleep in real time: ask ``try_acquire`` and
        ``retry_after``."""
        return TokenBucket(rate, max(1.0, rate) if capacity is None else capacity, clock=self.now_ns)

    def advance(self, seconds: float) -> None:
        """Lets that much time go by.  Raises ValueError for less than none."""
        if not seconds >= 0.0:
            raise ValueError(f"time goes by at 0 seconds or more, not {seconds}")
        self._now_ns += round(seconds * 1e9)

    def now_ns(self) -> int:
        """The clock."""
        return self._now_ns
