"""Every memory system that is here, through its host and over the stand-in: 100 memories, 50 questions, k = 5.

    python benchmarks/memory_systems.py [SYSTEM…]

The times are means of a machine as it is: read them beside the baselines' of the same run.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from statistics import fmean

from perfsuite.errors import PerfsuiteError
from perfsuite.memory import registry
from perfsuite.memory.host import Hosted, Item
from perfsuite.serve.standin import StandIn

MEMORIES, STEP, K, DIM = 100, 2, 5, 384
COLOURS = ("red", "green", "blue", "ochre")
START_S = 600.0
HEAD = f"{'system':<15} {'version':<24} {'store ms':>9} {'recall ms':>9} recall@5  empty chat/store embed/store"


def marker(number: int) -> str:
    """A word that one memory has."""
    return f"ZX{number * 7919 % 99991:05d}"


def memory(number: int) -> Item:
    """One fact."""
    text = f"The locker of Person{number % 17} has the code {marker(number)} and is painted {COLOURS[number % 4]}."
    return Item(text, {"number": number}, "one", 1.7e9 + number)


async def measure(name: str) -> str:
    """A system's row."""
    asked = range(0, MEMORIES, STEP)
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        async with StandIn(dim=DIM) as model:
            url = model.url_of(name)
            async with Hosted.start(
                name, workdir=Path(folder), model_url=url, dim=DIM, timeout_s=120.0, start_timeout_s=START_S
            ) as system:
                stored = await system.store([memory(number) for number in range(MEMORIES)])
                counts = model.counts(name)
                await system.flush()
                found = await system.recall([f"Which locker has the code {marker(number)}?" for number in asked], K)
                version = (await system.info())["version"]
    answers = [hits or [] for hits in found.results]
    right = [any(marker(number) in hit.text for hit in hits) for number, hits in zip(asked, answers, strict=True)]
    failed = len(stored.errors) + len(found.errors)
    return (
        f"{name:<15} {version[:24]:<24} {fmean(stored.samples_ms):>9.1f} {fmean(found.samples_ms):>9.1f} "
        f"{fmean(right):>8.2f} {sum(not hits for hits in answers):>6} {counts.chat_calls / MEMORIES:>10.2f} "
        f"{counts.embedding_calls / MEMORIES:>11.2f}" + (f"  {failed} calls failed" if failed else "")
    )


def main() -> None:
    """Prints the table; a system that cannot be measured says why in its row."""
    names = sys.argv[1:] or [name for name in registry.known() if registry.missing(name) is None]
    print(HEAD)
    for name in names:
        try:
            print(asyncio.run(measure(name)), flush=True)
        except PerfsuiteError as error:
            print(f"{name:<15} {error}", flush=True)


if __name__ == "__main__":
    main()
