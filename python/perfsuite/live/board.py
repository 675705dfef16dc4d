"""What a live page shows: the latest of each part, told by whoever measures, taken by whoever serves.

The one who measures only puts values down.  Those who look are woken at most once a tick, and get the whole of the
latest state: a viewer that is slow misses states in between and nothing else, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import msgspec

State = dict[str, Any]


class Board:
    """``put`` may be called from any thread; ``following`` and ``text`` are the server's, in its loop."""

    def __init__(self, **first: object) -> None:
        self.viewers = 0
        self.looked_at: Callable[[int], object] | None = None
        """Is told how many look, whenever that changes; in the server's thread."""
        self.last: int | None = None
        """The number of the last state, once it is there."""
        self._state: State = {"ended": None, **first}
        self._version = 1
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news: asyncio.Event | None = None
        self._written: tuple[int, bytes] = (0, b"")

    def put(self, **parts: object) -> None:
        """Replaces parts of what is shown, until the end.  The values must not be changed afterwards."""
        with self._lock:
            if self.last is not None:
                return
            self._state.update(parts)
            self._version += 1
            loop = self._loop
        self._tell(loop)

    def end(self, said: str, **parts: object) -> None:
        """Puts the last state, in which ``ended`` is what is said of the end.  Only the first end counts."""
        with self._lock:
            if self.last is not None:
                return
            self._state.update(parts, ended=said)
            self._version += 1
            self.last = self._version
            loop = self._loop
        self._tell(loop)

    def joined(self, viewers: int) -> None:
        """So many more look; negative: fewer."""
        self.viewers += viewers
        if self.looked_at is not None:
            self.looked_at(self.viewers)

    def _tell(self, loop: asyncio.AbstractEventLoop | None) -> None:
        if loop is not None and self.viewers:
            try:
                loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop is closed: the server has ended, and with it whoever looked
                self._loop = None

    def serve_in(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """From now on the viewers wait in that loop; None: there is none any more."""
        with self._lock:
            self._loop, self._news = loop, asyncio.Event()

    def text(self) -> tuple[int, bytes]:
        """The state's number, and the state as JSON; written once however many ask."""
        with self._lock:
            version, state = self._version, dict(self._state)
        if self._written[0] != version:
            self._written = version, msgspec.json.encode({"version": version, **state})
        return self._written

    async def following(self, seen: int, patience_s: float) -> tuple[int, bytes] | None:
        """The latest state once it is another than that with the number ``seen``; None when none came in the time."""
        deadline = asyncio.get_running_loop().time() + patience_s
        while self._version == seen:
            assert self._news is not None
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                return None
        return self.text()

    def _wake(self) -> None:
        assert self._news is not None
        self._news.set()
        self._news = asyncio.Event()
