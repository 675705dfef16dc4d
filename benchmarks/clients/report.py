"""What a client prints when it is done, and what the clients share."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

NOT_INSTALLED = 77


class Measured:
    """What one client saw.  The first round of each stream is warm-up: its requests are sent with an id that begins
    with w, the others' with m, and only these are counted here.  Times are taken with ``time.perf_counter_ns``."""

    def __init__(self) -> None:
        self.ttft: list[float] = []
        self.gaps: list[float] = []
        self.tokens = 0
        self.errors = 0
        self.in_flight = 0
        self.held = 0

    def begin(self) -> Callable[[bool], None]:
        """A request is about to be sent; the function that is returned takes its tokens, the last with True."""
        started = last = time.perf_counter_ns()
        first = True
        self.in_flight += 1
        self.held = max(self.held, self.in_flight)

        def token(measured: bool) -> None:
            nonlocal first, last
            now = time.perf_counter_ns()
            self.tokens += 1
            if measured:
                (self.ttft if first else self.gaps).append((now - (started if first else last)) / 1e6)
            first, last = False, now

        return token

    def end(self, failed: bool = False) -> None:
        """A request has ended."""
        self.in_flight -= 1
        self.errors += failed

    def printed(self) -> None:
        """The object that the comparison reads."""
        print(
            json.dumps(
                {
                    "ttft_p50": quantile(self.ttft, 0.5),
                    "ttft_p99": quantile(self.ttft, 0.99),
                    "itl_p50": quantile(self.gaps, 0.5),
                    "itl_p99": quantile(self.gaps, 0.99),
                    "tokens": self.tokens,
                    "held": self.held,
                    "errors": self.errors,
                    "marked": True,
                }
            )
        )


def quantile(values: list[float], q: float) -> float | None:
    """Nearest rank; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -(-int(q * 1000) * len(ordered) // 1000) - 1)] if ordered else None


def arguments() -> tuple[str, int, int, int]:
    """URL, streams, rounds (the first of several is warm-up), tokens."""
    url, streams, rounds, tokens = sys.argv[1:5]
    return url, int(streams), int(rounds), int(tokens)


def ident(stream: int, turn: int, rounds: int) -> tuple[str, bool]:
    """(the request's id, whether it is measured)."""
    measured = turn > 0 or rounds == 1
    return f"{'m' if measured else 'w'}{stream}-{turn}", measured


def body(tokens: int) -> dict[str, object]:
    """An OpenAI chat request."""
    return {
        "model": "paced",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": tokens,
        "messages": [{"role": "user", "content": "Tell me of the sea."}],
    }


def content(payload: str | bytes) -> bool:
    """Whether a payload is a content chunk, found out as users do: by decoding it."""
    if payload == "[DONE]" or payload == b"[DONE]":
        return False
    choices = json.loads(payload).get("choices")
    return bool(choices and choices[0]["delta"].get("content"))


def missing(error: ImportError) -> int:
    """Says what is not installed."""
    print(f"pip install {error.name}")
    return NOT_INSTALLED
