"""EmbeddingCache: vectors in and out, views that never change, and a file that nothing may spoil."""

from __future__ import annotations

import array
import errno
import math
import os
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite import embeddings
from perfsuite._core import VectorStore
from perfsuite.embeddings import EmbeddingCache
from privileges import UNBOUND, WHY

np = pytest.importorskip("numpy")


def vector(n: float, dimension: int = 8) -> array.array[float]:
    return array.array("f", [n + i for i in range(dimension)])


def filled(path: Path | None, texts: range, **kwargs: Any) -> EmbeddingCache:
    cache = EmbeddingCache(path, **{"autosave_every": None, **kwargs})
    for n in texts:
        cache.put(f"text {n}", vector(n))
    return cache


def held(cache: EmbeddingCache, n: int) -> float | None:
    view = cache.get(f"text {n}")
    assert view is None or view.tolist() == [view[0] + i for i in range(8)]
    return None if view is None else view[0]


# ── in memory ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_get_and_put() -> None:
    cache = EmbeddingCache()
    assert cache.get("a") is None
    assert cache.dimension is None
    cache.put("a", [1, 2.5, 3])
    view = cache.get("a")
    assert view is not None
    assert (view.format, view.readonly, view.shape, view.strides, view.nbytes) == ("f", True, (3,), (4,), 12)
    assert view.tolist() == [1.0, 2.5, 3.0]
    assert np.frombuffer(view, dtype=np.float32).tolist() == [1.0, 2.5, 3.0]
    with pytest.raises(TypeError):
        view[0] = 1.0
    assert (len(cache), cache.hits, cache.misses, cache.hit_rate, cache.dimension) == (1, 1, 1, 0.5, 3)
    assert "a" in cache
    assert "b" not in cache
    assert 3 not in cache
    assert cache.hits == 1


