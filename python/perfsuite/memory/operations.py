"""Calls on a memory system, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from perfsuite import _core
from perfsuite.memory.base import Hit


class Item(NamedTuple):
    """A memory to store."""

    text: str
    metadata: Mapping[str, object] | None = None
    session: str | None = None
    timestamp: float | None = None


class Operation(NamedTuple):
    """One call of a mix: ``method`` and its arguments (of ``store`` an Item, of ``recall`` the query and k)."""

    method: str
    arguments: tuple[Any, ...]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of a batch of calls; each list has one entry a call, in the order of the calls.

    ``samples_ms``: how long the call took, that of a failed one too.  ``begun_ms``: when it began, after the batch's
    beginning.  ``results``: ids of ``store``, Hits of ``recall``, a text of ``synthesize``, …; None where it failed.
    ``errors``: (index, text) of the calls that raised, or whose result has the wrong shape.  ``busy_s``: from the
    first call to the end of the last.  ``workers``: as many calls as were really under way at a time at most.
    ``model``: what the model's endpoint counted meanwhile (empty where nobody counts).
    """

    samples_ms: list[float] = field(default_factory=list)
    begun_ms: list[float] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)
    busy_s: float = 0.0
    workers: int = 1
    model: dict[str, float] = field(default_factory=dict)

    @property
    def model_wait_ms(self) -> float | None:
        """Time that the system waited for the model, all calls together; None where nobody counted."""
        return self.model.get("wait_ms")

    @property
    def failed(self) -> frozenset[int]:
        """The calls that failed."""
        return frozenset(index for index, _ in self.errors)

    def good_ms(self) -> list[float]:
        """The samples of the calls that did not fail."""
        failed = self.failed
        return [sample for index, sample in enumerate(self.samples_ms) if index not in failed]

    def extend(self, other: Outcome) -> None:
        """Appends a batch that followed this one."""
        offset = len(self.samples_ms)
        at = self.busy_s * 1000
        self.samples_ms += other.samples_ms
        self.begun_ms += [at + begun for begun in other.begun_ms]
        self.results += other.results
        self.errors += [(offset + index, text) for index, text in other.errors]
        self.busy_s += other.busy_s
        self.workers = max(self.workers, other.workers)
        for name, value in other.model.items():
            self.model[name] = self.model.get(name, 0.0) + value


class Overhead(NamedTuple):
    """What measuring a call takes itself, in ms, as a batch of calls that do nothing shows it: inside the sample, and
    of the time from one call to the next."""

    sample_ms: float
    turn_ms: float

    @classmethod
    def of(cls, found: Mapping[str, Any], count: int) -> Overhead:
        """From what child.py saw of ``count`` of them."""
        return cls(_core.median(found["took_ns"]) / 1e6, found["wall_ns"] / count / 1e6)


def as_call(method: str, arguments: Sequence[Any]) -> list[Any]:
    """A call as child.py is told it."""
    if method != "store":
        return [method, *arguments]
    (item,) = arguments
    metadata = None if item.metadata is None else dict(item.metadata)
    return ["store", item.text, metadata, item.session, item.timestamp]


def as_outcome(calls: Sequence[list[Any]], answer: Mapping[str, Any]) -> Outcome:
    """A batch's answer of child.py, of all calls or of the first of them; KeyError, TypeError or ValueError where it is
    none."""
    results = list(answer["results"])
    samples = [int(value) / 1e6 for value in answer["took_ns"]]
    begun = [int(value) / 1e6 for value in answer["begun_ns"]]
    if not len(results) == len(samples) == len(begun) <= len(calls):
        raise ValueError(f"{len(results)} results of {len(calls)} calls")
    for index, call in enumerate(calls[: len(results)]):
        if call[0] == "recall" and results[index] is not None:
            results[index] = [Hit(str(one[0]), str(one[1]), float(one[2])) for one in results[index]]
    return Outcome(
        samples_ms=samples,
        begun_ms=begun,
        results=results,
        errors=[(int(index), str(text)) for index, text in answer["errors"]],
        busy_s=int(answer["wall_ns"]) / 1e9,
        workers=int(answer["workers"]),
    )
