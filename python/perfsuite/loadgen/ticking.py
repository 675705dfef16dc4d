"""What is done beside a load, whoever drives it: its progress is told and its raw rows are written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from perfsuite.loadgen.raw import pour

if TYPE_CHECKING:
    from perfsuite._core import Events
    from perfsuite.loadgen.raw import RawWriter
    from perfsuite.loadgen.tally import Tally

TICK_S = 0.25
TICKS_A_FLUSH = 4


class Ticking:
    """``broken`` is called with what ``progress``, ``raw`` or ``each`` raise, which is called at every tick."""

    def __init__(
        self,
        tally: Tally,
        events: Events,
        progress: Callable[[float], None] | None,
        raw: RawWriter | None,
        broken: Callable[[Exception], None],
        each: Callable[[], None] | None = None,
    ) -> None:
        self._tally = tally
        self._events = events
        self._progress = progress
        self._raw = raw
        self._broken = broken
        self._each = each

    async def run(self) -> None:
        """Until it is cancelled; nothing happens before the load has begun."""
        ticks = 0
        try:
            while True:
                await asyncio.sleep(TICK_S)
                ticks += 1
                if not self._tally.start_ns:
                    continue
                if self._each is not None:
                    self._each()
                if self._progress is not None:
                    self._progress(self._tally.share())
                if self._raw is not None and ticks % TICKS_A_FLUSH == 0:
                    await pour(self._events, self._raw)
        except Exception as error:  # noqa: BLE001  whoever runs the load raises it
            self._broken(error)

    async def last_rows(self) -> None:
        """Writes the raw rows that are left."""
        if self._raw is None:
            return
        try:
            await pour(self._events, self._raw)
        except Exception as error:  # noqa: BLE001  whoever runs the load raises it, unless something broke before
            self._broken(error)

    def over(self) -> None:
        """Tells that the time is."""
        if self._progress is not None:
            self._progress(1.0)
