"""A run under the command line: signals and progress around the runner."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perfsuite.cli.meter import Meter
    from perfsuite.live.showing import Showing
    from perfsuite.plan import Plan
    from perfsuite.result import Result
    from perfsuite.runner import Announce, Progress
    from perfsuite.suites.session import Stretch

INTERRUPTED = 130
PATIENCE_S = 3.0
"""How long a second Ctrl-C waits for the clean end of what is open."""


class Interrupts:
    """Ctrl-C and SIGTERM while a run measures and writes: the first asks it to come to an end, the second is a
    KeyboardInterrupt, and the process ends after PATIENCE_S whatever is still open.

    Python's own handlers, not the loop's: they run even while a target holds up the loop.  Outside the main thread
    signals are somebody else's.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.count = 0
        self._say = say
        self._ask: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.count > 1 and isinstance(error, Exception):
            # Ctrl-C in the middle of a clean-up leaves it half done, and what comes after it stumbles over that.
            raise KeyboardInterrupt from error

    @contextmanager
    def asking(self, ask: Callable[[], object]) -> Iterator[None]:
        """While it lasts the first signal calls ``ask``; otherwise it is only counted."""
        self._ask = ask
        try:
            if self.count:
                ask()
            yield
        finally:
            self._ask = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            if self._ask is not None:
                self._ask()
                self._say("finishing the sample; Ctrl-C again ends at once")
            else:
                self._say("writing the results; Ctrl-C again ends at once")
            return
        deadline = threading.Timer(PATIENCE_S, os._exit, [INTERRUPTED])
        deadline.daemon = True
        deadline.start()
        raise KeyboardInterrupt


def drive(
    plan: Plan,
    save: Callable[[Result], None],
    meter: Meter,
    interrupts: Interrupts,
    notes: Iterable[str] = (),
    announce: Announce | None = None,
    showing: Showing | None = None,
) -> Result:
    """Runs the plan in an event loop of its own; interrupted once, the result so far comes back, marked so.

    What a target's code prints meanwhile goes to stderr.
    """

    def progress(far: Progress) -> None:
        meter.show(far)
        if showing is not None:
            showing.progress(far)

    def watch(stretch: Stretch) -> None:
        meter.watch(stretch)
        if showing is not None:
            showing.watch(stretch)

    def kept(result: Result) -> None:
        if showing is not None:
            showing.save(result)
        save(result)

    async def run() -> Result:
        from perfsuite.heap import collected
        from perfsuite.runner import execute_async

        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        with interrupts.asking(lambda: loop.call_soon_threadsafe(stop.set)), collected():
            return await execute_async(
                plan,
                progress=progress,
                stop=stop,
                save=kept,
                notes=notes,
                announce=announce,
                watch=watch if showing is not None or meter.live else None,
                beside=[] if showing is None else [showing.pid],
            )

    # What the target's code prints is no result, and --json - is read by programs.
    with redirect_stdout(sys.stderr):
        return asyncio.run(run())
