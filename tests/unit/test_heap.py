from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import sys
import psutil
from perfsuite.heap import give_back
def resident():
    return psutil.Process().memory_info().rss
kept = [bytearray(3000) for _ in range(20_000)]
full = resident()
del kept[:-1]  # the last one holds the end of the heap
freed = resident()
given = give_back()
print(full, freed, resident(), given)
"""


def test_what_is_free_between_what_is_kept_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    full, freed, after, given = done.stdout.split()
    assert given == "True"
    assert int(freed) > int(full) - 10_000_000, "the negative control: nothing goes by itself"
    assert int(after) < int(freed) - 40_000_000
