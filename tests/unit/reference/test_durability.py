"""What a store costs in syncs of the disk, counted, and what is there after the end of the process or of the power."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from compilers import compile_c, compilers
from perfsuite.compression import codec_at
from perfsuite.errors import PerfsuiteError
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.journal import Journal
from perfsuite.reference.memory import TOGETHER, TOUCHES, Memories
from perfsuite.reference.store import Store

DURABLE = ReferenceConfig(synchronous="FULL")
SETUP = """
import ctypes, json, sys, time
from perfsuite.compression import codec_at
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.memory import TOUCHES, Memories
from perfsuite.reference.store import Store
path, synchronous, kept = sys.argv[1:4]
if kept == "unkept":
    Store.keeps = lambda self, size: False
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


def counted(shim: Path, path: Path, synchronous: str, kept: str = "kept") -> list[list[int]]:
    """[syncs, those of grown files] of 200 stores, of a batch of 2,000, and of many recalls."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, str(path), synchronous, kept],
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
    assert one[1] <= 10, "the database and its log grow at checkpoints, the journal does not"
    assert 1 <= batch[0] <= 8
    assert recalls[0] <= 20, "uses are noted without waiting for the disk"


def test_without_its_journal_each_sync_is_of_a_log_that_grew(shim: Path, tmp_path: Path) -> None:
    one, _, _ = counted(shim, tmp_path / "a.sqlite", "FULL", "unkept")
    assert one[0] >= 200
    assert one[1] >= 60, "the negative control of the count above"
    fast, _, _ = counted(shim, tmp_path / "b.sqlite", "NORMAL")
    assert fast[0] <= 20


STORED = 60
"""Few enough that the database's log is not yet copied into it: what a loss of power leaves of the log is a part of it
from the beginning."""
WRITER = (
    SETUP
    + """
print(*memories.add("u", ["The code of cabinet0 is value0."]), flush=True)
for number in range(1, 60):
    print(*memories.add("u" if number % 3 else f"v{number}", [f"The code of cabinet{number} is value{number}."]),
          flush=True)
time.sleep(600)
"""
)


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The file of a process that was killed while it stored, with its log, and the ids that it acknowledged."""
    path = tmp_path_factory.mktemp("killed") / "a.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "FULL", "kept"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(STORED)]
    writer.send_signal(signal.SIGKILL)
    writer.stdout.close()
    writer.wait(10)
    return path, acknowledged


def copied(killed: Path, folder: Path, *suffixes: str) -> Path:
    folder.mkdir()
    for suffix in ("", "-wal", *suffixes):
        shutil.copyfile(f"{killed}{suffix}", folder / f"b.sqlite{suffix}")
    return folder / "b.sqlite"


def spoiled(path: str, damage: str, at: int) -> None:
    """Cuts a file, or writes a page of something else into it."""
    with open(path, "r+b") as file:
        if damage == "cut":
            file.truncate(at)
        else:
            file.seek(at)
            file.write(bytes(4096) if damage == "zeros" else random.Random(at).randbytes(4096))


def survivors(path: Path, acknowledged: list[str]) -> int:
    """How many are there of those that were acknowledged; they are the first ones, whole, and found."""
    store = Store(path, DURABLE, codec_at("zlib"))
    memories = Memories(store, DURABLE)
    there = [memories.get(one) is not None for one in acknowledged]
    count = sum(there)
    assert there == [True] * count + [False] * (len(there) - count), "a gap"
    for number, one in enumerate(acknowledged[:count]):
        assert memories.get(one) == f"The code of cabinet{number} is value{number}."
        user = "u" if number % 3 or not number else f"v{number}"
        assert memories.search(user, f"code of cabinet{number}?", 2)[0].id == one
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.connection.execute("INSERT INTO memory_index (memory_index) VALUES ('integrity-check')")
    new = memories.add("u", ["The lamp is new."])
    assert new[0] not in acknowledged[:count]
    assert memories.recall("u", "Where is the new lamp?", 1)[0].id == new[0]
    store.close()
    left = sorted(one.name for one in path.parent.iterdir())
    assert left == ["b.sqlite"], "closed, it is one file"
    return count


