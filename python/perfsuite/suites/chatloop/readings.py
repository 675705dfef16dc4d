"""Memory by the number of iterations: what a process has of the system, and, of this one, what is held of that.

Resident memory alone misleads in a process that has lived for a while: what leaks goes into free room of its heap and
is not seen, and a heap that is torn by others grows though nothing stays.  What Python's objects and the C library's
blocks take together knows neither: what stays is counted, what is freed is not.
"""

from __future__ import annotations

import tracemalloc
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from perfsuite.chatloop.resources import memory_bytes
from perfsuite.heap import given_out

EVERY = 10
"""Iterations between two readings, at first."""
MOST_POINTS = 1000
"""Readings that are kept; when there are more, every second goes, and half as many are taken."""

Points = list[tuple[float, float]]


@contextmanager
def traced_objects() -> Iterator[None]:
    """Python counts the bytes of its objects, as long as the block lasts."""
    was = tracemalloc.is_tracing()
    if not was:
        tracemalloc.start()
    try:
        yield
    finally:
        if not was:
            tracemalloc.stop()


def resident_bytes() -> float:
    """Resident memory of this process, without what the tracing takes."""
    return float(memory_bytes() - tracemalloc.get_tracemalloc_memory())


def object_bytes() -> float:
    """Bytes of Python's objects that were made since they are traced and are there still."""
    return float(tracemalloc.get_traced_memory()[0])


def block_bytes() -> float | None:
    """Bytes that the C library's heap has given out, a C extension's too, without what the tracing takes; None where it
    does not tell."""
    found = given_out()
    return None if found is None else float(found - tracemalloc.get_tracemalloc_memory())


HELD: dict[str, Callable[[], float | None]] = {"objects": object_bytes, "blocks": block_bytes}
"""What is held, by name."""


class Readings:
    """At bounded cost, in room that is taken beforehand: the readings are no part of what they read."""

    def __init__(self, read: Callable[[], float], **beside: Callable[[], float | None]) -> None:
        self._reads = [read, *beside.values()]
        self._names = list(beside)
        self._columns = [array("d", bytes(8 * (MOST_POINTS + 2))) for _ in range(1 + len(self._reads))]
        self._count = 0
        self._every = EVERY
        self.iterations = 0

    @property
    def points(self) -> Points:
        """(iterations, bytes), in order."""
        return self._points(0)

    @property
    def beside(self) -> dict[str, Points]:
        """The same of the others, as far as they tell anything."""
        found = {name: self._points(number) for number, name in enumerate(self._names, 1)}
        return {name: points for name, points in found.items() if all(size == size for _, size in points)}

    def _points(self, number: int) -> Points:
        return list(zip(self._columns[0][: self._count], self._columns[1 + number][: self._count], strict=True))

    def begin(self) -> None:
        """Before the first iteration."""
        self._count = 0
        self._take()

    def count(self) -> None:
        """After each iteration."""
        self.iterations += 1
        if self.iterations % self._every == 0:
            self._take()
            if self._count > MOST_POINTS:
                self._thin()

    def end(self) -> None:
        """After the last one."""
        if self._count and self._columns[0][self._count - 1] < self.iterations:
            self._take()

    def _take(self) -> None:
        self._columns[0][self._count] = self.iterations
        for column, read in zip(self._columns[1:], self._reads, strict=True):
            size = read()
            column[self._count] = float("nan") if size is None else size
        self._count += 1

    def _thin(self) -> None:
        for column in self._columns:
            for place, value in enumerate(column[: self._count : 2]):
                column[place] = value
        self._count = (self._count + 1) // 2
        self._every *= 2
