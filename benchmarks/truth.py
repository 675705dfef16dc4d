"""What the suite reports of systems whose behaviour is known, beside what is so: ``python benchmarks/truth.py``.

    python benchmarks/truth.py [--only quantiles,recall] [--markdown docs/truth.md]

Every row has its error, and whether the interval that was reported has the truth in it.  The systems are made here and
do exactly what they say: so many slots of so long, one call in ten that fails, a kilobyte that stays behind in every
turn.  What rests on clocks is as good as this machine is quiet.  Ends with 1 where a figure is further off than its row
allows.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import perfsuite
from perfsuite._core import Histogram
from perfsuite.result import MetricResult, Result
from perfsuite.stats import quantile_interval
from perfsuite.suites.selfcheck import checking
from perfsuite.units import figure, number

sys.modules.setdefault("truth", sys.modules[__name__])  # the systems below are named as python:truth:…
SEED = 20261122


@dataclass(frozen=True)
class Row:
    """``allowed``: how far off the figure may be, as a share of the truth (of one, where that is a share itself)."""

    what: str
    truth: str
    reported: str
    error: float
    allowed: float
    covered: bool | None = None
    relative: bool = True

    @property
    def good(self) -> bool:
        return abs(self.error) <= self.allowed and self.covered is not False


def row(what: str, truth: float, found: MetricResult | None, allowed: float, *, held: bool = True) -> Row:
    """A metric beside what is so; ``held``: its interval has to have the truth in it."""
    assert found is not None, what
    unit = found.unit
    shown = figure(truth, unit)
    if found.value is None:
        return Row(what, shown, f"not measured: {found.reason}", math.inf, allowed)
    low, high = found.interval or (None, None)
    covered = (low is None or low <= truth) and (high is None or truth <= high) if found.interval else None
    relative = unit != "ratio"
    error = found.value / truth - 1.0 if relative else found.value - truth
    ends = ["∞" if end is None or math.isinf(end) else figure(end, unit) for end in (low or 0.0, high)]
    interval = f" [{ends[0]} to {ends[1]}]" if found.interval else ""
    return Row(what, shown, figure(found.value, unit) + interval, error, allowed, covered if held else None, relative)


def metric(result: Result, name: str, stat: str | None = None) -> MetricResult | None:
    """Of the only phase."""
    (phase,) = result.phases
    return phase.metric(name, stat)


def run(phase: str, target: str, duration: str, **settings: Any) -> Result:
    return perfsuite.run([phase], target=f"python:truth:{target}", duration=duration, seed=SEED, **settings)


# ── systems that are known ────────────────────────────────────────────────────────────────────────────────────────────

SLOTS, SLOT_S = 4, 0.1
FAILS_EVERY = 10
LEAKS_BYTES = 1024
REMEMBERS = 0.75
FIRST_S, GAP_S, TOKENS = 0.04, 0.01, 20
_gates: dict[tuple[int, int], asyncio.Semaphore] = {}
_calls = {"failing": 0}
_kept: list[bytearray] = []
_draw = random.Random(SEED)


def _slots(number: int) -> asyncio.Semaphore:
    return _gates.setdefault((id(asyncio.get_running_loop()), number), asyncio.Semaphore(number))


async def four_slots(messages: list[dict[str, Any]]) -> str:
    """Four at a time, a tenth of a second each."""
    async with _slots(SLOTS):
        await asyncio.sleep(SLOT_S)
    return "ok"


async def one_slow_slot(messages: list[dict[str, Any]]) -> str:
    """One at a time, half a second each."""
    async with _slots(1):
        await asyncio.sleep(0.5)
    return "ok"


async def failing(messages: list[dict[str, Any]]) -> str:
    """Every tenth call raises."""
    _calls["failing"] += 1
    fails = _calls["failing"] % FAILS_EVERY == 0
    await asyncio.sleep(0.002)
    if fails:
        raise RuntimeError("on purpose")
    return "ok"


async def paced(messages: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Twenty tokens, the first after 40 ms, the others every 10 ms, by the clock."""
    began = time.monotonic()
    for token in range(TOKENS):
        await asyncio.sleep(max(0.0, began + FIRST_S + token * GAP_S - time.monotonic()))
        yield "word "


def leaking(messages: list[dict[str, Any]]) -> str:
    """Keeps a kilobyte of every call."""
    _kept.append(bytearray(LEAKS_BYTES))
    return "ok"


