"""What a driven stretch of load shows: evidence for every streamed metric, and how many of its seconds were good."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest

from perfsuite import stats
from perfsuite._core import Histogram
from perfsuite.evidence import Estimate, Evidence, Exact, NotMeasured, Samples, Share
from perfsuite.metric import catalogue, streamed
from perfsuite.suites.session import Stretch

COUNTED = ("prompt_tokens", "completion_tokens", "output_tokens_per_s", "tpot")
"""Metrics that rest on counts of tokens: they say whose."""

STALL_MS = 100.0
STALL_MEDIANS = 5.0
"""A gap is a stall when it is longer than the one and than so many median gaps: a slow stream is no stalled one."""

ENOUGH_SECONDS = 10
"""From so many on, goodput's interval is what its seconds differ by."""
SHORTEST_SECOND = 0.25
"""A window of which less was measured has no rate of its own: one response in a moment would be many a second."""

KEPT_OVER_TIME = ("response_time", "service_time", "ttft", "answer_ttft", "itl", "tpot", "max_gap")
"""Metrics whose distribution is kept by slices of time: what a heat map shows."""

NONE_SEEN = {"answer_ttft": "no reasoning or tool tokens came before the visible answer; ttft is its time"}


def samples(stretch: Stretch, name: str) -> Evidence:
    """The evidence of one of the events' histograms; failed requests count as slower than any answer."""
    events = stretch.events
    histogram = events.histogram(name)
    failed = events.failed if catalogue()[name].failures_slower else 0
    if histogram.count == 0 and not failed:
        return NotMeasured(NONE_SEEN.get(name, "no request gave one"))
    return Samples(
        histogram=histogram,
        blocks=events.blocks(name),
        block_times=events.block_times(name) if name in KEPT_OVER_TIME else (),
        failed=failed,
        longest_wait=events.longest_wait_ms,
        series=mean_series(stretch) if name == "response_time" else sliced_series(stretch, name),
    )


def sliced_series(stretch: Stretch, name: str) -> list[tuple[float, float]]:
    """The mean of a metric in consecutive slices of time, by where each begins."""
    events = stretch.events
    return [
        (t_s, block.mean)
        for t_s, block in zip(events.block_times(name), events.blocks(name), strict=True)
        if block.count
    ]


def mean_series(stretch: Stretch) -> list[tuple[float, float]]:
    """Mean response time by second of due."""
    windows = stretch.events.windows()
    return [
        (t_s, total / ok) for t_s, total, ok in zip(windows["t_s"], windows["sum_ms"], windows["ok"], strict=True) if ok
    ]


def chunk_series(stretch: Stretch) -> list[tuple[float, float]]:
    """Visible tokens to a chunk by second of due."""
    windows = stretch.events.windows()
    rows = zip(windows["t_s"], windows["visible_tokens"], windows["visible_chunks"], strict=True)
    return [(t_s, tokens / chunks) for t_s, tokens, chunks in rows if chunks]


def streaming_evidence(stretch: Stretch) -> dict[str, Evidence]:
    """What a driven stretch shows of the streamed metrics."""
    events = stretch.events
    errors = error_rate(stretch)
    if isinstance(errors, NotMeasured):
        return dict.fromkeys(streamed(), errors)
    found: dict[str, Evidence] = {
        name: samples(stretch, name) for name in streamed() if catalogue()[name].kind == "histogram"
    }
    if stretch.counted_by:
        counted = {"counted_by": ", ".join(sorted(stretch.counted_by))}
        for name in COUNTED:
            one = found.get(name)
            if isinstance(one, Samples):
                found[name] = replace(one, details={**one.details, **counted})
    ttft = found.get("ttft")
    if stretch.times and isinstance(ttft, Samples):
        found["ttft"] = replace(ttft, details={**ttft.details, **further_times(stretch)})
    found["error_rate"] = errors
    found["goodput"] = goodput(stretch)
    found["stalls"] = stalls(stretch)
    if events.tokens_per_chunk is not None:
        found["tokens_per_chunk"] = Exact(
            value=events.tokens_per_chunk, samples=events.chunks, series=chunk_series(stretch)
        )
    else:
        found["tokens_per_chunk"] = NotMeasured("no content chunk was seen")
    return found


def further_times(stretch: Stretch) -> dict[str, object]:
    """What the replies tell of their times beside the tokens' (``first_audio_ms``): from the send, warm-up included."""
    return {
        f"{name}_ms": {
            "samples": one.count,
            "mean": one.mean,
            "p50": one.quantile(0.5),
            "p95": one.quantile(0.95),
            "max": one.max,
        }
        for name, one in sorted(stretch.times.items())
    }


