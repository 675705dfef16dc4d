"""What a load's own histograms and windows hold at a moment, as numbers for the charts.

It costs the same however long the load runs: the latest windows only, at most 64 slices of time, a few quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfsuite.suites.session import Stretch

SECONDS = 300
"""As many of the latest windows are shown."""
SHOWN = ("response_time", "ttft", "itl", "tpot", "max_gap", "output_tokens_per_s", "lateness")
CURVES = ("response_time", "ttft", "itl")
QUANTILES = (0.5, 0.95, 0.99)
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.99999)
RATE_WINDOWS = 5
"""The rate that is told is of so many of the latest whole windows."""

Column = list[float | None]
Picture = dict[str, object]


def picture(stretch: Stretch) -> Picture:
    """A stretch as it is now; see ``page`` for what becomes of each part."""
    events = stretch.events
    windows = events.windows(SECONDS)
    window_s = events.window_s
    return {
        "stretch": stretch.name,
        "asked": str(stretch.spec),
        "warming": events.started == 0 and events.warmup > 0,
        "counts": {
            "sent": events.started + events.warmup,
            "completed": events.completed,
            "failed": events.failed,
            "in flight": events.in_flight,
            "waiting": events.waiting,
        },
        "errors": dict(events.errors),
        "rate": rate(windows["finished"], window_s),
        "requests": {
            "t_s": windows["t_s"],
            **{name: [value / window_s for value in windows[name]] for name in ("due", "ok", "failed", "over_limit")},
        },
        "by_second": {
            "t_s": windows["t_s"],
            "mean": [total / ok if ok else None for total, ok in zip(windows["sum_ms"], windows["ok"], strict=True)],
            "longest": [most if ok else None for most, ok in zip(windows["max_ms"], windows["ok"], strict=True)],
        },
        "quantiles": _slices(stretch),
        "distribution": _curves(stretch),
        "table": _table(stretch),
    }


def rate(finished: Sequence[float], window_s: float) -> float | None:
    """Requests a second that came to an end lately, by window; None before the first whole one."""
    whole = finished[-RATE_WINDOWS - 1 : -1]
    return sum(whole) / (len(whole) * window_s) if whole else None


def _slices(stretch: Stretch) -> dict[str, Column]:
    """Quantiles of the response time in consecutive slices of the whole stretch."""
    events = stretch.events
    found = [block.quantiles(QUANTILES) for block in events.blocks("response_time")]
    columns: dict[str, Column] = {"t_s": list(events.block_times("response_time"))}
    for i, q in enumerate(QUANTILES):
        columns[f"p{q * 100:g}"] = [values[i] for values in found]
    return columns


def _curves(stretch: Stretch) -> dict[str, Column]:
    """The values at LEVELS, as far as the samples reach, by 1 / (1 - level)."""
    columns: dict[str, Column] = {"spread": [1.0 / (1.0 - q) for q in LEVELS]}
    for name in CURVES:
        histogram = stretch.events.histogram(name)
        count = histogram.count
        values = histogram.quantiles(LEVELS) if count else [0.0] * len(LEVELS)
        reached = (count and (q <= 0.5 or (1.0 - q) * count >= 1.0) for q in LEVELS)
        columns[name] = [value if there else None for value, there in zip(values, reached, strict=True)]
    return columns


def _table(stretch: Stretch) -> list[list[float | str]]:
    """Metric, samples, mean, p50, p95, p99 and largest, of those that have samples."""
    rows: list[list[float | str]] = []
    for name in SHOWN:
        histogram = stretch.events.histogram(name)
        if histogram.count:
            rows.append([name, histogram.count, histogram.mean, *histogram.quantiles(QUANTILES), histogram.max])
    return rows
