"""Who is told when something is wrong, and not more often than they can read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from perfsuite.chatloop.forking import Lock

Kind = Literal["memory", "slow_operation", "regression"]
Callback = Callable[["Alert"], object]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should know.

    ``value`` is what was seen and ``limit`` what it went over: a share of the memory (``memory``), seconds
    (``slow_operation``), or a share by which something became slower (``regression``).  ``at``: seconds since 1970.
    """

    kind: Kind
    text: str
    value: float
    limit: float
    operation: str | None = None
    at: float = field(default_factory=time.time)


class Alerts:
    """Callbacks, each called with an Alert in the thread where it arose.

    An alert of the same kind about the same operation comes again after ``every_s`` seconds at the earliest; those in
    between are counted in ``suppressed``.  A callback that raises stops nothing: it is logged with its traceback and
    counted in ``failed``.
    """

    def __init__(self, every_s: float, logger: logging.Logger) -> None:
        if not every_s >= 0.0:
            raise ValueError(f"alert_every_s is {every_s!r}; it must be 0 or more seconds")
        self._every_s = every_s
        self._logger = logger
        self._callbacks: tuple[Callback, ...] = ()
        self._last: dict[tuple[str, str | None], float] = {}
        self._lock = Lock()
        self.sent = 0
        self.suppressed = 0
        self.failed = 0

    def add(self, callback: Callback) -> None:
        """Another one to be told."""
        if not callable(callback):
            raise TypeError(f"an alert's callback must be callable, not {type(callback).__name__}")
        with self._lock:
            self._callbacks = (*self._callbacks, callback)

    def remove(self, callback: Callback) -> None:
        """Not to be told any more; ValueError for one that was not added."""
        with self._lock:
            if callback not in self._callbacks:
                raise ValueError("this callback was not added")
            kept = list(self._callbacks)
            kept.remove(callback)
            self._callbacks = tuple(kept)

    def send(self, alert: Alert) -> bool:
        """Tells everybody, unless they were told of the like just now; whether they were."""
        key = (alert.kind, alert.operation)
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(key, float("-inf")) < self._every_s:
                self.suppressed += 1
                return False
            self._last[key] = now
            self.sent += 1
            callbacks = self._callbacks
        for callback in callbacks:
            try:
                callback(alert)
            except Exception:
                with self._lock:
                    self.failed += 1
                self._logger.exception("an alert's callback failed: %s", alert.text)
        return True
