"""LRUCache against an OrderedDict, and against keys that misbehave."""

from __future__ import annotations

import collections
import copy
import gc
import inspect
import pickle
import sys
import weakref
from collections import OrderedDict
from collections.abc import ItemsView, KeysView, MutableMapping, ValuesView
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from perfsuite._core import LRUCache


def filled(n: int, maxsize: int | None = None, **kwargs: Any) -> LRUCache[Any, Any]:
    cache: LRUCache[Any, Any] = LRUCache(maxsize or n, **kwargs)
    for i in range(n):
        cache[f"k{i}"] = i
    return cache


class Model(RuleBasedStateMachine):
    """Every operation on both, with keys that share hashes, so that runs and equality are exercised."""

    keys = st.one_of(st.integers(0, 12), st.sampled_from(["a", "b", "c", (1, 2), 2**61 - 1, 2**61, 0.5, None]))

    def __init__(self) -> None:
        super().__init__()
        self.evicted: list[tuple[Any, Any]] = []
        self.expected: list[tuple[Any, Any]] = []
        self.maxsize = 5
        self.cache: LRUCache[Any, Any] = LRUCache(5, on_evict=lambda k, v: self.evicted.append((k, v)))
        self.model: OrderedDict[Any, Any] = OrderedDict()
        self.hits = self.misses = 0

    def put(self, key: Any, value: Any) -> None:
        self.model[key] = value
        self.model.move_to_end(key)
        while len(self.model) > self.maxsize:
            self.expected.append(self.model.popitem(last=False))

    def look(self, key: Any) -> None:
        if key in self.model:
            self.hits += 1
            self.model.move_to_end(key)
        else:
            self.misses += 1

    @rule(key=keys, value=st.integers())
    def set(self, key: Any, value: int) -> None:
        self.cache[key] = value
        self.put(key, value)

    @rule(key=keys)
    def getitem(self, key: Any) -> None:
        if key in self.model:
            assert self.cache[key] == self.model[key]
        else:
            with pytest.raises(KeyError) as caught:
                self.cache[key]
            assert caught.value.args == (key,)
        self.look(key)

    @rule(key=keys)
    def get(self, key: Any) -> None:
        assert self.cache.get(key, "none") == self.model.get(key, "none")
        self.look(key)

    @rule(key=keys, value=st.integers())
    def setdefault(self, key: Any, value: int) -> None:
        assert self.cache.setdefault(key, value) == self.model.get(key, value)
        self.look(key)
        if key not in self.model:
            self.put(key, value)

    @rule(key=keys)
    def contains(self, key: Any) -> None:
        assert (key in self.cache) is (key in self.model)

    @rule(key=keys)
    def pop(self, key: Any) -> None:
        assert self.cache.pop(key, "none") == self.model.pop(key, "none")

    @rule(key=keys)
    def delete(self, key: Any) -> None:
        if key in self.model:
            del self.cache[key], self.model[key]
        else:
            with pytest.raises(KeyError):
                del self.cache[key]

    @precondition(lambda self: self.model)
    @rule()
    def popitem(self) -> None:
        assert self.cache.popitem() == self.model.popitem(last=False)

    @rule(pairs=st.lists(st.tuples(keys, st.integers()), max_size=8))
    def update(self, pairs: list[tuple[Any, int]]) -> None:
        self.cache.update(pairs)
        for key, value in pairs:
            self.put(key, value)

    @rule(n=st.integers(1, 9))
    def resize(self, n: int) -> None:
        self.cache.resize(n)
        self.maxsize = n
        while len(self.model) > n:
            self.expected.append(self.model.popitem(last=False))

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.clear()

    @rule()
    def replace_by_copy(self) -> None:
        self.cache = self.cache.copy()

    @invariant()
    def same(self) -> None:
        assert list(self.cache.items()) == list(self.model.items())
        assert list(self.cache) == list(self.model)
        assert list(self.cache.values()) == list(self.model.values())
        assert list(reversed(self.cache)) == list(reversed(self.model))
        assert list(reversed(self.cache.items())) == list(reversed(self.model.items()))
        assert len(self.cache) == len(self.model)
        assert self.cache == dict(self.model)
        assert self.evicted == self.expected
        assert (self.cache.hits, self.cache.misses) == (self.hits, self.misses)
        assert self.cache.evictions == len(self.expected)
        assert self.cache.maxsize == self.maxsize


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase


