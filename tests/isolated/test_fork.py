"""Children that are forked at a bad moment: while another thread holds a lock, or a save is under way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import perfsuite
from perfsuite import embeddings


def in_child(work: Callable[[], object]) -> int:
    """The status of a forked child that does the work: 0, or the signal of its alarm after two seconds."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.alarm(2)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def test_a_child_saves_while_its_parent_does(tmp_path: Path) -> None:
    cache = perfsuite.EmbeddingCache(tmp_path / "cache", autosave_every=1)
    cache._saving.acquire()  # as a thread in the midst of a save does
    cache._counting.acquire()
    assert in_child(lambda: (cache.put("a", [1.0]), cache.save())) == 0
    cache._counting.release()
    cache._saving.release()
    assert "a" in perfsuite.EmbeddingCache(tmp_path / "cache")


def test_a_child_does_not_hold_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "LOCK_TIMEOUT_S", 0.2)
    cache = perfsuite.EmbeddingCache(tmp_path / "cache")
    cache.put("a", [1.0])
    assert cache._file is not None
    read, write = os.pipe()
    with cache._file.locked():
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)  # lives on until the parent is done
            os._exit(0)
    try:
        cache.save()
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)


def test_a_child_takes_its_turn_at_a_bucket() -> None:
    bucket = perfsuite.TokenBucket(1000, 1)
    bucket._turn.acquire()
    assert in_child(bucket.acquire) == 0


def test_the_alarm_would_end_a_child_that_waits() -> None:
    """The negative control."""
    lock = threading.Lock()
    lock.acquire()
    assert in_child(lock.acquire) == signal.SIGALRM
