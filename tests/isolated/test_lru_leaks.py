"""Allocations counted around everything the caches do; a leak of one block a round shows."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from array import array
from collections.abc import Callable
from typing import Any

import pytest

from perfsuite._core import LRUCache, VectorStore

ROUNDS = 200


def blocks_kept(step: Callable[[], object]) -> int:
    """Memory blocks that ROUNDS calls leave behind: the least of three tries, after free lists have filled."""
    kept = []
    for _ in range(4):
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(ROUNDS):
            step()
        gc.collect()
        kept.append(sys.getallocatedblocks() - before)
    return min(kept[1:])


def _mapping() -> None:
    cache: LRUCache[Any, Any] = LRUCache(5, on_evict=lambda key, value: None)
    for n in range(20):
        cache[f"{n}"] = [n]
    cache.get("19"), cache.get("x"), cache.setdefault("y", []), cache.pop("19"), cache.popitem()
    cache.update({"a": 1}, b=2)
    list(cache.items()), reversed(cache), cache.keys() & {"a"}, cache == {"a": 1}, repr(cache), next(iter(cache))
    cache.resize(2)
    cache["me"] = cache


def _failures() -> None:
    def refuse(key: object, value: object) -> None:
        raise ZeroDivisionError

    cache: LRUCache[Any, Any] = LRUCache(1, on_evict=refuse)
    cache[(1, 2)] = []
    calls: list[Callable[[], object]] = [
        lambda: cache["x"],
        lambda: cache[[]],
        lambda: cache.__setitem__("new", []),
        lambda: cache.update([(1, 2, 3)]),
        lambda: cache.resize(0),
        lambda: LRUCache(0),
        lambda: cache.__setstate__((1, 2)),
    ]
    for call in calls:
        with pytest.raises((KeyError, TypeError, ValueError, ZeroDivisionError)):
            call()


def _copies() -> None:
    cache: LRUCache[Any, Any] = LRUCache(5)
    cache["a"] = [1]
    copy.copy(cache), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))


def _vectors() -> None:
    store, other = VectorStore(4), VectorStore(4)
    for n in range(9):
        store.put(bytes([n]) * 16, array("f", [n, n]), n)
    view = store.get(bytes([8]) * 16)
    store.put(bytes([8]) * 16, [1, 2], 10)
    store.put(bytes([8]) * 16, [1, 2], 11, True)
    other.merge(store.to_bytes(4))
    for bad in ([1], "x", [None, 1]):
        with pytest.raises((TypeError, ValueError)):
            store.put(bytes(16), bad, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="form"):
        store.merge(b"")
    store.clear()
    assert view is not None
    assert view.tolist() == [8, 8]


@pytest.mark.parametrize("step", [_mapping, _failures, _copies, _vectors])
def test_nothing_is_kept(step: Callable[[], None]) -> None:
    assert blocks_kept(step) < ROUNDS // 2


def test_a_leak_would_show() -> None:
    kept: list[object] = []
    assert blocks_kept(lambda: kept.append(LRUCache(1))) >= ROUNDS
