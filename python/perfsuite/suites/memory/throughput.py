"""Operations a second under concurrent workers: one store for each recall.  A call that raises is no operation.

Void, which fails it, where no recall of the whole run found anything: finding nothing is quick.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import count, cycle, islice
from typing import TYPE_CHECKING

from perfsuite import stats
from perfsuite.analysis.stretches import of_ratios
from perfsuite.evidence import Estimate, Evidence, NotMeasured, Share
from perfsuite.memory.host import Operation, SystemFailed
from perfsuite.suites.memory.running import NEGLIGIBLE, K, Timed, batches, item_of, running, tell, within
from perfsuite.workloads.memories import SeededCase

if TYPE_CHECKING:
    from perfsuite.memory.host import Hosted, Overhead
    from perfsuite.suites.session import Session

STORED_BEFORE = 200
SHARE_BEFORE = 0.2
"""Memories that are there when the clock starts, and the share of the time that they may take."""
BLOCK_S = 0.25
LONGEST_BLOCK_S = 1.0
FEWEST, MOST = 20, 20_000
"""Operations in a block."""
MIX = "one store, one recall, in turn"


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Evidence for ``throughput``, ``operation_latency`` and ``operation_errors``."""
    study = _Study(session)
    try:
        async with running(session) as system:
            await study.make(system)
    except SystemFailed as error:
        study.lost += 1
        tell(session, error)
    return study.evidence()


class _Study:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.workers = session.memory.workers
        self.effective = 0
        self.timed = Timed(session)
        self.good: list[float] = []
        self.busy: list[float] = []
        self.turns_s: list[float] = []
        self.made: list[int] = []
        self.series: list[tuple[float, float]] = []
        self.failed = 0
        self.lost = 0
        self.recalls = 0
        self.answered = 0
        self.cost: Overhead | None = None
        self.operations = operations(session.seed)

    async def make(self, system: Hosted) -> None:
        """Blocks of operations until the time is over."""
        session = self.session
        for batch in batches(islice(self.operations, 0, 2 * STORED_BEFORE, 2), FEWEST):
            await system.store([operation.arguments[0] for operation in batch])
            if session.remaining_s() < session.duration_s * (1.0 - SHARE_BEFORE):
                break
        self.cost = await system.overhead("recall", workers=self.workers)
        begun = time.monotonic()
        size = FEWEST
        asked = session.memory.samples
        while (session.remaining_s() > 0.0 or not self.good) and (asked is None or sum(self.made) < asked):
            asked_for = list(islice(self.operations, size))
            # A system may become slower as it fills: a block is cut off where it turns out to be long.
            outcome = await system.mixed(asked_for, self.workers, longest_s=LONGEST_BLOCK_S)
            size = len(outcome.results)
            good = size - len(outcome.errors)
            self.effective = outcome.workers
            self.timed.take(outcome)
            self.good.append(float(good))
            self.busy.append(outcome.busy_s)
            self.made.append(size)
            self.failed += len(outcome.errors)
            hits = [hits for one, hits in zip(asked_for, outcome.results, strict=False) if one.method == "recall"]
            self.recalls += len(hits)
            self.answered += sum(map(bool, hits))
            self.series.append((time.monotonic() - session.phase_started, good / outcome.busy_s))
            if outcome.busy_s > 0:
                size = max(FEWEST, min(MOST, 4 * size, round(size * BLOCK_S / outcome.busy_s)))
            session.progress((time.monotonic() - begun) / max(session.duration_s, 1e-9))
            if session.stop.is_set():
                break

    def evidence(self) -> Mapping[str, Evidence]:
        """What is known by now."""
        tried = sum(self.made) + self.lost
        details: dict[str, object] = {
            "workers": self.workers,
            "workers_at_a_time": self.effective,
            "mix": MIX,
            "operations": int(sum(self.good)),
            "failed": self.failed + self.lost,
        }
        if self.effective and self.effective < self.workers:
            details["why"] = (
                "the system's calls may not overlap (info: concurrent), so that the workers wait for one another"
            )
        if not self.good or self.cost is None:
            reason = NotMeasured(f"no operation of {self.session.target.name} came to an end", details)
            return {"throughput": reason, "operation_latency": reason, "operation_errors": reason}
        errors = Share(hits=self.failed + self.lost, trials=tried)
        if self.recalls and not self.answered and any(self.good):
            why = f"void: none of {self.recalls} recalls found anything: finding nothing is quick"
            void = NotMeasured(why, details, void=True)
            return {"throughput": void, "operation_latency": void, "operation_errors": errors}
        return {
            "throughput": self._rate(details, self.cost),
            "operation_latency": self.timed.evidence(self.cost, {}),
            "operation_errors": errors,
        }

    def _rate(self, details: Mapping[str, object], cost: Overhead) -> Evidence:
        """Operations that succeeded over the time that they took, less the harness's own unless that is negligible."""
        own = [min(cost.turn_ms / 1000 * made, 0.9 * busy) for made, busy in zip(self.made, self.busy, strict=True)]
        share = sum(own) / sum(self.busy)
        busy = [b - o for b, o in zip(self.busy, own, strict=True)] if share > NEGLIGIBLE else self.busy
        rate = sum(self.good) / sum(busy)
        # By the time that each operation takes: blocks of equal work, whose times differ.
        if len(busy) > 1:
            found = stats.block_interval(self.good, busy)
            low, high = max(0.0, found.low), found.high
        else:
            low, high = 0.0, float("inf")
        said = {**details, **within(self.session, "throughput", rate), "harness_share": share}
        if share > NEGLIGIBLE:
            said["harness_subtracted_ms"] = cost.turn_ms
        return Estimate(
            value=rate,
            low=min(low, rate),
            high=max(high, rate),
            samples=sum(self.made),
            stretches=of_ratios(self.good, busy, self.good),
            series=self.series,
            details=said,
        )


def operations(seed: int) -> Iterator[Operation]:
    """A store, a recall, a store, …, without end: new memories, and questions about those of a moment ago."""
    for round_ in count():
        case = SeededCase(seed + round_, 2000, 1000)
        questions = cycle(case.questions())
        for memory in case.memories():
            yield Operation("store", (item_of(memory),))
            yield Operation("recall", (next(questions).text, K))
