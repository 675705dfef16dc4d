"""A key's __eq__ that changes the cache in mid look-up, with an extension that lacks the guard as negative control."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compilers import ROOT, compilers

SCRIPT = """
from perfsuite._core import LRUCache

class Key:
    def __hash__(self):
        return 7
    def __eq__(self, other):
        # The entry under comparison leaves, and another takes its place in the array.
        cache.pop(mine)
        cache["other"] = "stolen"
        return True

mine = Key()
cache = LRUCache(10)
cache[mine] = "mine"
print(cache.get(7))
"""


def answer(package: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(package)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_look_up_starts_again() -> None:
    assert answer(ROOT / "python") == "None"


@pytest.mark.skipif(not compilers(), reason="needs a C compiler")
def test_without_the_guard_it_gives_what_it_must_not(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "python/perfsuite", tmp_path / "perfsuite", ignore=shutil.ignore_patterns("*.so"))
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "-b", str(tmp_path), "-t", str(tmp_path / "objects")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PERFSUITE_BUILD": "debug", "PERFSUITE_DEFINE": "PFS_NO_RESTART"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert answer(tmp_path) == "stolen"