def test_all_that_was_acknowledged_survives_kill_9(killed: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, acknowledged = killed
    assert survivors(copied(path, tmp_path / "copy", "-kept"), acknowledged) == STORED


@pytest.mark.parametrize("damage", ["cut", "zeros", "noise"])
def test_what_the_database_lost_is_in_the_journal(killed: tuple[Path, list[str]], tmp_path: Path, damage: str) -> None:
    path, acknowledged = killed
    tables = 40 * 4120  # a new database's log begins with these, and they were synced
    rng = random.Random(damage)
    alone = set()
    for number in range(6):
        at = rng.randrange(tables, os.path.getsize(f"{path}-wal"))
        copy = copied(path, tmp_path / f"{number}", "-kept")
        spoiled(f"{copy}-wal", damage, at)
        assert survivors(copy, acknowledged) == STORED
        copy = copied(path, tmp_path / f"{number}-alone")
        spoiled(f"{copy}-wal", damage, at)
        alone.add(survivors(copy, acknowledged))
    assert min(alone) < STORED, "the negative control: without the journal the same damage loses some"
    assert len(alone) > 2


def ends(journal: Path) -> list[int]:
    """Where the records of a journal that is whole end."""
    data, found, position = journal.read_bytes(), [], 0
    while (length := int.from_bytes(data[position + 12 : position + 16], "little")) and data[position : position + 8]:
        position += 20 + length
        found.append(position)
    return found


@pytest.mark.parametrize("damage", ["cut", "zeros", "noise"])
def test_a_damaged_journal_ends_where_it_is_damaged(
    killed: tuple[Path, list[str]], tmp_path: Path, damage: str
) -> None:
    path, acknowledged = killed
    written = ends(Path(f"{path}-kept"))
    assert len(written) == STORED
    rows = survivors(copied(path, tmp_path / "rows"), acknowledged)
    assert 0 < rows < STORED, "the last ones were not yet rows of the database"
    rng = random.Random(damage)
    left = set()
    for at in [rng.randrange(written[-1]), *(rng.randrange(*written[-4::3]) for _ in range(3)), written[-1] - 1]:
        copy = copied(path, tmp_path / str(at), "-kept")
        spoiled(f"{copy}-kept", damage, at)
        whole = sum(end <= at for end in written)
        assert survivors(copy, acknowledged) == max(rows, whole), "all before the damage, and none made up"
        copy = copied(path, tmp_path / f"{at}-both", "-kept")
        spoiled(f"{copy}-kept", damage, at)
        with open(f"{copy}-wal", "r+b") as log:
            log.truncate(60 * 4120)
        left.add(survivors(copy, acknowledged))
    assert min(left) < STORED


def test_a_full_journal_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfsuite.reference.journal.BYTES", 4096)
    store = Store(tmp_path / "b.sqlite", DURABLE, codec_at("zlib"))
    memories = Memories(store, DURABLE)
    ids = [memories.add("u", [f"The code of cabinet{number} is value{number}."])[0] for number in range(100)]
    ids += memories.add("u", [f"The key of drawer{number} fits." for number in range(200)])  # more than it takes
    ids += memories.add("u", ["The last one."])
    assert store._journal is not None
    kept = [json.loads(record)[2] for record in store._journal.records()]
    assert kept == sorted(kept)
    assert 1 <= len(kept) <= 50
    assert kept[-1] == int(ids[-1][1:])
    assert os.path.getsize(f"{store.path}-kept") == 4096
    # Opened again over what is there, nothing comes twice.
    again = Memories(store, DURABLE)
    assert sum(again.counts()[tier] for tier in ("warm", "cold")) == len(ids)  # type: ignore[literal-required]
    assert list(store._journal.records()) == []
    store.close()


def test_what_was_let_go_of_does_not_come_back(tmp_path: Path) -> None:
    config = replace(DURABLE, hot_memories=2, warm_memories=4, cold_memories=8, cold_block=4)
    store = Store(tmp_path / "b.sqlite", config, codec_at("zlib"))
    memories = Memories(store, config)
    ids = [memories.add("u", [f"The code of cabinet{number} is {number}."])[0] for number in range(40)]
    there = [memories.get(one) is not None for one in ids]
    assert there.count(False) > 10
    memories.delete(ids[-2])
    memories.update(ids[-1], "The code has changed.")
    there[-2] = False
    again = Memories(store, config)
    assert [again.get(one) is not None for one in ids] == there
    assert again.get(ids[-1]) == "The code has changed."
    store.close()


def test_a_journal_in_use_or_of_another_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "b.sqlite", DURABLE, codec_at("zlib"))
    Memories(store, DURABLE).add("u", ["The kite is red."])
    with pytest.raises(PerfsuiteError, match="another process has it open"):
        Store(tmp_path / "b.sqlite", DURABLE, codec_at("zlib"))
    shutil.copyfile(tmp_path / "b.sqlite-kept", tmp_path / "c.sqlite-kept")
    store.close()
    other = Store(tmp_path / "c.sqlite", DURABLE, codec_at("zlib"))
    assert Memories(other, DURABLE).counts()["warm"] == 0, "a new database takes no other's records"
    other.close()


