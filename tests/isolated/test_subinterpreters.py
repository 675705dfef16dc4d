"""The extension in several interpreters of one process: from 3.12 with a GIL of their own, at the same time.

Each has its own types and state (a static type would be the same object in all, as int is), and ending one leaves the
others whole.

Nothing here may import threading or hashlib: with no more than `import threading` in interpreters run from threads,
Python 3.11 and 3.12 hang when these end; with `import hashlib`, 3.12.1 aborts.  What CPython itself cannot do there is
left out: an isolated interpreter may not start processes (measure_compression with isolate=True).
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from compilers import ROOT

PREAMBLE = """
import os, sys, threading

if sys.version_info >= (3, 13):
    import _interpreters as interpreters
    def create():
        return interpreters.create("isolated")
    def run(interpreter, code):
        failed = interpreters.exec(interpreter, code)
        assert failed is None, failed
else:
    import _xxsubinterpreters as interpreters
    def create():
        return interpreters.create(isolated=True)  # from 3.12 with its own GIL
    def run(interpreter, code):
        interpreters.run_string(interpreter, code)
"""

SCRIPT = """
USE = '''
import sys
sys.path[:0] = PATH
before = set(sys.modules)
import perfsuite
import perfsuite._core as core

histogram = perfsuite.Histogram()
for i in range(3000):
    histogram.record(i * 0.25)
histogram.record_many([float(i) for i in range(5000)])
assert histogram == perfsuite.Histogram.from_bytes(histogram.to_bytes())
assert (histogram + histogram).count == 16000
assert sum(memoryview(histogram)) + histogram.zeros == 8000
watch = perfsuite.Stopwatch(histogram)
watch.start()
watch.stop()

cache = core.LRUCache(2)
for i in range(5):
    cache[i] = str(i)
assert list(cache) == [3, 4]
bucket = perfsuite.TokenBucket(0, 3)
assert [bucket.try_acquire() for _ in range(4)] == [True] * 3 + [False]
assert list(core.Arrivals("constant", 10.0).take(2)) == [0, 100_000_000]
limiter = perfsuite.RateLimiter(0, 1, 3)
assert [limiter.allow(key) for key in (1, "1", (1,), 1, 2)] == [True] * 3 + [False] * 2
cycle = core.LRUCache(2, lambda key, value: cycle)
cycle["self"] = [cycle, iter(cycle), cycle.keys(), cycle.values(), cycle.items()]
vectors = core.VectorStore(3)
for i in range(9):
    vectors.put(bytes([i] * 16), [float(i), 1.0], i)
view = vectors.get(bytes([8] * 16))
del vectors
assert list(view) == [8.0, 1.0]
events = core.Events(start_ns=0, raw=True)
for i in range(50):
    row = events.begin(i)
    row.sent(i)
    row.token(at_ns=i + 1_000_000)
    row.end(at_ns=i + 2_000_000)
left = events.begin(99)
left.sent(99)
assert (events.completed, events.in_flight) == (50, 1)
assert events.histogram("ttft").count == 50
messages = [{"role": "user", "content": str(i)} for i in range(99)]
assert perfsuite.trim(messages, perfsuite.TrimPolicy(5)).removed > 0
assert perfsuite.text_preservation("a b", "a b").rouge1 == 1.0
messages = [{"role": "user", "content": str(i)} for i in range(99)]
assert perfsuite.trim(messages, perfsuite.TrimPolicy(max_tokens=10), len).tokens_after == 10
parser = core.StreamParser()
assert [parser.feed(b"data: x" + bytes([10, 10]), at) for at in (1, 2)] == [1, 1]
assert parser.take() == [(1, "message", b"x"), (2, "message", b"x")]
report = perfsuite.measure_compression("zlib", [b"abc" * 99], 2, 0)
assert report.factor > 1
embeddings = perfsuite.EmbeddingCache(OUTPUT + ".vectors")
for i in range(9):
    embeddings.put(str(i), [float(i), 1.0])
assert list(embeddings.get("8")) == [8.0, 1.0]
embeddings.save()
assert list(perfsuite.EmbeddingCache(OUTPUT + ".vectors").get("7")) == [7.0, 1.0]
assert not {"threading", "hashlib"} & (set(sys.modules) - before), "would hang or abort other versions"
import zlib
assert core.measure_codec(zlib.compress, zlib.decompress, (b"abc",), 2, 0, 0)[4:] == (set(), {})
assert perfsuite.stats.bootstrap_mean([1.0, 2.0, 3.0], resamples=50).estimate == 2.0

ours = [value for value in vars(core).values() if isinstance(value, type)]
assert len(ours) >= 5
with open(OUTPUT, "w") as file:
    print(id(int), *map(id, ours), file=file)
'''

PATH, FOLDER = [path for path in sys.path if path], sys.argv[1]

def use(name):
    return USE.replace("PATH", repr(PATH)).replace("OUTPUT", repr(os.path.join(FOLDER, name)))

def ids(name):
    with open(os.path.join(FOLDER, name)) as file:
        return [int(word) for word in file.read().split()]

exec(use("main"), {})
interpreters_made = [create() for _ in range(3)]
problems = []

def work(interpreter, name):
    try:
        for _ in range(3):
            run(interpreter, use(name))
    except BaseException as error:
        problems.append(error)

threads = [threading.Thread(target=work, args=(made, f"sub{i}")) for i, made in enumerate(interpreters_made)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not problems, problems

seen = [ids(name) for name in ("main", "sub0", "sub1", "sub2")]
assert len({row[0] for row in seen}) == 1, "int is static: the check below would see a shared type"
types = [identity for row in seen for identity in row[1:]]
assert len(set(types)) == len(types), "two interpreters share a type"

interpreters.destroy(interpreters_made.pop())
exec(use("main"), {})
run(interpreters_made[0], use("sub0"))
for _ in range(5):  # made and ended again and again
    interpreter = create()
    run(interpreter, use("again"))
    interpreters.destroy(interpreter)
for interpreter in interpreters_made:
    interpreters.destroy(interpreter)
exec(use("main"), {})
print("done")
"""


COME_AND_GO = """
CODE = f"import sys; sys.path[:0] = {sys.path!r}; import perfsuite; perfsuite.EmbeddingCache().put('text', [1.0])"

def come_and_go():
    for _ in range(8):
        interpreter = create()
        run(interpreter, CODE)
        interpreters.destroy(interpreter)

threads = [threading.Thread(target=come_and_go) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


@pytest.mark.parametrize("script", [SCRIPT, COME_AND_GO], ids=["use", "come and go"])
def test_several_interpreters(script: str, tmp_path: object) -> None:
    """Used by several at once; and made and ended by several threads, with nothing used before in the main one: what
    CPython 3.12 shares between interpreters by mistake is freed by the one that used it first."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PREAMBLE + script, str(tmp_path)], text=True,
                          capture_output=True, check=False, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "python")})  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.endswith("done\n")
