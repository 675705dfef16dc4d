"""What may be sent: ``--max-requests`` and ``--max-tokens`` bound the whole run, and a phase's own bound the phase.

What is left is shared out before it is spent, by what would be sent without a limit: else a quick service is asked all
of it by the first phase, and of the others nothing is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TOKENS = 800.0
"""Of a request and its answer, before one was seen."""


@dataclass(slots=True, kw_only=True)
class Budget:
    """Requests and tokens that may be sent, and how many were; ``within`` is the larger one that it is part of.

    ``whose`` begins the reason: ``the run's`` limit, ``the phase's``; None: a share of what it is part of.
    """

    whose: str | None
    most_requests: int | None = None
    most_tokens: int | None = None
    within: Budget | None = None
    requests: int = 0
    tokens: int = 0

    def share(self, part: float) -> Budget:
        """``part`` of what is left, of at least one request and token; what is not spent of it stays in this one."""
        if part >= 1.0:
            return self
        left = (self.requests_left, self.tokens_left)
        requests, tokens = (None if one is None else max(1, math.ceil(one * part)) for one in left)
        return Budget(whose=None, most_requests=requests, most_tokens=tokens, within=self)

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
    def about(self) -> float:
        """About how many requests that is: a token limit by what a request came to so far, else by TOKENS each."""
        requests, tokens = self.requests_left, self.tokens_left
        whole = [*self._chain()][-1]
        each = whole.tokens / whole.requests if whole.requests and whole.tokens else TOKENS
        found = [float(requests)] if requests is not None else []
        return min([*found, tokens / each] if tokens is not None else found, default=math.inf)

    @property
    def reached(self) -> str | None:
        """The limit that was reached, in words, the widest of several; None while more may be sent."""
        return next((text for one in reversed([*self._chain()]) if (text := one._said()) is not None), None)

    def _said(self) -> str | None:
        for most, spent, what in (
            (self.most_requests, self.requests, "requests"),
            (self.most_tokens, self.tokens, "tokens"),
        ):
            if most is not None and spent >= most:
                if self.whose is None:
                    return f"its share of the limit, {most:,} {what}, was sent"
                return f"{self.whose} limit of {most:,} {what} was reached"
        return None

    def _chain(self) -> Iterator[Budget]:
        one: Budget | None = self
        while one is not None:
            yield one
            one = one.within


def parts(wanted: Sequence[float]) -> list[float]:
    """What each may have of what those before it left: its share of what it and those after it want; all of it where
    it wants nothing, or nobody after it does."""
    left = [math.fsum(wanted[place:]) for place in range(len(wanted))]
    return [mine / rest if mine > 0.0 else 1.0 for mine, rest in zip(wanted, left, strict=True)]
