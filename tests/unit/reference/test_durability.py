"""What a store costs in syncs of the disk, counted, and what is there after the end of the process or of the power."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from compilers import compile_c, compilers
from perfsuite.compression import codec_at
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.memory import TOUCHES, Memories
from perfsuite.reference.store import Store

DURABLE = ReferenceConfig(synchronous="FULL")
SETUP = """
import ctypes, json, sys
from perfsuite.compression import codec_at
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.memory import TOUCHES, Memories
from perfsuite.reference.store import Store
path, synchronous, sized = sys.argv[1:4]
if sized == "unsized":
    Store._size_log = lambda self: self.connection.execute("PRAGMA synchronous = FULL")
config = ReferenceConfig(synchronous=synchronous)
store = Store(path, config, codec_at("zlib"))
memories = Memories(store, config)
"""
COUNTING = (
    SETUP
    + """
memories.add("u", ["The first."])
def counts():
    process = ctypes.CDLL(None)
    return [ctypes.c_long.in_dll(process, f"counted_{name}").value for name in ("syncs", "grown")]
def during(work):
    before = counts()
    work()
    return [after - earlier for after, earlier in zip(counts(), before)]
def store_each():
    for number in range(200):
        memories.add("u", [f"The code of cabinet{number} is value{number}."])
def recall():
    for number in range(TOUCHES):
        memories.recall("u", f"code of cabinet{number % 200} value{number // 5}?", 5)
one = during(store_each)
batch = during(lambda: memories.add("u", [f"The key of drawer{number} is {number}." for number in range(2000)]))
print(json.dumps([one, batch, during(recall)]))
"""
)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not compilers():
        pytest.skip("no C compiler")
    built = tmp_path_factory.mktemp("shim") / "count_syncs.so"
    source = Path(__file__).with_name("count_syncs.c")
    compile_c(compilers()[0], "-shared", "-fPIC", str(source), "-o", str(built))
    return built


def counted(shim: Path, path: Path, synchronous: str, sized: str = "sized") -> list[list[int]]:
    """[syncs, those of grown files] of 200 stores, of a batch of 2,000, and of many recalls."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(path), synchronous, sized],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "LD_PRELOAD": str(shim)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[int]] = json.loads(done.stdout)
    return found


def test_a_durable_store_is_one_sync_of_a_file_that_keeps_its_size(shim: Path, tmp_path: Path) -> None:
    one, batch, recalls = counted(shim, tmp_path / "a.sqlite", "FULL")
    assert 200 <= one[0] <= 220, "one for each, and those of the checkpoints"
    assert one[1] <= 10, "the database grows at checkpoints, the log does not"
    assert 1 <= batch[0] <= 8
    assert recalls[0] <= 20, "uses are noted without waiting for the disk"


def test_without_its_size_the_log_grows_under_the_syncs(shim: Path, tmp_path: Path) -> None:
    one, _, _ = counted(shim, tmp_path / "a.sqlite", "FULL", "unsized")
    assert one[1] >= 80, "the negative control of the count above"
    fast, _, _ = counted(shim, tmp_path / "b.sqlite", "NORMAL")
    assert fast[0] <= 20


WRITER = (
    SETUP
    + """
number = 0
while True:
    print(*memories.add("u", [f"The code of cabinet{number} is value{number}."]), flush=True)
    number += 1
"""
)


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The file of a process that was killed while it stored, with its log, and the ids that it acknowledged."""
    path = tmp_path_factory.mktemp("killed") / "a.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "FULL", "sized"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(60)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += writer.stdout.read().split()
    writer.stdout.close()
    writer.wait(10)
    return path, acknowledged


def copied(killed: Path, folder: Path) -> Path:
    folder.mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{killed}{suffix}", folder / f"b.sqlite{suffix}")
    return folder / "b.sqlite"


def survivors(path: Path, acknowledged: list[str]) -> int:
    """How many are there of those that were acknowledged; they are the first ones, whole, and found."""
    store = Store(path, DURABLE, codec_at("zlib"))
    memories = Memories(store, DURABLE)
    there = [memories.get(one) is not None for one in acknowledged]
    count = sum(there)
    assert there == [True] * count + [False] * (len(there) - count), "a gap"
    for number, one in enumerate(acknowledged[:count]):
        assert memories.get(one) == f"The code of cabinet{number} is value{number}."
        assert memories.search("u", f"code of cabinet{number}?", 2)[0].id == one
    assert memories.search("u", f"code of cabinet{count + 1}?", 2) == [] or count >= len(acknowledged)
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.connection.execute("INSERT INTO memory_index (memory_index) VALUES ('integrity-check')")
    (new,) = memories.add("u", ["The lamp is new."])
    assert memories.recall("u", "Where is the new lamp?", 1)[0].id == new
    store.close()
    return count


def test_all_that_was_acknowledged_survives_kill_9(killed: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, acknowledged = killed
    assert survivors(copied(path, tmp_path / "copy"), acknowledged) == len(acknowledged)


@pytest.mark.parametrize("damage", ["cut", "zeros", "noise"])
def test_a_log_whose_end_is_damaged_gives_what_was_stored_before(
    killed: tuple[Path, list[str]], tmp_path: Path, damage: str
) -> None:
    path, acknowledged = killed
    rng = random.Random(damage)
    left = set()
    for number in range(6):
        copy = copied(path, tmp_path / str(number))
        at = rng.randrange(4096 * 20, 4096 * 10 * len(acknowledged))
        with open(f"{copy}-wal", "r+b") as log:
            if damage == "cut":
                log.truncate(at)
            else:
                log.seek(at)
                log.write(bytes(4096) if damage == "zeros" else rng.randbytes(4096))
        left.add(survivors(copy, acknowledged))
    assert min(left) < len(acknowledged), "the damage was done to what was stored"
    assert len(left) > 2


def test_uses_wait_for_a_store_and_are_bounded(tmp_path: Path) -> None:
    config = replace(DURABLE, path=tmp_path / "a.sqlite", hot_memories=4)
    store = Store(tmp_path / "a.sqlite", config, codec_at("zlib"))
    memories = Memories(store, config)
    ids = memories.add("u", [f"The code of cabinet{number} is {number}." for number in range(2 * TOUCHES)])

    def noted() -> int:
        return int(store.connection.execute("SELECT count(*) FROM memories WHERE accesses").fetchone()[0])

    for one in ids[:10]:
        memories.get(one)
    assert noted() == 0
    memories.add("u", ["Another one."])
    assert noted() == 10
    for one in ids[10:]:
        memories.get(one)
    assert len(memories._touched) <= TOUCHES
    assert noted() >= TOUCHES - 10
    memories.flush()
    assert noted() == len(ids)
    assert store.connection.execute("PRAGMA synchronous").fetchone() == (2,), "as it was"
    store.close()
