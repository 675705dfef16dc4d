"""A run on its page: what the runner tells is put on the board."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from perfsuite.live.board import Board
from perfsuite.live.opening import opened
from perfsuite.live.picture import picture

if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.result import Result
    from perfsuite.runner import Progress
    from perfsuite.suites.session import Stretch


class Showing:
    """What a run is told to call, so that its page shows it.  Nothing is taken while nobody looks.

    A state costs this process a millisecond, most of it because nothing of what makes it is in a cache by then, and a
    browser far more: while a load is driven there is one for each of its ticks, in which is how far the run is, too.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._stretch: Stretch | None = None
        self._result: Result | None = None
        self._far: dict[str, object] = {}

    def progress(self, progress: Progress) -> None:
        """How far the run is."""
        if self._board.viewers:
            self._far = {"progress": {name: getattr(progress, name) for name in type(progress).__dataclass_fields__}}
            if self._stretch is None or self._stretch.delivered is not None:  # else ``watch`` is about to take it along
                self._board.put(**self._far)

    def watch(self, stretch: Stretch) -> None:
        """A stretch of load, at each of its ticks."""
        self._stretch = stretch
        if self._board.viewers:
            self._board.put(**picture(stretch), **self._far)

    def save(self, result: Result) -> None:
        """The result so far."""
        self._result = result
        self._board.put(metrics=judged(result))

    def end(self, result: Result, files: str | None = None) -> None:
        """The last state: what came of the run, and where its files are."""
        self._result = result
        last = {} if self._stretch is None else {**picture(self._stretch), "rate": None}
        said = f"The run has ended: {result.run.verdict}."
        if result.run.error:
            said += f" {result.run.error}."
        if files:
            said += f" Its files: {files}"
        self._board.end(said, **last, verdict=result.run.verdict, metrics=judged(result))

    def metrics(self) -> tuple[str, bytes]:
        """The result so far as Prometheus text; nothing before the first is there."""
        from perfsuite.exports.prometheus import CONTENT_TYPE, check, exposition

        check()
        return CONTENT_TYPE, b"" if self._result is None else exposition(self._result)


def judged(result: Result) -> list[dict[str, str]]:
    """The metrics that were held against a criterion, in words."""
    from perfsuite.reports.figures import label
    from perfsuite.units import figure, goal

    return [
        {
            "phase": phase.name,
            "name": label(metric),
            "value": "–" if metric.value is None else figure(metric.value, metric.unit),
            "target": f"{metric.comparison} {goal(metric.target, metric.unit)}",
            "verdict": metric.verdict,
        }
        for phase in result.phases
        for metric in phase.metrics
        if metric.target is not None
    ]


@contextlib.contextmanager
def showing(plan: Plan, say: Callable[[str], object] | None = None) -> Iterator[Showing | None]:
    """The page of a run where its plan wants one; ``say`` gets its URL [stderr].  It ends with the block.

    Raises UsageError for an address that cannot be had.
    """
    if plan.live is None:
        yield None
        return
    from perfsuite.live.making import resources
    from perfsuite.live.web import Server

    listener, token = opened(plan.live, "--live")
    board = Board(target=plan.target, started=time.time())
    server = Server(listener, token, board, resources(plan.target))
    try:
        shown = Showing(board)
        server.metrics = shown.metrics
        server.start()
        hint = " (open it with ?token=…)" if token is not None else ""
        (say or _to_stderr)(f"live at {server.url}{hint}")
        yield shown
    finally:
        board.end("The run was broken off.")  # unless it has said how it ended
        server.close()


def _to_stderr(text: str) -> None:
    print(f"perfsuite: {text}", file=sys.stderr, flush=True)