def test_is_a_mutable_mapping() -> None:
    cache = filled(3)
    assert isinstance(cache, MutableMapping)
    assert isinstance(cache.keys(), KeysView)
    assert isinstance(cache.values(), ValuesView)
    assert isinstance(cache.items(), ItemsView)
    missing = {n for n in dir(MutableMapping) if not n.startswith("_")} - set(dir(cache))
    assert not missing
    match cache:
        case {"k1": one}:
            assert one == 1
        case _:
            pytest.fail("a mapping pattern does not match")
    assert LRUCache[str, int].__origin__ is LRUCache  # type: ignore[attr-defined]
    assert str(inspect.signature(LRUCache)) == "(maxsize, on_evict=None)"
    assert str(inspect.signature(LRUCache.get)) == "(self, key, default=None, /)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(cache)


@pytest.mark.parametrize("bad", [0, -1, 2**30 + 1, sys.maxsize, -(10**30), 10**30])
def test_maxsize_out_of_range(bad: int) -> None:
    with pytest.raises(ValueError, match="maxsize must be from 1 to 1073741824, not"):
        LRUCache(bad)
    cache = filled(3)
    with pytest.raises(ValueError, match="maxsize"):
        cache.resize(bad)
    assert len(cache) == 3


@pytest.mark.parametrize("arguments", [(), (1.5,), ("3",), (None,), (3, 4), (3, None, None)])
def test_arguments_of_the_wrong_kind(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        LRUCache(*arguments)


def test_wrong_calls() -> None:
    cache: Any = filled(2)
    for call in (
        lambda: cache.get(),
        lambda: cache.get(1, 2, 3),
        lambda: cache.pop(),
        lambda: cache.update(1, 2),
        lambda: cache.update(3),
        lambda: cache[[]],
        lambda: [] in cache,
        lambda: cache.setdefault([]),
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(ValueError, match=r"element 1 of update.* length 3"):
        cache.update([(1, 2), (1, 2, 3)])
    with pytest.raises(KeyError, match="empty"):
        LRUCache(1).popitem()
    with pytest.raises(KeyError) as caught:
        cache[(1, 2)]
    assert caught.value.args == ((1, 2),)
    with pytest.raises(AttributeError):
        cache.hits = 3


def test_looking_inside_neither_counts_nor_reorders() -> None:
    cache = filled(3)
    assert "k0" in cache
    assert "nothing" not in cache
    assert ("k0", 0) in cache.items()
    assert ("k0", 1) not in cache.items()
    assert "k0" not in cache.items()
    assert 1 in cache.values()
    assert list(cache) == ["k0", "k1", "k2"]
    assert (cache.hits, cache.misses, cache.hit_rate) == (0, 0, 0.0)
    assert cache["k0"] == 0
    assert cache.get("x") is None
    assert cache.hit_rate == 0.5


def test_update_from_everything() -> None:
    cache: LRUCache[Any, Any] = LRUCache(10)
    other = filled(2)
    cache.update(other)
    assert other.hits == 0
    cache.update({"d": 1}, e=2)
    cache.update(collections.UserDict(f=3))
    cache.update(iter([("g", 4), ("h", 5)]))
    assert list(cache) == ["k0", "k1", "d", "e", "f", "g", "h"]
    assert dict(cache) == dict(cache.items())


def test_views_are_sets() -> None:
    cache = filled(3)
    keys: Any = cache.keys()
    items: Any = cache.items()
    assert keys == {"k0", "k1", "k2"}
    assert keys != {"k0", "k1", "x"}
    assert keys <= {"k0", "k1", "k2", "x"}
    assert not keys < {"k0", "k1", "k2"}
    assert keys > {"k0"}
    assert keys >= filled(2).keys()
    assert {"k0"} < keys
    assert keys & {"k0", "z"} == {"k0"}
    assert {"k0", "z"} - keys == {"z"}
    assert keys | ["z"] == {"k0", "k1", "k2", "z"}
    assert keys ^ {"k0", "z"} == {"k1", "k2", "z"}
    assert keys.isdisjoint(["z"])
    assert not keys.isdisjoint(["k0"])
    assert items == {"k0": 0, "k1": 1, "k2": 2}.items()
    assert items & [("k0", 0), ("k1", 7)] == {("k0", 0)}
    assert keys.__eq__(3) is NotImplemented
    assert cache.values() != cache.values()
    assert len(keys) == len(cache.values()) == 3
    assert repr(keys) == "<LRUCache.keys ['k0', 'k1', 'k2']>"
    assert keys.mapping["k1"] == 1
    kinds: set[Any] = {type(keys), type(items), type(cache.values()), type(iter(cache))}
    assert len(kinds) == 4
    for kind in kinds:
        with pytest.raises(TypeError):
            kind()


def test_equality() -> None:
    one, two = filled(3), filled(3, 10)
    two["k0"]
    assert one == two
    assert one == {"k2": 2, "k1": 1, "k0": 0}
    assert one == OrderedDict(k0=0, k1=1, k2=2)
    assert one == collections.UserDict(k0=0, k1=1, k2=2)
    two["k0"] = 9
    assert one != two
    assert one != 3
    with pytest.raises(TypeError):
        one < two  # type: ignore[operator]  # noqa: B015


def test_iteration_and_changes() -> None:
    cache = filled(5)
    assert [cache[key] for key in cache] == [0, 1, 2, 3, 4]
    assert list(cache) == ["k0", "k1", "k2", "k3", "k4"]
    assert [cache[key] for key in reversed(cache)] == [4, 3, 2, 1, 0]
    for key in cache:
        cache[key] = 7
    changes: list[Any] = [lambda: cache.__setitem__("new", 1), lambda: cache.__delitem__("k3"), cache.clear]
    for change in changes:
        walk: Any = iter(cache.items())
        next(walk)
        change()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="changed during iteration"):
                next(walk)
    cache = filled(5)
    walk = iter(cache)
    assert next(walk) == "k0"
    cache["k3"]
    with pytest.raises(RuntimeError, match="order"):
        next(walk)
    walk = iter(cache)
    assert walk.__length_hint__() == 5
    assert len(list(walk)) == 5
    assert walk.__length_hint__() == 0
    cache.clear()
    assert list(walk) == []


def test_resize_gives_memory_back_and_tells() -> None:
    told: list[tuple[Any, Any]] = []
    cache = filled(1000, on_evict=lambda k, v: told.append((k, v)))
    before = sys.getsizeof(cache)
    cache.resize(10)
    assert [v for _, v in told] == list(range(990))
    assert list(cache.values()) == list(range(990, 1000))
    assert sys.getsizeof(cache) * 20 < before
    assert cache.evictions == 990


def test_bytes_an_entry() -> None:
    for n in (1000, 5462, 10923):  # just past two thirds of a power of two: the worst
        # A tenth more than it holds, so that the last rehash is over.
        used = sys.getsizeof(filled(n + n // 10, n)) - sys.getsizeof(LRUCache(1))
        assert 32 < used / n <= 45


def test_on_evict_raises_with_the_new_entry_in() -> None:
    def refuse(key: str, value: int) -> None:
        raise ZeroDivisionError(key)

    cache = filled(2, on_evict=refuse)
    with pytest.raises(ZeroDivisionError, match="k0"):
        cache["new"] = 1
    assert dict(cache.items()) == {"k1": 1, "new": 1}
    with pytest.raises(ZeroDivisionError, match="k1"):
        cache.setdefault("newer", 2)
    assert "newer" in cache
    with pytest.raises(ZeroDivisionError):
        cache.update(a=1, b=2)
    assert list(cache) == ["newer", "a"]


def test_resize_with_on_evict_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    unraisable: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: unraisable.append(str(info.exc_value)))

    def refuse(key: str, value: int) -> None:
        told.append(key)
        raise ZeroDivisionError(key)

    cache = filled(5, on_evict=refuse)
    with pytest.raises(ZeroDivisionError, match="k0"):
        cache.resize(2)
    assert told == ["k0", "k1", "k2"]
    assert unraisable == ["k1", "k2"]
    assert list(cache) == ["k3", "k4"]
    assert cache.maxsize == 2


def test_on_evict_may_use_the_cache() -> None:
    second: LRUCache[Any, Any] = LRUCache(100)

    def demote(key: int, value: int) -> None:
        second[key] = value
        assert key not in cache
        assert len(cache) == 3
        if key == 0:
            cache[100] = 100  # evicts again, from inside

    cache: LRUCache[int, int] = LRUCache(3, on_evict=demote)
    for i in range(6):
        cache[i] = i
    assert list(cache) == [100, 4, 5]
    assert set(second) == {0, 1, 2, 3}


class Rogue:
    """A key whose __eq__ does what `act` says."""

    def __init__(self, act: Any, hash_: int = 1) -> None:
        self.act, self.hash = act, hash_

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return bool(self.act(self, other))


def test_eq_that_raises_leaves_the_cache_whole() -> None:
    def fail(me: object, other: object) -> bool:
        raise ZeroDivisionError

    cache: LRUCache[Any, Any] = LRUCache(3)
    cache[Rogue(fail)] = 1
    acts: list[Any] = [
        lambda: cache[1],
        lambda: 1 in cache,
        lambda: cache.get(1),
        lambda: cache.pop(1, None),
        lambda: cache.setdefault(1, 2),
        lambda: cache.__setitem__(1, 1),
        lambda: cache.__delitem__(1),
    ]
    for act in acts:
        with pytest.raises(ZeroDivisionError):
            act()
    assert len(cache) == 1
    assert (cache.hits, cache.misses) == (0, 0)

    class Unhashable:
        def __hash__(self) -> int:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cache[Unhashable()] = 1


@pytest.mark.parametrize("mutate", ["clear", "delete", "fill", "resize", "reinit", "nothing"])
@pytest.mark.parametrize("operation", ["get", "set", "pop", "in", "setdefault"])
@pytest.mark.parametrize("equal", [False, True])
def test_eq_that_changes_the_cache(mutate: str, operation: str, equal: bool) -> None:
    left = 3

    def act(me: object, other: object) -> bool:
        nonlocal left
        if left > 0:
            left -= 1
            if mutate == "clear":
                cache.clear()
            elif mutate == "delete":
                cache.pop("b", None)
                if cache:
                    cache.popitem()
            elif mutate == "fill":
                cache.update((f"f{left}-{i}", i) for i in range(50))
            elif mutate == "resize":
                cache.resize(1)
                cache.resize(100)
            elif mutate == "reinit":
                cache.__init__(100)  # type: ignore[misc]
        return equal

    cache: LRUCache[Any, Any] = LRUCache(100)
    cache[Rogue(act)] = object()
    cache[Rogue(act)] = object()
    cache["b"] = object()
    probe = 1
    if operation == "get":
        cache.get(probe)
    elif operation == "set":
        cache[probe] = object()
        assert probe in cache
    elif operation == "pop":
        cache.pop(probe, None)
    elif operation == "in":
        probe in cache  # noqa: B015
    else:
        cache.setdefault(probe, object())
    assert len(list(cache)) == len(cache) <= 100
    assert sum(1 for _ in reversed(cache)) == len(cache)
    gc.collect()


def test_eq_that_never_stops_changing_the_cache() -> None:
    count = 0

    def act(me: object, other: object) -> bool:
        nonlocal count
        count += 1
        cache["x"] = cache.pop("x", 0)
        return False

    cache: LRUCache[Any, Any] = LRUCache(10)
    cache[Rogue(act)] = 1
    with pytest.raises(RuntimeError, match="__eq__ changes the LRUCache each time"):
        cache[1]
    assert 2 <= count <= 1000
    assert "x" in cache


def test_eq_that_recurses() -> None:
    cache: LRUCache[Any, Any] = LRUCache(10)
    cache[Rogue(lambda me, other: 1 in cache)] = 1
    with pytest.raises(RecursionError):
        cache[1]


def test_finalisers_may_use_the_cache() -> None:
    cache: LRUCache[Any, Any] = LRUCache(2)

    class Value:
        def __del__(self) -> None:
            cache["from del"] = 1
            cache.pop("from del", None)

    for i in range(6):
        cache[i] = Value()
    cache[5] = Value()
    cache.clear()
    assert len(cache) == 0
    cache[1] = Value()
    del cache[1]
    assert len(cache) == 0


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol: int) -> None:
    cache = filled(3, 5)
    cache["k0"], cache.get("x")
    again = pickle.loads(pickle.dumps(cache, protocol))
    assert type(again) is LRUCache
    assert list(again.items()) == [("k1", 1), ("k2", 2), ("k0", 0)]
    assert (again.maxsize, again.hits, again.misses, again.on_evict) == (5, 1, 1, None)


class Sub(LRUCache[Any, Any]):
    def __init__(self) -> None:
        super().__init__(4, on_evict=print)
        self.tag = ["tag"]


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c)), lambda c: c.copy()])
def test_copies_of_a_subclass(how: Any) -> None:
    cache = Sub()
    cache["me"] = [1]
    again = how(cache)
    assert type(again) is Sub
    assert again == cache
    assert again.tag == ["tag"]
    assert again.on_evict is print
    again["x"] = 1
    assert "x" not in cache
    if how is copy.copy:
        assert again["me"] is cache["me"]


