from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from perfsuite.heap import collected, uncollected

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


class Cyclic:
    def __init__(self) -> None:
        self.itself = self


def test_only_what_a_load_makes_is_collected_while_it_lasts() -> None:
    """By where the collector looks: what was there before is in no generation of its."""
    was = gc.isenabled()
    before = Cyclic()
    try:
        with uncollected():
            assert not gc.isenabled()
            with collected():
                assert gc.isenabled()
                made = Cyclic()
                looked_at = {id(one) for one in gc.get_objects()}
                assert id(made) in looked_at
                assert id(before) not in looked_at
            assert not gc.isenabled()
            assert id(before) in {id(one) for one in gc.get_objects()}
        assert gc.isenabled() is was
    finally:
        gc.unfreeze()


def test_a_load_that_fails_leaves_the_collector_as_it_was() -> None:
    was = gc.isenabled()
    with pytest.raises(KeyError), uncollected(), collected():
        raise KeyError
    assert gc.isenabled() is was
    assert gc.get_freeze_count() == 0
