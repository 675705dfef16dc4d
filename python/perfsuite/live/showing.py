"""A run on its page: what the runner tells goes to the process that serves it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from perfsuite.live.opening import opened
from perfsuite.live.picture import picture
from perfsuite.result import dump

if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.result import Result
    from perfsuite.runner import Progress
    from perfsuite.suites.session import Stretch


class Page(Protocol):
    """What is shown of a run: see Apart."""

    @property
    def pid(self) -> int:
        """The process that serves it."""

    @property
    def viewers(self) -> int:
        """How many look."""

    def put(self, **parts: object) -> None:
        """Replaces parts of what is shown."""

    def end(self, said: str, **parts: object) -> None:
        """Puts the last of it."""


class Showing:
    """What a run is told to call, so that its page shows it.  Nothing is taken while nobody looks.

    A state costs this process a millisecond, most of it because nothing of what makes it is in a cache by then, and a
    browser far more: while a load is driven there is one for each of its ticks, in which is how far the run is, too.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._stretch: Stretch | None = None
        self._far: dict[str, object] = {}

    @property
    def pid(self) -> int:
        """The process that serves the page."""
        return self._page.pid

    def progress(self, progress: Progress) -> None:
        """How far the run is."""
        if self._page.viewers:
            self._far = {"progress": {name: getattr(progress, name) for name in type(progress).__dataclass_fields__}}
            if self._stretch is None or self._stretch.delivered is not None:  # else ``watch`` is about to take it along
                self._page.put(**self._far)

    def watch(self, stretch: Stretch) -> None:
        """A stretch of load, at each of its ticks."""
        self._stretch = stretch
        if self._page.viewers:
            self._page.put(**picture(stretch), **self._far)

    def save(self, result: Result) -> None:
        """The result so far."""
        self._page.put(result=dump(result))

    def end(self, result: Result, files: str | None = None) -> None:
        """The last state: what came of the run, and where its files are."""
        last = {} if self._stretch is None else {**picture(self._stretch), "rate": None}
        said = f"The run has ended: {result.run.verdict}."
        if result.run.error:
            said += f" {result.run.error}."
        if files:
            said += f" Its files: {files}"
        self._page.end(said, **last, verdict=result.run.verdict, result=dump(result))


@contextlib.contextmanager
def showing(plan: Plan, say: Callable[[str], object] | None = None) -> Iterator[Showing | None]:
    """The page of a run where its plan wants one; ``say`` gets its URL [stderr].  It ends with the block.

    Raises UsageError for an address that cannot be had.
    """
    if plan.live is None:
        yield None
        return
    from perfsuite.live.apart import Apart

    say = say or _to_stderr
    listener, token = opened(plan.live, "--live")
    page = Apart(listener, token, plan.target, say, target=plan.target, started=time.time())
    try:
        hint = " (open it with ?token=…)" if token is not None else ""
        say(f"live at {page.url}{hint}")
        yield Showing(page)
    finally:
        page.close()


def _to_stderr(text: str) -> None:
    print(f"perfsuite: {text}", file=sys.stderr, flush=True)
