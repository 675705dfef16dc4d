"""A memory system that a probe runs: started afresh in a folder of its own, its failures told to the phase."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from perfsuite._core import Histogram
from perfsuite.evidence import Samples
from perfsuite.memory.host import Hosted, Item, SystemFailed
from perfsuite.scratch import scratch_folder
from perfsuite.suites.pieces import Pieces
from perfsuite.targets.base import MemoryUnderTest

if TYPE_CHECKING:
    from perfsuite.memory.host import Outcome, Overhead
    from perfsuite.suites.session import Session
    from perfsuite.workloads.memories import Memory

T = TypeVar("T")
K = 5
CLIENT = "system"
STANDS_IN = (
    "the model that the memory system asks: canned answers and hashed embeddings without delay, so that its latencies "
    "are those of the plumbing only"
)
NEGLIGIBLE = 0.01
"""The harness's own share of a figure up to which it is told and not subtracted."""


@asynccontextmanager
async def running(session: Session, options: Mapping[str, object] | None = None) -> AsyncIterator[Hosted]:
    """The system under test, opened on an empty folder that goes away with it.

    Where it asks a model, the stand-in answers, and the result says so."""
    from perfsuite.serve.standin import StandIn

    target = session.target
    assert isinstance(target, MemoryUnderTest)
    holding = ExitStack()
    folder = await asyncio.to_thread(holding.enter_context, scratch_folder("memory"))
    try:
        async with StandIn(dim=session.memory.dimension) as model:

            def meter() -> Mapping[str, float]:
                asked = model.counts(CLIENT)
                characters = asked.chat_characters_in + asked.embedding_characters
                return {"calls": asked.calls, "characters": characters, "wait_ms": asked.busy_ms}

            async with target.started(
                workdir=folder,
                model_url=model.url_of(CLIENT),
                dim=session.memory.dimension,
                timeout_s=session.plan.request_timeout_s,
                options={**(options or {})},
                meter=meter,
            ) as system:
                yield system
            if model.counts(CLIENT).calls and STANDS_IN not in target.simulated:
                target.simulated = (*target.simulated, STANDS_IN)
    finally:
        await asyncio.to_thread(holding.close)


def tell(session: Session, error: SystemFailed) -> None:
    """A system that is gone fails the phase, unless the run was stopped; what was measured of it before stays."""
    if session.stop.is_set():
        return
    session.fail(str(error))


def item_of(memory: Memory) -> Item:
    """What every system is given of a memory, whatever is measured: nothing that tells what will be asked."""
    return Item(memory.text, {"role": memory.role}, memory.session, memory.timestamp)


def within(session: Session, metric: str, value: float) -> dict[str, object]:
    """By how many times a value (a p99, or the metric as it is) is better than the phase's objective for its metric;
    below 1 it is worse."""
    for one in session.phase.criteria:
        if one.metric == metric and one.stat in ("p99", "value") and value > 0 and one.target > 0:
            return {"times_within_objective": one.target / value if one.lower_is_better else value / one.target}
    return {}


def batches(things: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size``, the last perhaps shorter."""
    rest = iter(things)
    while batch := list(islice(rest, size)):
        yield batch


class Timed:
    """The samples of one kind of call, batch by batch: each batch is a block, for neighbours in time are alike."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.histogram = Histogram(precision=10)
        self.blocks: list[Histogram] = []
        self.pieces = Pieces()
        self.series: list[tuple[float, float]] = []
        self.failed = 0
        self.longest_wait = 0.0
        self.model: dict[str, float] = {}

    @property
    def count(self) -> int:
        """Samples so far, the failed ones included."""
        return self.histogram.count + self.failed

    def add(self, samples_ms: Sequence[float], failed_ms: Sequence[float] = ()) -> None:
        """A batch: what its calls took, and how long the failed ones were waited for."""
        if samples_ms:
            block = Histogram(precision=10)
            block.record_many(list(samples_ms))
            self.blocks.append(block)
            self.histogram.merge(block)
            self.pieces.add(samples_ms)
            self.series.append((time.monotonic() - self._session.phase_started, block.mean))
        self.failed += len(failed_ms)
        self.longest_wait = max(self.longest_wait, *failed_ms, 0.0)

    def take(self, outcome: Outcome) -> None:
        """All calls of a batch."""
        failed = outcome.failed
        self.add(outcome.good_ms(), [outcome.samples_ms[index] for index in sorted(failed)])
        for name, value in outcome.model.items():
            self.model[name] = self.model.get(name, 0.0) + value
        for _, text in outcome.errors:
            self._session.count_failure("target", text)

    def evidence(self, cost: Overhead, details: Mapping[str, object]) -> Samples:
        """The samples, less what measuring takes where that is more than NEGLIGIBLE of them."""
        share = cost.sample_ms / self.histogram.mean if self.histogram.count and self.histogram.mean > 0 else 0.0
        said: dict[str, object] = {"harness_share": share} if details else {}
        if self.model.get("calls"):
            said |= {f"model_{name}_each": value / self.count for name, value in self.model.items()}
        histogram, blocks, pieces = self.histogram, self.blocks, self.pieces.histograms
        if share > NEGLIGIBLE:
            histogram = _less(histogram, cost.sample_ms)
            blocks, pieces = ([_less(one, cost.sample_ms) for one in parts] for parts in (blocks, pieces))
            said["harness_subtracted_ms"] = cost.sample_ms
        return Samples(
            histogram=histogram,
            blocks=blocks,
            pieces=pieces,
            failed=self.failed,
            longest_wait=self.longest_wait,
            series=self.series,
            details={**details, **said},
        )


def _less(histogram: Histogram, ms: float) -> Histogram:
    """The histogram with so much taken from every value; none becomes negative."""
    shifted = Histogram(precision=10)
    for low, high, count in histogram.buckets():
        shifted.record_n(max(0.0, (low + high) / 2 - ms), count)
    return shifted
