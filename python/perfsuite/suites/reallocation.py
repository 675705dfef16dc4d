"""When the resources have moved after a switch of models: resident memory, sampled until it is at its new plateau."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfsuite._core import Histogram, median
from perfsuite.collectors import process_of
from perfsuite.evidence import Evidence, NotMeasured, Samples

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

SETTLED = 0.05
"""Resident memory is at its plateau when it stays within this share of it."""
SAMPLE_EVERY_S = 0.002
PLATEAU_SAMPLES = 5
TELLING_BYTES = 8 << 20
"""Models whose resources differ by less than this cannot be told apart in a process's memory."""
KEPT = 4096
"""Switches looked at, at most."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A switch that is over: when it began, where memory ended, and when it had come there."""

    began: float
    model: str
    plateau: float
    settled_ms: float


@dataclass(slots=True)
class Switch:
    """One change of model: when it was asked for, and resident memory from then on as (seconds since, bytes)."""

    model: str
    began: float
    memory: list[tuple[float, int]] = field(default_factory=list)

    def plateau(self) -> float:
        """Where memory ended."""
        return median(value for _, value in self.memory[-PLATEAU_SAMPLES:])

    def settled_ms(self) -> float:
        """From the switch until memory is within SETTLED of the plateau for good."""
        plateau = self.plateau()
        outside = [t_s for t_s, value in self.memory if abs(value - plateau) > SETTLED * plateau]
        after = outside[-1] if outside else 0.0
        return 1000.0 * next((t_s for t_s, _ in self.memory if t_s > after), after)

    def settled(self) -> Settled:
        """What is kept of it."""
        return Settled(self.began, self.model, self.plateau(), self.settled_ms())


class MemoryWatch:
    """Samples the system's resident memory and divides it among the switches."""

    def __init__(self, session: Session) -> None:
        self._process = process_of(session.plan, session.target, session.own_processes)
        self._phase_started = session.phase_started
        self._name = session.target.name
        self._inside = session.target.inspection
        self._current: Switch | None = None
        self._done: list[Settled] = []
        self._accounted: dict[str, int] = {}

    def switching_to(self, model: str) -> None:
        """The next request names another model: a new switch begins."""
        if self._current is not None and len(self._done) < KEPT:
            if self._inside is not None:
                self._accounted[self._current.model] = self._inside.resident_bytes()
            if len(self._current.memory) > PLATEAU_SAMPLES:
                self._done.append(self._current.settled())
        self._current = Switch(model, time.monotonic())

    async def run(self) -> None:
        """Samples until cancelled."""
        while self._process is not None:
            if self._current is not None:
                self._current.memory.append((time.monotonic() - self._current.began, self._process.resident_bytes()))
            await asyncio.sleep(SAMPLE_EVERY_S)

    def evidence(self) -> Evidence:
        """The time to the plateau of each switch but the first, which had nothing to release.

        A system that keeps the old model's memory fails: memory must differ between the models as their resources do,
        by half of it at least.
        """
        if self._process is None:
            return NotMeasured(f"no process of {self._name} is known on this machine: name it with --pid")
        switches = self._done[1:]
        if not switches:
            return NotMeasured("there was no second switch in the measured time")
        plateaus: dict[str, list[float]] = {}
        for one in switches:
            plateaus.setdefault(one.model, []).append(one.plateau)
        usual = {model: median(values) for model, values in plateaus.items()}
        details: dict[str, object] = {"plateau_bytes": usual, "accounted_bytes": self._accounted}
        if self._kept(usual):
            details["finding"] = "memory does not follow the model: the old model's resources were not released"
            return Samples(histogram=Histogram(10), failed=len(switches), longest_wait=0.0, details=details)
        times = Histogram(10)
        for one in switches:
            times.record(one.settled_ms)
        series = [(one.began - self._phase_started, one.settled_ms) for one in switches]
        return Samples(histogram=times, series=series, details=details)

    def _kept(self, usual: dict[str, float]) -> bool:
        models = sorted(set(usual) & set(self._accounted), key=lambda model: self._accounted[model])
        if len(models) < 2:
            return False
        small, large = models[0], models[-1]
        expected = self._accounted[large] - self._accounted[small]
        return expected >= TELLING_BYTES and usual[large] - usual[small] < 0.5 * expected
