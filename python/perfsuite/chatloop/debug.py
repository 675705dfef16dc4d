"""A slow operation in detail: where it was, in which thread and task, with how much memory."""

from __future__ import annotations

import sys
import threading
import traceback
from dataclasses import dataclass, field
from time import time
from types import FrameType

from perfsuite.chatloop.resources import memory_bytes

FRAMES = 30
"""Of a stack, the innermost."""
HERE = __name__.rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class SlowOperation:
    """One run of an operation that took long, as it ended.

    ``stack``: the calls that it was made from, outermost first, one ``file:line in function`` each.  ``task``: the
    asyncio task, where there is one.  ``error``: the exception that ended it.  ``at``: seconds since 1970.
    """

    operation: str
    elapsed_ms: float
    error: str | None
    memory_bytes: int
    thread_id: int
    thread_name: str
    task: str | None
    stack: tuple[str, ...]
    at: float = field(default_factory=time)

    def __str__(self) -> str:
        ended = f", ended by {self.error}" if self.error else ""
        task = f", task {self.task}" if self.task else ""
        return "\n".join(
            [
                f"slow operation {self.operation}: {self.elapsed_ms / 1e3:.3f} s{ended}, memory "
                f"{self.memory_bytes / 1e6:.2f} MB, thread {self.thread_name} ({self.thread_id}){task}",
                *(f"    {line}" for line in self.stack),
            ]
        )


def capture(operation: str, elapsed_ms: float, error: type[BaseException] | None) -> SlowOperation:
    """What is to be seen now, at the end of the operation, from the thread that ran it."""
    thread = threading.current_thread()
    return SlowOperation(
        operation=operation,
        elapsed_ms=elapsed_ms,
        error=None if error is None else error.__name__,
        memory_bytes=memory_bytes(),
        thread_id=threading.get_ident(),
        thread_name=thread.name,
        task=_task(),
        stack=tuple(_stack(sys._getframe(1))),
    )


def _stack(frame: FrameType | None) -> list[str]:
    """Without the frames of this room: what is slow is elsewhere."""
    while frame is not None and str(frame.f_globals.get("__name__", "")) == f"{HERE}.monitor":
        frame = frame.f_back
    summary = traceback.StackSummary.extract(traceback.walk_stack(frame), limit=FRAMES, lookup_lines=False)
    return [f"{one.filename}:{one.lineno} in {one.name}" for one in reversed(summary)]


def _task() -> str | None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
    return None if task is None else str(task.get_name())
