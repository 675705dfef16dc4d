"""What may be sent: ``--max-requests`` and ``--max-tokens`` bound the whole run, and a phase's own bound the phase."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Budget:
    """Requests and tokens that may be sent, and how many were; ``within`` is the larger one that it is part of.

    ``whose`` begins the reason: ``the run's`` limit, ``the phase's``.
    """

    whose: str
    most_requests: int | None = None
    most_tokens: int | None = None
    within: Budget | None = None
    requests: int = 0
    tokens: int = 0

    def spend(self, requests: int, tokens: int) -> None:
        """So much has been sent."""
        for one in self._chain():
            one.requests += requests
            one.tokens += tokens

    @property
    def requests_left(self) -> int | None:
        """Requests that may be sent yet; None: any number."""
        left = [one.most_requests - one.requests for one in self._chain() if one.most_requests is not None]
        return max(0, min(left)) if left else None

    @property
    def tokens_left(self) -> int | None:
        """Tokens that may be sent and answered yet; None: any number."""
        left = [one.most_tokens - one.tokens for one in self._chain() if one.most_tokens is not None]
        return max(0, min(left)) if left else None

    @property
    def reached(self) -> str | None:
        """The limit that was reached, in words; None while more may be sent."""
        for one in self._chain():
            for most, spent, what in (
                (one.most_requests, one.requests, "requests"),
                (one.most_tokens, one.tokens, "tokens"),
            ):
                if most is not None and spent >= most:
                    return f"{one.whose} limit of {most:,} {what} was reached"
        return None

    def _chain(self) -> Iterator[Budget]:
        one: Budget | None = self
        while one is not None:
            yield one
            one = one.within