def test_deepcopy_and_pickle_of_a_cycle() -> None:
    cache: LRUCache[str, Any] = LRUCache(2)
    cache["me"] = cache
    assert repr(cache) == "<LRUCache maxsize=2 {'me': LRUCache(...)}>"
    for again in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert again["me"] is again


@pytest.mark.parametrize("state", [None, (), (1,), (1, 0, None, 0, 0, 0, [], None), (1, 3, 4, 0, 0, 0, [], None),
                                   (2, 3, None, 0, 0, 0, [], None), (1, 3, None, 0, 0, 0, [1], None),
                                   (1, 3, None, 0, 0, 0, (), None)])  # fmt: skip
def test_bad_state(state: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        LRUCache.__new__(LRUCache).__setstate__(state)


def test_subclass_that_forgets_init() -> None:
    class Forgetful(LRUCache[Any, Any]):
        def __init__(self) -> None:
            pass

    cache = Forgetful()
    assert len(cache) == 0
    assert cache.get(1) is None
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        cache[1] = 1


def test_cycles_are_collected() -> None:
    class Probe:
        pass

    gc.collect()
    probes: list[Any] = []
    for kind in range(4):
        cache: LRUCache[Any, Any] = LRUCache(3)
        probe = Probe()
        cache["probe"] = probe
        cache["me"] = [cache, iter(cache), cache.keys(), cache.items()][kind]
        probes.append((weakref.ref(probe), weakref.ref(cache)))

    class Owner:
        def __init__(self) -> None:
            self.cache: LRUCache[Any, Any] = LRUCache(1, on_evict=self.told)

        def told(self, key: object, value: object) -> None:
            pass

    owner = Owner()
    probes.append((weakref.ref(owner), weakref.ref(owner.cache)))
    assert all(ref() is not None for refs in probes for ref in refs)
    del cache, probe, owner
    gc.collect()
    assert all(ref() is None for refs in probes for ref in refs)


def test_one_object_for_the_collector() -> None:
    cache = filled(1000)
    assert len(gc.get_referents(cache)) == 2001  # keys, values, type: no nodes between


def test_deep_nesting_is_freed() -> None:
    cache: LRUCache[str, Any] = LRUCache(1)
    for _ in range(100_000):
        outer: LRUCache[str, Any] = LRUCache(1)
        outer["in"] = cache
        cache = outer
    del cache, outer


@given(st.lists(st.integers(0, 2**61), max_size=200), st.integers(1, 50))
def test_counts_add_up(keys: list[int], maxsize: int) -> None:
    cache: LRUCache[int, int] = LRUCache(maxsize)
    for key in keys:
        cache.setdefault(key, key)
    assert cache.hits + cache.misses == len(keys)
    assert cache.misses - cache.evictions == len(cache)