def error_rate(stretch: Stretch) -> Share | NotMeasured:
    """Failed requests over all that ended; each second is a cluster."""
    events = stretch.events
    ended = events.completed + events.failed
    if not ended:
        return NotMeasured("no request ended in the measured time")
    windows = events.windows()
    by_second = [(failed, failed + ok) for failed, ok in zip(windows["failed"], windows["ok"], strict=True)]
    return Share(
        hits=events.failed,
        trials=ended,
        clusters=[pair for pair in by_second if pair[1]],
        series=[(t_s, failed / of) for t_s, (failed, of) in zip(windows["t_s"], by_second, strict=True) if of],
        details={"kinds": dict(events.errors)},
    )


def stalls(stretch: Stretch) -> Evidence:
    """How many gaps between content chunks were stalls: see STALL_MS."""
    gaps = stretch.events.histogram("itl")
    if not gaps.count:
        return NotMeasured("no response came in two content chunks or more")
    limit = max(STALL_MS, STALL_MEDIANS * gaps.quantile(0.5))
    events = stretch.events
    series = [
        (t_s, float(longer(block, limit)))
        for t_s, block in zip(events.block_times("itl"), events.blocks("itl"), strict=True)
    ]
    details = {"longer_than_ms": limit, "longest_ms": gaps.max, "responses": stretch.events.histogram("max_gap").count}
    return Exact(value=float(longer(gaps, limit)), samples=gaps.count, series=series, details=details)


def longer(gaps: Histogram, limit_ms: float) -> int:
    """How many of the gaps."""
    return sum(number for low, high, number in gaps.buckets() if (low + high) / 2 > limit_ms)


def goodput(stretch: Stretch) -> Evidence:
    """Responses a second that met all of the phase's objectives."""
    if not stretch.objectives:
        names = ", ".join(name for name, row in catalogue().items() if row.objective)
        return NotMeasured(f"the phase states no objective on any of {names}")
    measured_s = stretch.measured_s
    if measured_s <= 0.0:
        return NotMeasured("no time was measured")
    good = stretch.events.good
    rate = good / measured_s
    rows = good_by_second(stretch)
    if len(rows) >= ENOUGH_SECONDS:
        found = stats.block_interval([count for _, count, _ in rows], [length for _, _, length in rows])
        low, high = found.low - found.estimate + rate, found.high - found.estimate + rate
    else:  # too few to tell how much they differ: as a Poisson count would
        spread = 1.96 * math.sqrt(good) / measured_s
        low, high = rate - spread, rate + spread
    return Estimate(
        value=rate,
        low=max(0.0, low),
        high=high,
        samples=good,
        series=[
            (t_s, count / length) for t_s, count, length in rows if length >= SHORTEST_SECOND * stretch.events.window_s
        ],
        details={"objectives_ms": stretch.objectives},
    )


def good_by_second(stretch: Stretch) -> list[tuple[float, float, float]]:
    """(t_s, good responses, seconds) of each window by due second, as far as it was measured: the warm-up ends in one,
    the load in another.  Seconds that nothing came in are there too, once the load is over."""
    events = stretch.events
    begin = events.warmup_ns / 1e9
    end = begin + stretch.measured_s
    counts = events.windows()["good"]
    width_s = events.window_s
    number = max(len(counts), math.ceil(end / width_s) if stretch.delivered is not None else 0)
    spans = []
    for t_s, count in zip_longest((k * width_s for k in range(number)), counts, fillvalue=0.0):
        since = max(t_s, begin)
        spans.append((since, float(count), min(t_s + width_s, end) - since))
    return [span for span in spans if span[2] > 0.0]


def good_windows(stretches: Iterable[Stretch]) -> Evidence:
    """system_stability of one or more stretches: data/metrics.toml says what makes a window good."""
    hits = trials = 0
    series: list[tuple[float, float]] = []
    began_ns: int | None = None
    for stretch in stretches:
        windows = stretch.events.windows()
        began_ns = stretch.events.start_ns if began_ns is None else began_ns
        offset = (stretch.events.start_ns - began_ns) / 1e9
        rows = zip(
            windows["t_s"],
            windows["due"],
            windows["ok"],
            windows["failed"],
            windows["over_limit"],
            windows["finished"],
            windows["waiting"],
            windows["warmup"],
            strict=True,
        )
        for t_s, due, ok, failed, over_limit, finished, waiting, warmup in rows:
            if warmup or (not due and not waiting):
                continue  # of the warm-up, or nothing was asked of it
            ended = ok + failed
            few_failed = failed <= max(1.0, 0.01 * ended)
            in_time = over_limit <= 0.01 * ended
            good = few_failed and in_time and finished > 0
            hits += good
            trials += 1
            series.append((offset + t_s, float(good)))
    if not trials:
        return NotMeasured("no full second was measured")
    return Share(hits=hits, trials=trials, series=series)
