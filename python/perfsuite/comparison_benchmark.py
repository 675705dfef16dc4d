"""``ComparisonBenchmark``: the memory suite's comparison of systems, from Python.

::

    comparison = ComparisonBenchmark(BenchmarkConfig(dimension=384))
    comparison.add_competitor(MySystemAdapter())
    result = await comparison.run()
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfsuite.errors import UsageError

if TYPE_CHECKING:
    from perfsuite.suites.memory.comparison import Entrant
    from perfsuite.suites.memory.comparison_result import Comparison

MEMORIES, QUESTIONS = 240, 120


class ComparisonBenchmark:
    """Compares systems by the rules of ``perfsuite compare``; the two baselines always take part.

    ``config`` may have ``dimension`` (of the embeddings), ``n_samples`` (memories that are stored, 20 or more),
    ``seed``, and ``output_dir``, where the files go.
    """

    def __init__(self, config: Any = None) -> None:
        self.config = config
        self._competitors: list[Entrant] = []

    def add_competitor(self, adapter: object) -> None:
        """A system's name; a class that can be imported, which runs in a process of its own; or an object with the
        methods of ``MemorySystem``, which runs in this one.  UsageError for what is none."""
        from perfsuite.suites.memory.competitors import competitor

        found = competitor(adapter)
        if any(one.name == found.name for one in self._competitors):
            raise UsageError(f"{found.name} takes part already: give each system a name of its own")
        self._competitors.append(found)

    async def run(self, **settings: Any) -> Comparison:
        """Measures, and returns the comparison.  Where the configuration has an ``output_dir``, ``comparison_TS.json``,
        ``.md`` and ``.html`` are written there, and the run goes into the history.  ``settings`` are those of
        ``ComparisonSettings``."""
        from perfsuite.api import remembered
        from perfsuite.configuration import configure
        from perfsuite.reports.systems.screen import write
        from perfsuite.suites.memory.comparison import BASELINES, ComparisonSettings, compare, entrants
        from perfsuite.suites.memory.recorded import as_result
        from perfsuite.workloads.memories import SIZE, Seeded

        config = self.config
        seed = int(getattr(config, "seed", 0))
        size = max(SIZE, int(getattr(config, "n_samples", MEMORIES)))
        settings.setdefault("workload", Seeded(seed, (size,), QUESTIONS))
        settings.setdefault("dim", int(getattr(config, "dimension", 384)))
        settings.setdefault("seed", seed)
        names = {one.name for one in self._competitors}
        others = [one for one in entrants(list(BASELINES)) if one.name not in names]
        found = await compare(ComparisonSettings(**settings), [*self._competitors, *others])
        folder = getattr(config, "output_dir", None)
        if folder is not None:
            await asyncio.to_thread(write, found, Path(folder))
            await asyncio.to_thread(remembered, as_result(found, 0), configure({}).history)
        return found