@pytest.mark.parametrize("given_", [
    [0.5, 1.5, -2.0], (0.5, 1.5, -2), np.array([0.5, 1.5, -2.0]), np.array([0.5, 1.5, -2.0], dtype=np.float32),
    np.array([0.5, 1.5, -2.0], dtype=np.float16), np.array([0.5, 1.5, -2.0], dtype=">f4"),
    np.array([0.5, 1.5, -2.0], dtype=">f8"), np.array([0.5, 9, 1.5, 9, -2.0, 9])[::2],
    np.array([0.5, 9, 1.5, 9, -2.0, 9], dtype=np.float32)[::2], np.array([-2.0, 1.5, 0.5])[::-1],
    array.array("d", [0.5, 1.5, -2.0]), memoryview(struct.pack("3f", 0.5, 1.5, -2.0)).cast("f"),
    np.frombuffer(b"x" + struct.pack("3f", 0.5, 1.5, -2.0), dtype=np.float32, offset=1),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_every_kind_of_vector(given_: Any) -> None:
    cache = EmbeddingCache()
    cache.put("a", given_)
    assert list(cache.get("a") or ()) == [0.5, 1.5, -2.0]


def test_integers_and_what_is_not_finite() -> None:
    cache = EmbeddingCache()
    cache.put("a", np.array([1, 2, 3], dtype=np.int64))
    assert list(cache.get("a") or ()) == [1.0, 2.0, 3.0]
    cache.put("b", [math.nan, -math.inf, 1e300])
    first, *rest = cache.get("b") or ()
    assert math.isnan(first)
    assert rest == [-math.inf, math.inf]


@pytest.mark.parametrize(("given_", "kind", "message"), [
    ("text", TypeError, "not str"), (b"1234", TypeError, r"cast\('f'\)"), (3, TypeError, "sequence or a buffer"),
    (None, TypeError, "sequence or a buffer"), (["x"], TypeError, "real number"), ([[1.0]], TypeError, "real number"),
    (np.zeros((1, 3)), ValueError, "one dimension, not 2"), (np.float32(1), ValueError, "one dimension, not 0"),
    ([], ValueError, "from 1 to"), ([1.0, 2.0], ValueError, "has 2 floats, but this cache holds vectors of 3"),
    (range(4), ValueError, "has 4 floats"), ([10**400, 1, 1], OverflowError, "too large"),
])  # fmt: skip
def test_wrong_vectors_change_nothing(given_: Any, kind: type[Exception], message: str) -> None:
    cache = EmbeddingCache()
    cache.put("a", [1, 2, 3])
    with pytest.raises(kind, match=message):
        cache.put("a", given_)
    assert list(cache.get("a") or ()) == [1, 2, 3]
    assert cache.unsaved == 1


def test_wrong_arguments() -> None:
    for bad in (3, None, b"a"):
        with pytest.raises(TypeError, match="text must be a str"):
            EmbeddingCache().get(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="maxsize"):
        EmbeddingCache(maxsize=0)
    with pytest.raises(ValueError, match="autosave_every"):
        EmbeddingCache(autosave_every=-1)
    with pytest.raises(ValueError, match="no file to save to"):
        EmbeddingCache().save()
    for wrong in (b"short", "0123456789abcdef", None):
        with pytest.raises(TypeError, match="digest of 16 bytes"):
            VectorStore(3).get(wrong)  # type: ignore[arg-type]


def test_a_vector_that_changes_while_it_is_read() -> None:
    class Shrinks:
        def __float__(self) -> float:
            values.clear()
            return 1.0

    values: list[Any] = [Shrinks(), 2.0]
    cache = EmbeddingCache()
    with pytest.raises(RuntimeError, match="became shorter"):
        cache.put("a", values)
    assert len(cache) == 0


def test_odd_texts_are_different_texts() -> None:
    cache = EmbeddingCache()
    texts = ["", "\0", "\0\0", "\u00e9", "e\u0301", "\ud800", "a" * 100_000, "a" * 100_001]
    for n, text in enumerate(texts):
        cache.put(text, [n])
    assert [list(cache.get(text) or ()) for text in texts] == [[n] for n in range(len(texts))]


def test_views_never_change_and_outlive_the_cache() -> None:
    cache = filled(None, range(5), maxsize=5)
    views = [cache.get(f"text {n}") for n in range(5)]
    for n in range(5):
        cache.put(f"text {n}", vector(1000))
    for n in range(100, 150):
        cache.put(f"text {n}", vector(1000))
    cache._store.clear()
    for n in range(200, 250):
        cache.put(f"text {n}", vector(1000))
    del cache
    assert [view[0] for view in views if view is not None] == [0, 1, 2, 3, 4]


def test_get_or_compute() -> None:
    cache = EmbeddingCache(maxsize=2)
    asked: list[str] = []

    def compute(text: str) -> list[float]:
        asked.append(text)
        return [float(len(text)), 1.0]

    assert [cache.get_or_compute(text, compute)[0] for text in ("a", "bb", "a", "ccc", "a")] == [1, 2, 1, 3, 1]
    assert asked == ["a", "bb", "ccc"]
    assert (cache.hits, cache.misses, cache.evictions) == (2, 3, 1)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("new", lambda text: [1 / 0])
    assert "new" not in cache


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 9))), st.integers(1, 6))
def test_order_is_that_of_last_use(steps: list[tuple[str, int]], maxsize: int) -> None:
    cache = EmbeddingCache(maxsize=maxsize)
    model: dict[int, float] = {}
    for at, (step, n) in enumerate(steps):
        if step == "put":
            cache.put(f"text {n}", vector(at))
            model.pop(n, None)
            model[n] = at
            if len(model) > maxsize:
                del model[next(iter(model))]
        else:
            assert held(cache, n) == model.get(n)
            if n in model:
                model[n] = model.pop(n)
    assert {n for n in range(10) if f"text {n}" in cache} == set(model)


def test_bytes_per_entry() -> None:
    cache = EmbeddingCache(maxsize=5000)
    for n in range(5600):
        cache.put(f"text {n}", vector(n, 384))
    assert 1536 < cache.bytes_per_entry <= 1600
    assert EmbeddingCache().bytes_per_entry == 0


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_saved_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "cache.bin"
    cache = filled(path, range(10), maxsize=8)
    held(cache, 2)
    cache.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cache.unsaved == 0
    again = EmbeddingCache(path, maxsize=8)
    assert (len(again), again.dimension) == (8, 8)
    again.put("new", vector(99))
    assert held(again, 3) is None  # the oldest by use, not by storing
    assert held(again, 2) == 2
    with pytest.raises(ValueError, match="has 2 floats, but this cache holds vectors of 8"):
        again.put("x", [1, 2])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache.bin", "cache.bin.lock"]


def test_mode_is_0600_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []
    real = os.open

    def watch(path: Any, flags: int, mode: int = 0o777, **kwargs: Any) -> int:
        handle = real(path, flags, mode, **kwargs)
        if flags & os.O_CREAT:
            seen.append((Path(path).name, stat.S_IMODE(os.fstat(handle).st_mode), flags))
        return handle

    monkeypatch.setattr(os, "open", watch)
    old = os.umask(0)
    try:
        filled(tmp_path / "c", range(1)).save()
    finally:
        os.umask(old)
    created = {name: (mode, flags) for name, mode, flags in seen}
    assert {mode for mode, _ in created.values()} == {0o600}
    assert created[".c.tmp"][1] & os.O_EXCL
    assert created[".c.tmp"][1] & os.O_NOFOLLOW