def forgetful(messages: list[dict[str, Any]]) -> str:
    """Says all that it was told in this conversation, but in a quarter of its turns nothing."""
    if _draw.random() >= REMEMBERS:
        return "I do not know."
    return "\n".join(message["content"] for message in messages if message["role"] == "user")


class Halving:
    """Makes everything half as large and takes a millisecond of processor time for it, either way."""

    def __init__(self) -> None:
        self._originals: dict[bytes, bytes] = {}

    def compress(self, data: bytes, /) -> bytes:
        until = time.perf_counter_ns() + 1_000_000
        half = bytes(data[: len(data) // 2])
        self._originals[half] = bytes(data)
        while time.perf_counter_ns() < until:
            pass
        return half

    def decompress(self, data: bytes, /) -> bytes:
        until = time.perf_counter_ns() + 1_000_000
        whole = self._originals[bytes(data)]
        while time.perf_counter_ns() < until:
            pass
        return whole


# ── what is held against what ─────────────────────────────────────────────────────────────────────────────────────────


def quantiles() -> Iterator[Row]:
    """A million values of a heavy tail, and how often an interval has what is so."""
    draw = random.Random(SEED)
    values = [draw.lognormvariate(3.0, 1.2) for _ in range(1_000_000)]
    histogram = Histogram()
    histogram.record_many(values)
    values.sort()
    for level in (0.5, 0.95, 0.99, 0.999):
        so, said = values[math.ceil(level * len(values)) - 1], histogram.quantile(level)
        yield Row(f"p{level * 100:g} of 1,000,000 values", figure(so, "ms"), figure(said, "ms"), said / so - 1.0, 0.004)
    p99 = math.exp(3.0 + 1.2 * statistics.NormalDist().inv_cdf(0.99))
    covered = 0
    for _ in range(1000):
        found = quantile_interval([draw.lognormvariate(3.0, 1.2) for _ in range(1000)], 0.99)
        covered += found.low <= p99 <= found.high
    share = covered / 1000
    yield Row("95 % intervals of a p99, n 1,000", "95 % or more", figure(share, "ratio"), min(0.0, share - 0.95), 0.015,
              relative=False)  # fmt: skip


def streams() -> Iterator[Row]:
    """The client against a server that knows when it sent each token."""
    one = checking.Condition(engine="wire", scheme="http", streams=32, tokens_per_chunk=1)
    (check,) = checking.run([one], duration_s=4.0, say=lambda text: None)
    for name, deviation in (("ttft", check.ttft), ("itl", check.itl)):
        assert deviation is not None
        for stat, ms, allowed in (("p50", deviation.p50, 0.5), ("p99", deviation.p99, 5.0)):
            yield Row(f"{name}, error of each ({stat}), 32 streams", "the truth on the wire", f"{ms:.3f} ms off", ms,
                      allowed, relative=False)  # fmt: skip
    yield Row("requests a second, 32 streams", "the truth on the wire", f"{100 * check.rate:+.2f} %", check.rate, 0.02)
    result = run("baseline", "paced", "6s", concurrency=4)
    for name, what, so in (("ttft", "40 ms", 1e3 * FIRST_S), ("tpot", "10 ms a token", 1e3 * GAP_S)):
        found = metric(result, name)
        assert found is not None
        assert found.stats is not None
        assert found.stats.p50 is not None
        said = found.stats.p50
        yield Row(f"{name} p50 of a system of {what}", figure(so, "ms"), figure(said, "ms"), said / so - 1.0, 0.1)
    yield row("tokens of an answer of 20", TOKENS, metric(result, "completion_tokens", "mean"), 0.0)


def loads() -> Iterator[Row]:
    """Slots that are known: how many a second, how long they wait, how many fail."""
    result = run("load", "one_slow_slot", "10s", rate=10.0, arrivals="constant", request_timeout="60s")
    (phase,) = result.phases
    due = [k / 10.0 for k in range(100) if k / 10.0 >= 1.0]  # the first tenth is to warm up
    waits = sorted(1e3 * (0.5 * (10 * at + 1) - at) for at in due)
    middle = waits[math.ceil(0.5 * len(waits)) - 1]
    found = phase.metric("response_time")
    assert found is not None
    assert found.stats is not None
    assert found.stats.p50 is not None
    yield Row("p50 from the schedule: 10 a second, one slot of 500 ms", figure(middle, "ms"),
              figure(found.stats.p50, "ms"), found.stats.p50 / middle - 1.0, 0.05)  # fmt: skip
    result = run("load", "failing", "8s", rate=100.0)
    yield row("failed, of a system that fails one in ten", 1.0 / FAILS_EVERY, metric(result, "error_rate"), 0.01)


def capacity() -> Iterator[Row]:
    """The law through levels of a system of four slots."""
    result = run("capacity", "four_slots", "16s", concurrency=32)
    yield row("peak throughput of four slots of 100 ms", SLOTS / SLOT_S, metric(result, "peak_throughput"), 0.08,
              held=False)  # fmt: skip
    found = metric(result, "capacity_error")
    assert found is not None
    assert found.value is not None
    yield Row("… a level predicted from the others", "0 % off", figure(found.value, "ratio"), found.value, 0.15,
              relative=False)  # fmt: skip


def leaks() -> Iterator[Row]:
    """A kilobyte a call, and bytearray's own head and the list's pointer with it."""
    result = run("chat-loop-leaks", "leaking", "20s", max_requests=3020)
    so = float(sys.getsizeof(bytearray(LEAKS_BYTES)) + 8)
    yield row("bytes that each call leaves behind", so, metric(result, "leak_slope"), 0.1, held=False)


def compression() -> Iterator[Row]:
    """A codec that is known to the byte, and to the millisecond."""
    draw = random.Random(SEED)
    payloads = [draw.randbytes(2000 + 2 * i) for i in range(20)]
    found = perfsuite.measure_compression(Halving(), payloads, repeat=10)
    yield Row("savings of a codec that halves", "50 %", figure(found.ratio, "ratio"), found.ratio - 0.5, 1e-9,
              relative=False)  # fmt: skip
    for name, timing in (("compress", found.compress_ms), ("decompress", found.decompress_ms)):
        yield Row(f"{name} of a codec of 1 ms", "1 ms", figure(timing.median, "ms"), timing.median - 1.0, 0.03)


def recall() -> Iterator[Row]:
    """A system that remembers in three turns of four."""
    result = run("baseline", "forgetful", "6s", metrics="context_preservation", concurrency=4)
    yield row(
        "facts found, of a system that says three of four", REMEMBERS, metric(result, "context_preservation"), 0.1
    )


def regressions() -> Iterator[Row]:
    """``ab`` on simulated runs that vary by 5 %: what is slower by 10 %, and what is not."""
    from detection import WORLDS, by_runs, pairs

    repetitions = 300
    for factor, what, so, wanted, allowed in (
        (1.0, "said to have changed, where nothing did", "0 %", 0.0, 0.02),
        (1.2, "found, of changes by 20 %", "100 %", 1.0, 0.02),
    ):
        said = sum(by_runs(*pairs(WORLDS[0], factor, f"truth {i}")) for i in range(repetitions)) / repetitions
        yield Row(what, so, figure(said, "ratio"), said - wanted, allowed, relative=False)


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    part.__name__: part
    for part in (quantiles, streams, loads, capacity, leaks, compression, recall, regressions)
}  # fmt: skip


def lines(rows: list[Row]) -> Iterator[str]:
    """The table."""
    yield "| what | is | reported | error | interval has it |"
    yield "| --- | --- | --- | --- | --- |"
    for one in rows:
        error = figure(one.error, "ratio") if one.relative else number(one.error)
        mark = "" if one.good else f" **(at most {number(one.allowed)})**"
        covered = {True: "yes", False: "**no**", None: "–"}[one.covered]
        yield f"| {one.what} | {one.truth} | {one.reported} | {error}{mark} | {covered} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"parts: {', '.join(PARTS)}")
    parser.add_argument("--markdown", metavar="FILE", help="write the page there too")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else list(PARTS)
    rows: list[Row] = []
    for name in wanted:
        for one in PARTS[name]():
            rows.append(one)
            print(f"{'ok ' if one.good else 'OFF'} {one.what}: {one.reported}; it is {one.truth}", flush=True)
    page = "\n".join(["# What is so, and what is reported", "", str(__doc__).split("\n\n")[2].replace("\n", " "), "",
                      *lines(rows), ""])  # fmt: skip
    if arguments.markdown:
        Path(arguments.markdown).write_text(page, encoding="utf-8")
    print()
    print("\n".join(lines(rows)))
    return 0 if all(one.good for one in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
