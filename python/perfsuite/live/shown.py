"""What a run has told of itself, as its page shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfsuite.result import Result, parse

if TYPE_CHECKING:
    from perfsuite.live.board import Board
    from perfsuite.live.frames import Message


class Shown:
    """What has been told of a run, on its board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._result: Result | None = None

    def take(self, message: Message) -> None:
        """Parts of the state; ``result`` is a result file's text, ``ended`` what is said of the end."""
        text = message.pop("result", None)
        if text is not None:
            self._result = parse(text)
            message["metrics"] = judged(self._result)
        ended = message.pop("ended", None)
        if ended is None:
            self._board.put(**message)
        else:
            self._board.end(ended, **message)

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
