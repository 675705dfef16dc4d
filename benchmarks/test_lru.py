"""LRUCache and EmbeddingCache beside what people use: look-ups, evicting stores, bytes an entry.

A dict is the floor: it neither bounds itself nor keeps an order of use.  lru_cache is timed as the call of a cached
function, which is what it is; it has no other way in.
"""

from __future__ import annotations

import functools
import tracemalloc
from array import array
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from perfsuite._core import LRUCache
from perfsuite.embeddings import EmbeddingCache

SIZE = 1_000
STORES = 10_000
FLOATS = 384
Contenders = dict[str, tuple[Callable[[], object], int]]

missing: dict[str, str] = {}
HIT_KEYS = [f"key-{n}" for n in range(SIZE)]
STORE_KEYS = [f"store-{n}" for n in range(STORES)]


def _peers() -> dict[str, Any]:
    """The constructors of the peers that are installed, by label."""
    found: dict[str, Any] = {}
    for label, module, name in (
        ("cachebox", "cachebox", "LRUCache"),
        ("lru-dict", "lru", "LRU"),
        ("cachetools", "cachetools", "LRUCache"),
    ):
        try:
            found[label] = getattr(import_module(module), name)
        except ImportError as error:
            missing[label] = str(error)
    return found


def _hits(cache: Any) -> Callable[[], object]:
    for key in HIT_KEYS:
        cache[key] = key

    def call() -> None:
        for key in HIT_KEYS:
            cache[key]

    return call


def _hits_of_function() -> Callable[[], object]:
    @functools.lru_cache(SIZE)
    def cached(key: str) -> str:
        return key

    def call() -> None:
        for key in HIT_KEYS:
            cached(key)

    return call


def _stores(cache: Any) -> Callable[[], object]:
    def call() -> None:
        for key in STORE_KEYS:
            cache[key] = key

    return call


def _stores_of_function() -> Callable[[], object]:
    @functools.lru_cache(SIZE)
    def cached(key: str) -> str:
        return key

    def call() -> None:
        for key in STORE_KEYS:
            cached(key)

    return call


def contenders() -> Contenders:
    """Look-ups that hit, in turn over all keys."""
    found: Contenders = {"perfsuite": (_hits(LRUCache(SIZE)), SIZE), "dict": (_hits({}), SIZE)}
    found |= {label: (_hits(make(SIZE)), SIZE) for label, make in _peers().items()}
    found["functools.lru_cache"] = (_hits_of_function(), SIZE)
    return found


def eviction_contenders() -> Contenders:
    """Stores of new keys in a full cache: each evicts one."""
    found: Contenders = {"perfsuite": (_stores(LRUCache(SIZE)), STORES)}
    found |= {label: (_stores(make(SIZE)), STORES) for label, make in _peers().items()}
    found["functools.lru_cache"] = (_stores_of_function(), STORES)
    return found


def _embedding_cache() -> EmbeddingCache:
    cache = EmbeddingCache(maxsize=SIZE)
    vector = array("f", [0.5] * FLOATS)
    for key in HIT_KEYS:
        cache.put(key, vector)
    return cache


def embedding_contenders() -> Contenders:
    """Looking an embedding up by its text."""
    cache, plain = _embedding_cache(), {key: [0.5] * FLOATS for key in HIT_KEYS}

    def ours() -> None:
        for key in HIT_KEYS:
            cache.get(key)

    def lists() -> None:
        for key in HIT_KEYS:
            plain.get(key)

    return {"perfsuite": (ours, SIZE), "dict of lists": (lists, SIZE)}


PEERS = [("LRU hit", contenders), ("LRU miss and evict", eviction_contenders), ("embedding hit", embedding_contenders)]
GOALS = {"LRU hit": {"dict": 1 / 1.1}, "LRU miss and evict": {"cachebox": 1.0}}


def traced_bytes(make: Callable[[], object]) -> int:
    """Bytes that what `make` returns keeps allocated."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = make()
        after = tracemalloc.get_traced_memory()[0]
        del kept
        return after - before
    finally:
        tracemalloc.stop()


def bytes_per_entry() -> dict[str, float]:
    """Of each cache at its bound, beyond the key and value objects (which exist before it)."""
    keys = [f"entry {n}" for n in range(11_000)]

    def filled(make: Any) -> object:
        cache = make(10_000)
        for key in keys:
            cache[key] = None
        return cache

    found: dict[str, float] = {}
    for label, make in ({"perfsuite": LRUCache} | _peers()).items():
        size = traced_bytes(lambda make=make: filled(make))
        if size > 10_000:
            found[label] = size / 10_000
        else:
            missing[f"bytes of {label}"] = "it allocates where tracemalloc does not see it"
    return found


def embedding_bytes() -> dict[str, float]:
    """Of 5,000 vectors of 384 floats, with all that holds them."""
    values = [[(n * 31 + i) % 1000 / 7 for i in range(FLOATS)] for n in range(3)]

    def ours() -> object:
        cache = EmbeddingCache(maxsize=5_000)
        for n in range(5_600):
            cache.put(f"text {n}", values[n % 3])
        return cache

    found = {"perfsuite": traced_bytes(ours) / 5_000}
    found["list"] = traced_bytes(lambda: [[x + n for x in values[n % 3]] for n in range(200)]) / 200
    try:
        numpy = import_module("numpy")
    except ImportError as error:
        missing["numpy"] = str(error)
    else:
        found["numpy"] = traced_bytes(lambda: [numpy.array(values[n % 3], dtype="f4") for n in range(5_000)]) / 5_000
    return found


FIGURES = [
    ("LRU, an entry", "bytes", bytes_per_entry, 45.0),
    ("embedding of 384 floats, an entry", "bytes", embedding_bytes, 1_600.0),
]


def _labelled(build: Callable[[], Contenders]) -> list[Any]:
    return [pytest.param(*pair, id=label) for label, pair in build().items()]


@pytest.mark.benchmark(group="LRU hit, a thousand keys in turn")
@pytest.mark.parametrize(("call", "operations"), _labelled(contenders))
def test_hit(benchmark: Any, call: Callable[[], object], operations: int) -> None:
    benchmark.extra_info["operations"] = operations
    benchmark(call)


@pytest.mark.benchmark(group="LRU miss and evict, ten thousand stores")
@pytest.mark.parametrize(("call", "operations"), _labelled(eviction_contenders))
def test_miss_and_evict(benchmark: Any, call: Callable[[], object], operations: int) -> None:
    benchmark.extra_info["operations"] = operations
    benchmark(call)


@pytest.mark.benchmark(group="embedding hit, a thousand texts in turn")
@pytest.mark.parametrize(("call", "operations"), _labelled(embedding_contenders))
def test_embedding_hit(benchmark: Any, call: Callable[[], object], operations: int) -> None:
    benchmark.extra_info["operations"] = operations
    benchmark(call)
