"""The resident memory of stored conversations, measured in a process of its own.

``python -m perfsuite.reference.footprint CODEC``: conversations come on standard input, one JSON list of messages a
line; one line of JSON goes out, ``{"before": bytes, "after": bytes, "held": bytes, "conversations": n}``: the unique
set size (what would be free if the process ended) before the first and after the last was stored, and the pages that
the store has taken for them, some of which may have been resident before.  The store is in memory; ``none`` stores
without compression.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys

import psutil

from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.system import ChatSystem


async def measure(codec: str) -> dict[str, int]:
    """Stores what comes in; returns the figures."""
    system = ChatSystem(ReferenceConfig(path=":memory:", codec=codec, max_archives=1_000_000).without_delays())
    await system.open()
    try:
        empty = system.store.pages_bytes()
        before = unique_bytes()
        count = 0
        for line in sys.stdin.buffer:
            system.store_conversation(json.loads(line), f"user-{count % 16}", f"conversation-{count}")
            count += 1
        after = unique_bytes()
        held = system.store.pages_bytes() - empty
        return {"before": before, "after": after, "held": held, "conversations": count}
    finally:
        await system.close()


def unique_bytes() -> int:
    """Memory that this process alone holds, once garbage is gone."""
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1]))))
