"""A benchmark of a coroutine function times nothing, and says so; beside every plug-in that it may meet."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from plugged import MODULES, run

BENCHMARKS = """
import functools
import pytest

async def fetch():
    pass

async def stream():
    yield 1

class Client:
    async def __call__(self):
        pass

    async def get(self):
        pass

def test_plain(benchmark):
    assert benchmark(sum, [1, 2]) == 3

def test_rounds(benchmark):
    assert benchmark.pedantic(sum, args=([1, 2],), rounds=2) == 3

def test_function(benchmark):
    benchmark(fetch)

def test_swallowed(benchmark):
    try:
        benchmark(fetch)
    except Exception:
        pass

def test_bound(benchmark):
    benchmark(Client().get)

def test_callable(benchmark):
    benchmark(Client())

def test_partial(benchmark):
    benchmark(functools.partial(functools.partial(fetch)))

def test_generator(benchmark):
    benchmark(stream)

def test_lambda(benchmark):
    benchmark.pedantic(lambda: fetch(), rounds=2)

def test_pedantic(benchmark):
    benchmark.pedantic(fetch, rounds=2)

def test_decorated(benchmark):
    @benchmark
    async def inner():
        pass

def test_forgotten(benchmark):
    benchmark.pedantic(lambda: [fetch()] and None, rounds=2)

@pytest.mark.filterwarnings("ignore")
def test_forgotten_and_ignored(benchmark):
    benchmark.pedantic(lambda: [fetch()] and None, rounds=2)

def test_own_error(benchmark):
    benchmark(lambda: 1 / 0)
"""
SOUND = {"test_plain", "test_rounds"}
ASYNC = """
import asyncio
import pytest

async def fetch(x=1):
    await asyncio.sleep(0)
    return x
{mark}
async def test_timed(perf_async):
    loop = asyncio.get_running_loop()
    for _ in range(20):
        assert await perf_async.time(fetch, 3) == 3
    assert perf_async.histogram.count == 20
    assert asyncio.get_running_loop() is loop
    perf_async.check(max_s=3600)
{mark}
async def test_of_a_future(perf_async):
    assert await perf_async.time(lambda: asyncio.ensure_future(fetch(4))) == 4
{mark}
async def test_forgotten(perf_async):
    perf_async.time(fetch)
{mark}
async def test_forgotten_by_itself(perf_async):
    await perf_async.time(fetch)
    fetch()
{mark}
async def test_not_awaitable(perf_async):
    await perf_async.time(len, "abc")
{mark}
async def test_raising(perf_async):
    async def broken():
        raise KeyError("x")
    with pytest.raises(KeyError):
        await perf_async.time(broken)
    assert perf_async.histogram.count == 0
{mark}
async def test_benchmark(benchmark):
    benchmark(fetch)
{mark}
async def test_target(chat_target):
    answers = await asyncio.gather(*(chat_target.aask("hello", conversation=str(n)) for n in range(3)))
    assert all(answer.text for answer in answers)
    assert chat_target.response_time.count == 3

def test_in_a_plain_test(perf_async):
    async def main():
        return await perf_async.time(fetch)
    asyncio.run(main())
    perf_async.check(max_s=3600)
"""


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if find_spec(MODULES[name].partition(".")[0]) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.mark.parametrize(
    ("plugins", "options"),
    [
        pytest.param(("benchmark",), (), id="pytest-benchmark"),
        pytest.param(("benchmark",), ("--benchmark-disable",), id="switched off"),
        pytest.param(("benchmark", "xdist"), ("-n", "1"), id="xdist", marks=needs("xdist")),
        pytest.param(("codspeed",), ("--codspeed",), id="codspeed", marks=needs("codspeed")),
        pytest.param(("benchmark", "codspeed"), (), id="codspeed switched off", marks=needs("codspeed")),
        pytest.param(("benchmark", "codspeed"), ("--codspeed",), id="both", marks=needs("codspeed")),
    ],
)
def test_a_benchmark_of_a_coroutine_fails(plugins: tuple[str, ...], options: tuple[str, ...], tmp_path: Path) -> None:
    quick = ("--benchmark-max-time", "0.01", "--benchmark-min-rounds", "2") if "benchmark" in plugins else ()
    done = run(tmp_path, BENCHMARKS, *quick, *options, plugins=(*plugins, "perfsuite"))
    assert {name for name, (outcome, _) in done.outcomes.items() if outcome == "PASSED"} == SOUND, done.out
    caught = {name for name, (_, why) in done.outcomes.items() if "perf_async" in why}
    assert caught == done.outcomes.keys() - SOUND - {"test_own_error"}, done.out
    assert "ZeroDivisionError" in done.why("test_own_error")
    assert "PluginValidationError" not in done.out
    assert "INTERNALERROR" not in done.out


def test_without_the_plugin_it_passes(tmp_path: Path) -> None:
    """What this is about, and that it is the plug-in that finds it."""
    done = run(tmp_path, BENCHMARKS, "--benchmark-disable", plugins=("benchmark",))
    assert [done.of(name) for name in ("test_function", "test_lambda", "test_pedantic")] == ["PASSED"] * 3


def test_a_fixture_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    text = """
import asyncio
import pytest

@pytest.fixture
def benchmark():
    class Own:
        def __call__(self, function):
            return asyncio.run(function())
        pedantic = __call__
    return Own()

async def fetch():
    return 3

def test_own(benchmark):
    assert benchmark(fetch) == 3
    assert type(benchmark).__name__ == "Own"
"""
    assert run(tmp_path, text).of("test_own") == "PASSED"


def test_there_need_be_no_benchmark(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_one(perf):\n    perf.time(len, 'a')\ndef test_two(benchmark):\n    pass\n")
    assert done.of("test_one") == "PASSED"
    assert done.of("test_two") == "ERROR"
    assert "fixture 'benchmark' not found" in done.out


@needs("asyncio")
@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_async_tests(mode: str, tmp_path: Path) -> None:
    text = ASYNC.format(mark="@pytest.mark.asyncio" if mode == "strict" else "")
    ini = f"asyncio_mode = {mode}\nasyncio_default_fixture_loop_scope = function"
    done = run(tmp_path, text, plugins=("benchmark", "asyncio", "perfsuite"), ini=ini)
    passed = {"test_timed", "test_of_a_future", "test_raising", "test_target", "test_in_a_plain_test"}
    assert {name for name, (outcome, _) in done.outcomes.items() if outcome == "PASSED"} == passed, done.out
    assert "perf_async.time(fetch) was never awaited" in done.why("test_forgotten")
    assert "made and never awaited, so that nothing of it ran: fetch" in done.why("test_forgotten_by_itself")
    assert "a plain function is timed by perf.time" in done.why("test_not_awaitable")
    assert "would time nothing" in done.why("test_benchmark")
    assert "Event loop is closed" not in done.out
