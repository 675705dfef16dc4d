"""Context for a message: looked up, kept for the like of it, left out when it costs too much."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from perfsuite._core import LRUCache

Lookup = Callable[[str], str | None]
"""What is known about a message, as text for the model; None or empty when nothing is."""

LONGEST_KEPT = 65_536
"""Characters of a message and its context together that are kept at most, so that the cache's bytes are bounded too."""
PAUSE = 10
"""Turns for which ``auto`` leaves context out after it was too slow."""


class Context:
    """The lookup of a loop, behind a bounded cache.

    ``hits`` and ``misses`` of the cache; ``skipped``: turns without context in ``auto`` because it had been too slow.
    """

    def __init__(self, lookup: Lookup | None, cache_size: int) -> None:
        self.lookup = lookup
        self.hits = self.misses = self.skipped = 0
        self._cache: LRUCache[str, str] | None = LRUCache(cache_size) if cache_size else None
        self._pause = 0

    def __len__(self) -> int:
        return 0 if self._cache is None else len(self._cache)

    def clear(self) -> None:
        """Forgets what was kept."""
        if self._cache is not None:
            self._cache.clear()

    def find(self, text: str, mode: Literal["auto", "on", "off"], budget_ms: float) -> str:
        """The context for a message; empty when there is none, or none is wanted."""
        if self.lookup is None or mode == "off":
            return ""
        if self._cache is not None:
            known = self._cache.get(text)
            if known is not None:
                self.hits += 1
                return known
        if mode == "auto" and self._pause:
            self._pause -= 1
            self.skipped += 1
            return ""
        began = time.monotonic_ns()
        found = self.lookup(text) or ""
        if mode == "auto" and (time.monotonic_ns() - began) / 1e6 > budget_ms:
            self._pause = PAUSE
        self.misses += 1
        if self._cache is not None and len(text) + len(found) <= LONGEST_KEPT:
            self._cache[text] = found
        return found
