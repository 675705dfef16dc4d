"""Many threads on one cache, with keys whose comparison hands the interpreter over in mid look-up."""

from __future__ import annotations

import threading
import time
from typing import Any

from perfsuite._core import LRUCache

THREADS, ROUNDS = 6, 400


class Key:
    """Equal by number; all share eight hashes, and every comparison lets another thread run."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 8

    def __eq__(self, other: object) -> bool:
        time.sleep(0)
        return isinstance(other, Key) and other.number == self.number


def test_counts_add_up_and_no_value_is_another_keys() -> None:
    evicted: list[Any] = []
    cache: LRUCache[Key, int] = LRUCache(20, on_evict=lambda key, value: evicted.append((key.number, value)))
    barrier = threading.Barrier(THREADS)
    wrong: list[Any] = []
    looked = [0] * THREADS
    clears = 0

    def work(me: int) -> None:
        nonlocal clears
        barrier.wait()
        for i in range(ROUNDS):
            number = (i * 7 + me * 11) % 40
            try:
                found = cache.get(Key(number))
            except RuntimeError:  # others changed the cache at each of a hundred comparisons
                continue
            looked[me] += 1
            if found not in (None, number):
                wrong.append((number, found))
            cache[Key(number)] = number
            if i % 97 == 0 and me == 0:
                cache.clear()

    threads = [threading.Thread(target=work, args=(me,)) for me in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(number == value for number, value in evicted)
    assert cache.hits + cache.misses == sum(looked)
    assert cache.evictions == len(evicted)
    assert len(cache) == len(list(cache)) == len({key.number for key in cache}) <= 20
    assert all(key.number == value for key, value in cache.items())
