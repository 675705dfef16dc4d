"""``perfsuite.run``, ``arun`` and ``load``: what the command line does, from Python."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.errors import UsageError

if TYPE_CHECKING:
    import os

    from perfsuite.analysis.judging import Judgement
    from perfsuite.plan import Plan
    from perfsuite.result import Result
    from perfsuite.values import Place

__all__ = ["arun", "compare", "load", "run"]


def run(names: str | Sequence[str] | None = None, target: str | None = None, **settings: object) -> Result:
    """Runs phases by name (none: the five of the source document) and returns the result.

    ``target`` is ``reference`` unless a file or a variable says otherwise; ``settings`` are those of the command line
    by name: ``duration="10s"``, ``concurrency=8``, ``threshold={"ttft.p95": "500ms"}``.  pyproject.toml, perfsuite.toml
    and PERFSUITE_… count as they do there.  Files are written only when ``output`` names a folder; then, or when
    ``history`` is set, the run goes into the history too.  A criterion that fails is in the result's verdict.  Raises
    UsageError for what cannot be run; in a running event loop too: await ``arun`` there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(arun(names, target, **settings))
    raise UsageError("perfsuite.run() cannot wait in a running event loop: write await perfsuite.arun(...) there")


async def arun(names: str | Sequence[str] | None = None, target: str | None = None, **settings: object) -> Result:
    """``run`` in a running event loop.  When the task is cancelled what was measured is lost."""
    plan = _plan(names, target, settings)
    from perfsuite.runner import execute_async

    notes: list[str | None] = []
    if plan.workload.conversations is not None:
        from perfsuite.workloads.files import surveyed

        file = await asyncio.to_thread(surveyed, plan.workload.conversations)
        notes.append(file.left_out())
    from perfsuite.live.showing import showing

    with showing(plan) as page:
        if page is None:
            result = await execute_async(plan, notes=filter(None, notes))
        else:
            result = await execute_async(
                plan,
                notes=filter(None, notes),
                progress=page.progress,
                save=page.save,
                watch=page.watch,
                beside=[page.pid],
            )
            page.end(result)
    if settings.get("output") is not None:
        from perfsuite.reports import write

        await asyncio.to_thread(write, result, plan.output)
    if settings.get("output") is not None or plan.history is not None:
        await asyncio.to_thread(remembered, result, plan.history)
    return result


def remembered(result: Result, place: Place | None) -> None:
    """Puts a run into the history; one that cannot be written costs a warning, not the result."""
    from perfsuite.history.store import remember

    forgotten = remember(result, place)
    if forgotten is not None:
        warnings.warn(forgotten, RuntimeWarning, stacklevel=2)


def load(path: str | os.PathLike[str]) -> Result:
    """Reads ``results-TS.json``, of an interrupted run too.  Raises UsageError that says what is wrong with it."""
    from perfsuite import result

    return result.load(Path(path))


def compare(
    before: Result | Sequence[Result], after: Result | Sequence[Result], *, allow_different_host: bool = False
) -> list[Judgement]:
    """Whether ``after`` is slower than ``before``: a judgement of each benchmark that both ran, as ``detect`` makes it.

    Several results of a side are several runs of it; from three on each side a change can be told from noise, ten are
    better.  Raises UsageError for results of different hosts, units or configurations, and where no benchmark is in
    both.
    """
    from perfsuite.history.baselines import Taken, hold, make
    from perfsuite.result import Result

    sides: list[dict[str, list[Taken]]] = []
    for name, given in (("before", before), ("after", after)):
        results = [given] if isinstance(given, Result) else list(given)
        taken: dict[str, list[Taken]] = {}
        for one in sorted(results, key=lambda result: result.run.started):
            for phase in one.phases:
                taken.setdefault(phase.name, []).append(Taken(Path(name), one, phase.name))
        sides.append(taken)
    old, new = sides
    both = [name for name in old if name in new]
    if not both:
        raise UsageError(
            f"no benchmark is in both: before has {', '.join(old) or 'none'}, after {', '.join(new) or 'none'}"
        )
    return [hold(make(name, old[name]), new[name], "before", different_host=allow_different_host) for name in both]


def _plan(names: str | Sequence[str] | None, target: str | None, settings: dict[str, object]) -> Plan:
    from perfsuite.configuration import configure

    chosen = [names] if isinstance(names, str) else list(names) if names is not None else None
    return configure({**settings, "phase": chosen, "target": target}, keywords=True)