def test_a_disk_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "b.sqlite", DURABLE, codec_at("zlib"))
    memories = Memories(store, DURABLE)

    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(PerfsuiteError, match=r"cannot write the journal of .*b\.sqlite: .*Input/output error"):
            memories.add("u", ["The kite is red."])
    memories.add("u", ["The kite is blue."])
    store.close()


MANY = (
    SETUP
    + """
import threading
printing = threading.Lock()
def store(worker):
    for number in range(10**6):
        text = f"The code of cabinet{worker}x{number} is value{number}."
        (one,) = memories.add("u", [text])
        with printing:
            print(one, text, flush=True)
for worker in range(6):
    threading.Thread(target=store, args=(worker,), daemon=True).start()
time.sleep(600)
"""
)


def test_what_threads_were_told_is_stored_survives_kill_9_and_the_loss_of_power(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", MANY, str(path), "FULL", "kept"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(150)]
    writer.send_signal(signal.SIGKILL)
    lines += writer.stdout.readlines()
    writer.stdout.close()
    writer.wait(10)
    told = dict(line.rstrip("\n").split(" ", 1) for line in lines if line.endswith("\n"))
    assert len(told) >= 150, "no id came twice"
    for name, left_of_the_log in (("killed", None), ("power", 60 * 4120)):
        copy = copied(path, tmp_path / name, "-kept")
        if left_of_the_log is not None:
            os.truncate(f"{copy}-wal", left_of_the_log)
        store = Store(copy, DURABLE, codec_at("zlib"))
        memories = Memories(store, DURABLE)
        assert {one: memories.get(one) for one in told} == told
        assert memories.counts()["warm"] >= len(told)
        store.close()


class Gate:
    """A sync of the disk whose first call ends when so many records were added, and fails if it is to."""

    def __init__(self, store: Store, waiting: int, *, fails: bool = False) -> None:
        assert store._journal is not None
        self.journal, self.waiting, self.fails = store._journal, waiting, fails
        self.calls = 0
        self.sync = os.fdatasync

    def __call__(self, file: int) -> None:
        self.calls += 1
        if self.calls > 1:
            return self.sync(file)
        deadline = time.monotonic() + 60
        while self.journal._added < self.waiting and time.monotonic() < deadline:
            time.sleep(0.001)
        if self.fails:
            raise OSError(5, "Input/output error")
        return self.sync(file)


def stored_at_once(memories: Memories, count: int) -> list[list[str] | PerfsuiteError]:
    """What came of stores of so many threads."""

    def store(number: int) -> list[str] | PerfsuiteError:
        try:
            return memories.add("u", [f"The code of cabinet{number} is value{number}."])
        except PerfsuiteError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(store, range(count)))


def test_stores_at_once_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "b.sqlite", DURABLE, codec_at("zlib"))
    memories = Memories(store, DURABLE)
    memories.add("u", ["The first one."])
    gate = Gate(store, 1 + 8)
    monkeypatch.setattr(os, "fdatasync", gate)
    ids = [one[0] for one in stored_at_once(memories, 8) if isinstance(one, list)]
    assert len(set(ids)) == 8
    assert gate.calls == 2, "the first one's own, and one of all that were added meanwhile"
    for number in range(8):
        memories.add("u", [f"The key of drawer{number} fits."])
    assert gate.calls == 10, "the negative control: one after the other, each has its own"
    for number, one in enumerate(ids):
        assert memories.get(one) == f"The code of cabinet{number} is value{number}."
    store.close()


