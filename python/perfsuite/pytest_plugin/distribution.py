"""A distribution as bars of text, for whatever terminal there is."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perfsuite.units import figure, number

if TYPE_CHECKING:
    from perfsuite._core import Histogram

ROWS = 10
NARROWEST = 24
WIDEST = 60
EIGHTHS = " ▏▎▍▌▋▊▉█"
PLAIN = str.maketrans({"µ": "u", "∞": "inf", "–": "-", "≤": "<", "…": "...", "╌": "-", "±": "+-", "×": "x"})
SHOWN = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def lines(histogram: Histogram, width: int, *, encoding: str = "utf-8", limits: Sequence[float] = ()) -> list[str]:
    """Quantiles and bars of milliseconds, no line longer than ``width`` (24 at least), in characters that ``encoding``
    has; ``limits`` are marked where they lie."""
    if not histogram.count:
        return ["nothing was measured"]
    width = max(NARROWEST, width)
    rich = _holds(encoding)
    texts = [f"{histogram.count:,} samples", f"mean {figure(histogram.mean, 'ms')}"]
    texts += [f"{name} {figure(histogram.quantile(q), 'ms')}" for name, q in SHOWN.items()]
    texts.append(f"max {figure(histogram.max, 'ms')}")
    made = [*_flowed(texts, width), *_bars(histogram, min(width, WIDEST), limits, rich)]
    return [plain(line, encoding) for line in made]


def plain(text: str, encoding: str) -> str:
    """The text in characters that ``encoding`` has."""
    if _holds(encoding):
        return text
    return text.translate(PLAIN).encode("ascii", "backslashreplace").decode("ascii")


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width``, those after the first indented."""
    return textwrap.wrap(text, max(NARROWEST, width), subsequent_indent="  ")


def _holds(encoding: str) -> bool:
    try:
        (EIGHTHS + "µ∞–≤╌").encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _flowed(texts: Sequence[str], width: int) -> list[str]:
    """Texts side by side, as many on a line as go there."""
    made: list[str] = []
    for text in texts:
        if made and len(made[-1]) + 2 + len(text) <= width:
            made[-1] += "  " + text
        else:
            made.append(text)
    return made


def _bars(histogram: Histogram, width: int, limits: Sequence[float], rich: bool) -> list[str]:
    low, high = histogram.min, histogram.max
    edges = _edges(max(low, high * 1e-6), high) if high > low else []
    if not edges:
        return []
    counts = []
    below = 0.0
    for edge in edges[1:]:
        upto = histogram.count * (1.0 if edge == edges[-1] else histogram.cdf(edge))
        counts.append(max(0.0, upto - below))
        below = upto
    labels = [figure(edge, "ms", 2) for edge in edges[1:]]
    column = max(map(len, labels))
    tail = max(len(number(count)) for count in counts)
    room = max(4, width - column - tail - 5)
    most = max(counts)
    made = []
    for at, (label, count) in enumerate(zip(labels, counts, strict=True)):
        bar = _bar(room * count / most, rich).ljust(room)
        made.append(f"≤ {label.rjust(column)} {bar} {number(float(round(count))).rjust(tail)}")
        crossed = [limit for limit in limits if edges[at] <= limit < edges[at + 1]]
        made += [f"╌ {figure(limit, 'ms')} limit" for limit in crossed]
    return made


def _edges(low: float, high: float) -> list[float]:
    """Bounds of ROWS rows: equally wide, or, where the values span more than a decade, by equal factors."""
    if high > 10 * low > 0:
        step = math.log(high / low) / ROWS
        return [low * math.exp(step * at) for at in range(ROWS)] + [high]
    return [low + (high - low) * at / ROWS for at in range(ROWS)] + [high]


def _bar(length: float, rich: bool) -> str:
    if not rich:
        return "#" * round(length) or ("." if length > 0 else "")
    whole, part = divmod(round(length * 8), 8)
    return ("█" * whole + EIGHTHS[part].strip()) or ("▏" if length > 0 else "")