def test_autosave(tmp_path: Path) -> None:
    path = tmp_path / "c"
    cache = EmbeddingCache(path)
    for n in range(99):
        cache.put(f"text {n}", vector(n))
    assert not path.exists()
    cache.put("text 99", vector(99))
    assert len(EmbeddingCache(path)) == 100
    assert cache.unsaved == 0
    with EmbeddingCache(tmp_path / "d") as other:
        other.put("a", [1])
    assert len(EmbeddingCache(tmp_path / "d")) == 1


def test_two_caches_on_one_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c"
    one, two = EmbeddingCache(path), EmbeddingCache(path)
    for n in range(10):
        (one if n % 2 else two).put(f"text {n}", vector(n))
    one.put("both", vector(1))
    two.put("both", vector(2))
    two.save()
    one.save()
    three = EmbeddingCache(path)
    assert [held(three, n) for n in range(10)] == list(range(10))
    assert (three.get("both") or [0])[0] == 2  # stored later, saved earlier
    assert [held(one, n) for n in range(10)] == list(range(10))  # and what the other saved is found at once


def test_a_smaller_cache_does_not_shrink_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c"
    filled(path, range(50), maxsize=50).save()
    small = filled(path, range(100, 103), maxsize=5)
    small.save()
    assert len(small) == 5
    again = EmbeddingCache(path, maxsize=50)
    assert len(again) == 50
    assert [held(again, n) for n in (102, 49, 3, 2)] == [102, 49, 3, None]
    small.put("one more", vector(7))
    small.save()
    assert len(EmbeddingCache(path, maxsize=50)) == 50


