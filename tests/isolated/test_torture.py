"""Every allocation of a scenario is made to fail in turn, in curl's manner, through the extension.

Each scenario runs in a process of its own, which counts: for n = 1, 2, … the nth allocation fails, until a run goes
through untouched.  Whatever failed must come out as MemoryError, and the object must go on working.  A second
pass fails each and counts blocks: nothing may stay behind.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if not getattr(sys, "_is_gil_enabled", lambda: True)():
    # PyList_New of a free-threaded 3.13 frees a list that it has not filled in, when its array cannot be allocated.
    pytest.skip("a free-threaded CPython 3.13 does not survive a list without memory", allow_module_level=True)
pytest.importorskip("_testcapi", reason="needs CPython's own test module _testcapi, which this build left out")

SCENARIOS = {
    "lru": """
        cache = None
        def scenario():
            global cache
            cache = c.LRUCache(4)
            for i in range(12):
                cache[names[i]] = names[i]
            cache.get("k3"); cache.pop("k11", None); cache.resize(9); cache.resize(4)
            list(cache.items()); cache.copy(); dict(cache); repr(cache)
        def usable():
            cache["x"] = "y"
            assert cache["x"] == "y" and len(cache) <= 4 and list(cache)[-1] == "x"
        """,
    "operations": """
        operation = None
        def report(*told): pass               # made once: 3.12 and 3.13 crash where a function is made without memory
        def always(): return True
        def scenario():
            global operation
            operation = c.Operation("work", c.Histogram(7), report, 0.0, always)
            for _ in range(3):
                with c.OperationTimer(operation):
                    pass
            operation.record(1.5, KeyError); operation.last_ms; operation.last_minute; operation.ended_ns
        def usable():
            before = operation.histogram.count
            with c.OperationTimer(operation):
                pass
            assert operation.histogram.count == before + 1 and operation.running == 0
        """,
    "limits": """
        limiter = None
        def scenario():
            global limiter
            limiter = c.RateLimiter(1000.0, 5.0, 64)
            for name in names:
                limiter.allow(name)
            bucket = c.TokenBucket(10.0, 3.0)
            bucket.try_acquire(); bucket.retry_after(2.0); bucket.available
        def usable():
            assert len(limiter) <= 64
            limiter.allow("another")
        """,
    "histogram": """
        h = None
        other = c.Histogram(7)
        other.record_many(array.array("d", [1e-9, 3.0, 1e12]))
        def scenario():
            global h
            h = c.Histogram(7)
            h.record(1.0); h.record(1e-300); h.record(1e300); h.record(float("nan"))
            h.record_many(array.array("d", range(1000)))
            h.record_many(array.array("q", range(1000)))
            h.record_many([1, 2.5, 3])
            h.merge(other); h.quantiles([0.5, 0.99]); h.to_bytes(); c.Histogram.from_bytes(other.to_bytes())
            h.copy(); h + other; dict(h.rejected); h.buckets(); repr(h); memoryview(h).tolist()
        def usable():
            before = h.count
            h.record(2.0)
            assert h.count == before + 1 and h.quantile(0.5) > 0
        """,
    "trimming": """
        messages = [{"role": ("user", "assistant")[i % 2], "content": "m%d" % i} for i in range(60)]
        from perfsuite.trimming import TrimPolicy, trim
        def scenario():
            trim(list(messages), TrimPolicy(max_history_pairs=5))
            trim(list(messages), TrimPolicy(max_history_pairs=5, max_tokens=40), len)
        def usable():
            report = trim(list(messages), TrimPolicy(max_history_pairs=5))
            assert report.removed
        """,
    "stats": """
        from perfsuite import stats
        data = array.array("d", range(200))
        def scenario():
            stats.quantile_interval(data, 0.5); stats.bootstrap_mean(data, resamples=100)
            stats.mann_whitney(data, data)
            stats.trend(data); stats.change_points(data); stats.compare([1.0, 1.1, 1.2, 1.0], [1.0, 1.1, 1.2, 1.1])
        def usable():
            assert stats.quantile_interval(data, 0.5).estimate == 99.0
        """,
    "preservation": """
        from perfsuite.preservation import text_preservation
        text = "the quick brown fox jumps over the lazy dog " * 30
        def scenario():
            text_preservation(text, text[:500])
        def usable():
            assert text_preservation(text, text).rouge_l == 1.0
        """,
    "events": """
        def scenario():
            events = c.Events(raw=True)
            for i in range(40):
                row = events.begin(i * 10**9); row.sent(i * 10**9 + 1); row.token(1, True, i * 10**9 + 2)
                row.token(1, True, i * 10**9 + 3); row.end(0, 5, 2, 10, i * 10**9 + 4)
            events.histogram("ttft"); events.blocks("ttft"); events.windows(); events.drain_rows(); events.errors
        def usable():
            scenario()
        """,
    "embeddings": """
        from perfsuite.embeddings import EmbeddingCache
        vector = array.array("f", [0.5] * 16)
        cache = None
        def scenario():
            global cache
            cache = EmbeddingCache(maxsize=8)
            for name in names[:12]:
                cache.put(name, vector)
            cache.get("k11")
        def usable():
            cache.put("x", vector)
            assert list(cache.get("x")) == [0.5] * 16
        """,
}

DRIVER = """
import array, gc, sys, _testcapi
import perfsuite._core as c
names = ["k%d" % i for i in range(40)]
SCENARIO
scenario(); usable()                      # everything that is made once is made
gc.disable()
injected = 0
n = 0
while True:
    n += 1
    try:
        _testcapi.set_nomemory(n, n + 1)
        try:
            scenario()
        finally:
            _testcapi.remove_mem_hooks()
        failed = False
    except (MemoryError, RuntimeError) as error:
        # CPython says of a lock without memory that it cannot be allocated.
        assert isinstance(error, MemoryError) or "can't allocate lock" in str(error), error
        failed = True
    if failed:
        injected += 1
        usable()
    misses = 0 if failed else misses + 1 if n > 1 else 1
    if misses >= 60 or n > 30000:         # so far past the last allocation that none is left to fail
        break
assert injected >= LEAST, f"only {injected} failures injected"
passes = []                               # nothing may stay behind, once the interpreter's own caches are full
while len(passes) < 40 and (len(passes) < 2 or max(passes[-2:]) >= 40):
    gc.collect()
    before = sys.getallocatedblocks()
    for k in range(1, 120):
        try:
            _testcapi.set_nomemory(k, k + 1)
            try:
                scenario()
            finally:
                _testcapi.remove_mem_hooks()
        except (MemoryError, RuntimeError):
            pass
    gc.collect()
    passes.append(sys.getallocatedblocks() - before)
print("injected", injected, "grown", passes)
assert max(passes[-2:]) < 40, f"grown by {passes}"
"""


def torture(scenario: str, least: int) -> subprocess.CompletedProcess[str]:
    """Runs one scenario in a process of its own."""
    import textwrap

    code = DRIVER.replace("SCENARIO", textwrap.dedent(scenario)).replace("LEAST", str(least))
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True, check=False, timeout=600,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_torture(name: str) -> None:
    done = torture(SCENARIOS[name], least=3)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]


def test_a_leak_is_found() -> None:
    """The negative control: a scenario that keeps a block each time."""
    done = torture("kept = []\ndef scenario():\n    kept.append(bytearray(100))\ndef usable(): pass", 1)
    assert done.returncode != 0
    assert "AssertionError: grown by " in done.stderr
