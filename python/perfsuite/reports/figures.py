"""How figures and foreign text look in every report: one place for units, digits and what may not be printed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from perfsuite.result import MetricResult

_SCALES: dict[str, tuple[tuple[float, float, str], ...]] = {
    # the least size from which a scale is used, what it divides by, its name
    "ms": (
        (3.6e6, 3.6e6, "h"), (120e3, 60e3, "min"), (999.5, 1e3, "s"), (0.9995, 1.0, "ms"), (9.995e-4, 1e-3, "µs"),
        (0.0, 1e-6, "ns"),
    ),
    "bytes": (
        (2.0**40, 2.0**40, "TiB"), (2.0**30, 2.0**30, "GiB"), (2.0**20, 2.0**20, "MiB"), (2.0**10, 2.0**10, "KiB"),
        (0.0, 1.0, "B"),
    ),
    "ratio": ((0.0, 0.01, "%"),),
    "1/s": ((0.0, 1.0, "/s"),),
    "count": ((0.0, 1.0, ""),),
}  # fmt: skip


LARGER = 8.0
"""An interval that reaches so many times further than the value chooses the unit for both."""


class Shown(NamedTuple):
    """A metric as text: the value with its unit, and everything else in that same unit without repeating it."""

    name: str
    value: str
    interval: str
    error: str
    target: str
    verdict: str


def scale(value: float, unit: str) -> tuple[float, str]:
    """What to divide by and the unit's name so that ``value`` reads well."""
    scales = _SCALES.get(unit)
    if scales is None:
        return 1.0, printable(unit)
    size = abs(value)
    if size == 0.0 or not math.isfinite(size):
        return (1.0, "ms") if unit == "ms" else scales[-1][1:]
    return next((divisor, name) for least, divisor, name in scales if size >= least)


def number(value: float | None, digits: int = 3) -> str:
    """``value`` with that many significant digits and no exponent; ∞ for what has no bound, – for nothing."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0.0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    if places > 6:
        return f"{value:.{digits - 1}e}"
    text = f"{value:.{places}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{int(text):,}" if abs(value) >= 10_000 else text


def figure(value: float | None, unit: str, digits: int = 3) -> str:
    """``value`` with its unit: ``431 ms``, ``2.1 s``, ``14 GiB``, ``0.7 %``."""
    if value is None or math.isnan(value):
        return "–"
    divisor, name = scale(value, unit)
    return f"{number(value / divisor, digits)} {name}".rstrip()


def goal(value: float, unit: str) -> str:
    """A target with its unit, as it was written: sizes that are round in decimal units stay so (100 MB)."""
    if unit == "bytes" and value % 2**20:
        for size, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if value >= size and value % (size / 10) == 0:
                return f"{number(value / size, 4)} {name}"
    return figure(value, unit, 4)


def shown(m: MetricResult) -> Shown:
    """A metric for a row of a table."""
    bounds = [abs(bound) for bound in m.interval or () if bound is not None and math.isfinite(bound)]
    reference = m.value if m.value is not None else m.target if m.target is not None else 0.0
    if bounds and max(bounds) > LARGER * abs(reference):
        reference = max(bounds)  # a slope near zero, say: its interval is what there is to read
    divisor, name = scale(reference, m.unit)

    def scaled(value: float | None) -> str:
        # Shares keep a digit more: 99.97 % is not 100 %.
        return number(None if value is None else value / divisor, 4 if m.unit == "ratio" else 3)

    value = interval = ""
    if m.value is not None:
        value = f"{'> ' if m.censored else ''}{scaled(m.value)} {name}".rstrip()
        if m.interval is not None and tuple(m.interval) != (m.value, m.value):
            low, high = m.interval
            # An open side reads as ∞; of a value among the failures nothing but "longer than anyone waited" is known.
            interval = f"[{scaled(-math.inf if low is None else low)}–{scaled(math.inf if high is None else high)}]"
            interval = "" if m.censored and low in (None, math.inf) else interval
    error = f"±{scaled(m.measurement_error)}" if m.measurement_error else ""
    target = f"{m.comparison} {goal(m.target, m.unit)}" if m.target is not None else ""
    verdict = m.verdict if not m.reason else f"{m.verdict}: {printable(m.reason)}"
    return Shown(label(m), value, interval, error, target, verdict)


def label(m: MetricResult) -> str:
    """The metric's name with the statistic that is judged."""
    return printable(m.name if m.stat == "value" else f"{m.name} {m.stat}")


def printable(text: str, longest: int = 500) -> str:
    """Foreign text on one line, without anything that steers a terminal or turns the reading direction."""
    text = " ".join(text.split())
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