WRITER = """
import sys, array
from perfsuite.embeddings import EmbeddingCache
path, first = sys.argv[1], int(sys.argv[2])
cache = EmbeddingCache(path, autosave_every=7)
for n in range(first, first + 100):
    cache.put(f"text {n}", array.array("f", [n + i for i in range(8)]))
cache.save()
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first)], env=env) for first in (0, 100)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    cache = EmbeddingCache(path)
    assert [held(cache, n) for n in range(200)] == list(range(200))


def test_threads_share_a_cache(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "c", maxsize=64, autosave_every=50)
    barrier = threading.Barrier(4)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        barrier.wait()
        for i in range(400):
            n = (i * 7 + seed * 13) % 100
            view = cache.get_or_compute(f"text {n}", lambda text: vector(float(text.split()[1])))
            if view.tolist() != vector(n).tolist():
                wrong.append((n, view.tolist()))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache.hits + cache.misses == 1600
    cache.save()
    assert len(EmbeddingCache(tmp_path / "c", maxsize=64)) == 64


def spoil(data: bytes, how: str) -> bytes:
    if how == "newer":
        return data[:8] + struct.pack("<I", 2) + data[12:]
    if how == "flipped":
        return data[:200] + bytes([data[200] ^ 1]) + data[201:]
    return {
        "empty": b"",
        "header cut": data[:20],
        "cut": data[:-1],
        "longer": data + b"x",
        "foreign": b"#!/bin/sh\n" * 30,
        "huge count": data[:16] + struct.pack("<Q", 2**29) + data[24:],
    }[how]


@pytest.mark.parametrize("how", ["empty", "header cut", "cut", "longer", "foreign", "huge count", "flipped", "newer"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, how: str) -> None:
    path = tmp_path / "c"
    filled(path, range(10)).save()
    damaged = spoil(path.read_bytes(), how)
    for attempt in range(2):
        path.write_bytes(damaged)
        with pytest.warns(RuntimeWarning, match="set aside as .*damaged-.* is not used") as caught:
            cache = EmbeddingCache(path)
        assert len(caught) == 1
        assert "newer version" in str(caught[0].message) or how != "newer"
        assert len(cache) == 0
        assert not path.exists()
        aside = sorted(tmp_path.glob("c.damaged-*"))
        assert len(aside) == attempt + 1
        assert all(p.read_bytes() == damaged for p in aside)
    cache.put("a", [1.0])
    cache.save()
    assert len(EmbeddingCache(path)) == 1


def test_damaged_between_load_and_save(tmp_path: Path) -> None:
    path = tmp_path / "c"
    cache = filled(path, range(3))
    cache.save()
    path.write_bytes(b"not mine")
    cache.put("text 3", vector(3))
    with pytest.warns(RuntimeWarning, match="set aside"):
        cache.save()
    assert len(EmbeddingCache(path)) == 4
    assert [p.read_bytes() for p in tmp_path.glob("c.damaged-*")] == [b"not mine"]


def test_what_is_not_a_regular_file(tmp_path: Path) -> None:
    real = tmp_path / "real"
    filled(real, range(3)).save()
    before = real.read_bytes()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, kind, message in (
        ("link", OSError, "symbolic link"),
        ("dangling", OSError, "symbolic link"),
        ("folder", IsADirectoryError, "is a directory"),
        ("fifo", OSError, "not a regular file"),
        ("none/c", FileNotFoundError, r"folder .* does not exist"),
    ):
        with pytest.raises(kind, match=message) as caught:
            EmbeddingCache(tmp_path / name)
        assert name.split("/")[0] in str(caught.value)
    cache = filled(tmp_path / "later", range(3))
    (tmp_path / "later").symlink_to(real)
    with pytest.raises(OSError, match="symbolic link"):
        cache.save()
    assert real.read_bytes() == before
    assert len(cache) == 3


@pytest.mark.skipif(UNBOUND, reason=WHY)
def test_permissions(tmp_path: Path) -> None:
    path = tmp_path / "c"
    filled(path, range(3)).save()
    tmp_path.chmod(0o500)
    try:
        cache = EmbeddingCache(path)
        assert len(cache) == 3
        cache.put("new", vector(1))
        with pytest.raises(PermissionError):
            cache.save()
    finally:
        tmp_path.chmod(0o700)
    path.chmod(0)
    with pytest.raises(PermissionError, match="cannot read the embedding cache"):
        EmbeddingCache(path)


def test_no_lock_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    filled(path, range(3)).save()
    real = os.open

    def read_only(name: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)
        return real(name, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", read_only)
    assert len(EmbeddingCache(path)) == 3
    path.write_bytes(b"foreign")
    with pytest.warns(RuntimeWarning, match="cannot be moved .* and is not used"):
        cache = EmbeddingCache(path)
    cache.put("a", [1])
    with pytest.raises(OSError, match="Read-only"):
        cache.save()
    assert path.read_bytes() == b"foreign"


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "c"
    filled(path, range(3)).save()
    before = path.read_bytes()
    cache = EmbeddingCache(path, autosave_every=2)
    with monkeypatch.context() as patch:

        def full(*args: Any, **kwargs: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, call, full)
        cache.put("text 10", vector(10))
        with pytest.warns(RuntimeWarning, match=r"not saved and goes on in memory.*No space left") as caught:
            [cache.put(f"text {n}", vector(n)) for n in range(11, 16)]
        assert len(caught) == 1  # once, not at every autosave
        with pytest.raises(OSError, match=r"cannot save the embedding cache \(No space left") as failed:
            cache.save()
        assert failed.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "c.lock"]
    assert cache.unsaved == 6
    cache.save()
    assert len(EmbeddingCache(path)) == 9


def test_another_dimension(tmp_path: Path) -> None:
    path = tmp_path / "c"
    cache, other = EmbeddingCache(path, autosave_every=1), EmbeddingCache(path, autosave_every=None)
    cache.put("a", [1, 2, 3])
    other.put("a", [1, 2])
    with pytest.raises(ValueError, match="file holds vectors of 3 floats, but this cache holds vectors of 2"):
        other.save()
    assert list(EmbeddingCache(path).get("a") or ()) == [1, 2, 3]


def test_a_lock_that_is_never_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(embeddings, "LOCK_TIMEOUT_S", 0.05)
    cache = filled(tmp_path / "c", range(1))
    with open(tmp_path / "c.lock", "w") as held_by_another:
        fcntl.flock(held_by_another, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="held the lock"):
            cache.save()
        assert not (tmp_path / "c").exists()
    cache.save()
    assert len(EmbeddingCache(tmp_path / "c")) == 1


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path: Path) -> None:
    (tmp_path / ".c.tmp").write_bytes(b"half a file")
    filled(tmp_path / "c", range(1)).save()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "c.lock"]


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    real = embeddings._checked

    def counted(*args: Any) -> bytes:
        nonlocal reads
        reads += 1
        return real(*args)

    monkeypatch.setattr(embeddings, "_checked", counted)
    cache = filled(tmp_path / "c", range(3))
    for n in range(5):
        cache.put(f"more {n}", vector(n))
        cache.save()
    assert reads == 0
    filled(tmp_path / "c", range(10, 12)).save()
    reads = 0
    cache.save()
    assert reads == 1
    assert held(cache, 11) == 11


def test_the_clock_steps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = filled(tmp_path / "c", range(3))
    monkeypatch.setattr(time, "time_ns", lambda: 5)
    cache.put("text 1", vector(100))
    cache.save()
    assert held(cache, 1) == 100
    assert held(EmbeddingCache(tmp_path / "c"), 1) == 100