def test_those_whose_records_are_on_the_disk_do_not_wait_for_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record is under way while seven more are added; one sync is of the seven.  As it ends another record is there
    already, whose sync lasts until all seven have been told."""
    journal = Journal(tmp_path / "j")
    told: list[int] = []
    over, last, order = threading.Event(), threading.Event(), []
    real = os.fdatasync

    def sync(file: int) -> None:
        order.append(journal._added)
        if len(order) == 1:
            assert over.wait(60)
        elif len(order) == 2:
            numbers.append(journal.add(b"the last") or 0)
            last.set()
            deadline = time.monotonic() + 60
            while not journal_waited() and time.monotonic() < deadline:
                time.sleep(0.001)
        elif len(order) == 3:
            deadline = time.monotonic() + 60
            while len(told) < 8 and time.monotonic() < deadline:
                time.sleep(0.001)
            order.append(len(told))
        real(file)

    def journal_waited() -> bool:  # by the seven but the one that syncs, and by the last
        return len(journal._turn._waiters) == 7  # type: ignore[attr-defined]

    def wait(number: int) -> None:
        journal.sync(number)
        told.append(number)

    monkeypatch.setattr(os, "fdatasync", sync)
    numbers = [journal.add(b"the first") or 0]
    with ThreadPoolExecutor(9) as threads:
        waiting = [threads.submit(wait, numbers[0])]
        while not order:
            time.sleep(0.001)
        for _ in range(7):
            numbers.append(journal.add(b"one more") or 0)
            waiting.append(threads.submit(wait, numbers[-1]))
        over.set()
        assert last.wait(60)
        waiting.append(threads.submit(wait, numbers[-1]))
        for one in waiting:
            one.result(60)
    assert order == [1, 8, 9, 8], "three syncs, and the third ended when eight had been told"
    assert sorted(told) == list(range(1, 10))
    journal.clear()
    journal.close(remove=True)


def test_a_sync_that_fails_fails_all_that_waited_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "b.sqlite", DURABLE, codec_at("zlib"))
    memories = Memories(store, DURABLE)
    memories.add("u", ["The first one."])
    gate = Gate(store, 1 + 8, fails=True)
    monkeypatch.setattr(os, "fdatasync", gate)
    assert all(isinstance(one, PerfsuiteError) for one in stored_at_once(memories, 8))
    assert gate.calls == 1, "what a failed sync may have lost, a second one would only claim"
    (last,) = memories.add("u", ["The last one."])
    assert gate.calls > 1
    shutil.copytree(tmp_path, tmp_path / "copy")
    (tmp_path / "copy" / "b.sqlite-kept").unlink()
    store.close()
    again = Store(tmp_path / "copy" / "b.sqlite", DURABLE, codec_at("zlib"))
    assert again.count("memories") >= 9, "with a journal that may have a gap, the database was synced"
    again.close()
    again = Store(tmp_path / "b.sqlite", DURABLE, codec_at("zlib"))
    assert Memories(again, DURABLE).get(last) == "The last one."
    again.close()


def test_a_database_that_is_full_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    store = Store(tmp_path / "b.sqlite", DURABLE, codec_at("zlib"))
    memories = Memories(store, DURABLE)
    memories.add("u", ["The first one."])
    memories.flush()
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    texts = [f"The code of cabinet{number} is {'long ' * 1000}." for number in range(TOGETHER)]
    ids = [memories.add("u", [text])[0] for text in texts]
    for _ in range(2):
        with pytest.raises(PerfsuiteError, match=r"cannot write to the database .*b\.sqlite: .*full"):
            memories.recall("u", "Which code?", 1)
    with pytest.raises(PerfsuiteError, match="full"):
        memories.add("u", ["One more is refused, before it is written down."])
    store.connection.execute("PRAGMA max_page_count = 1000000")
    assert [memories.get(one) for one in ids] == texts
    assert store.count("memories") == 1 + len(texts)
    store.close()


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
    store.catch_up()
    assert noted() == 10
    for one in ids[10:]:
        memories.get(one)
    assert len(memories._touched) <= TOUCHES
    assert noted() >= TOUCHES - 10
    memories.flush()
    assert noted() == len(ids)
    assert store.connection.execute("PRAGMA synchronous").fetchone() == (2,), "as it was"
    store.close()
