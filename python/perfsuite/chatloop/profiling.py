"""Where the time of some code goes: a table of its functions, and a flame graph of its stacks.

``call_profile`` is cProfile's: every call is counted, and calls look dearer than they are; since CPython 3.12 it hears
all threads of the process, whose calls mix into one stack.  ``stack_samples`` looks at the running thread from another
one a thousand times a second: it costs little and shows what is slow inside, but misses what is rare, and sees C only
as the Python that called it.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from types import FrameType

from perfsuite.units import figure

DEEPEST = 100
"""Frames of a sampled stack; the outermost go."""
MOST_STACKS = 20_000
"""Different stacks that are kept; further ones are counted as the function that they end in."""
INTERVAL_S = 0.001


@dataclass(frozen=True, slots=True)
class FunctionTime:
    """A function in a table: ``own_ms`` without, ``total_ms`` with what it called."""

    name: str
    where: str
    calls: int
    own_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class Stacks:
    """How often each stack was seen, outermost function first; ``elapsed_s`` of looking."""

    counts: dict[tuple[str, ...], int]
    elapsed_s: float

    @property
    def samples(self) -> int:
        """In all."""
        return sum(self.counts.values())

    def share(self, name: str) -> float:
        """Of the samples, those in which a function of that name was running or had called what was."""
        seen = sum(count for stack, count in self.counts.items() if any(one.split(" ", 1)[0] == name for one in stack))
        return seen / self.samples if self.samples else 0.0

    def folded(self) -> str:
        """In Brendan Gregg's form, a line for each stack, for other tools."""
        return "".join(f"{';'.join(stack)} {count}\n" for stack, count in sorted(self.counts.items()))


def call_profile(work: Callable[[], object], most: int = 20) -> list[FunctionTime]:
    """Runs the work under cProfile; the functions by cumulative time, the dearest first."""
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        work()
    finally:
        profiler.disable()
    rows = []
    for (file, line, name), (_, calls, own_s, total_s, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if "_lsprof" not in name:
            rows.append(FunctionTime(name, f"{file}:{line}" if line else file, calls, 1e3 * own_s, 1e3 * total_s))
    return sorted(rows, key=lambda row: -row.total_ms)[:most]


def stack_samples(work: Callable[[], object], interval_s: float = INTERVAL_S) -> Stacks:
    """Runs the work and looks at its stack meanwhile."""
    counts: Counter[tuple[str, ...]] = Counter()
    thread = threading.get_ident()
    outer = len(_stack(sys._getframe()))
    done = threading.Event()

    def look() -> None:
        while not done.wait(interval_s):
            frame = sys._current_frames().get(thread)
            stack = _stack(frame)[outer:]
            del frame
            if stack:
                counts[stack if stack in counts or len(counts) < MOST_STACKS else stack[-1:]] += 1

    before = sys.getswitchinterval()
    sampler = threading.Thread(target=look, name="perfsuite-profile", daemon=True)
    began = time.monotonic()
    sys.setswitchinterval(min(before, interval_s / 2))  # else the sampler waits five milliseconds for each look
    sampler.start()
    try:
        work()
    finally:
        done.set()
        sampler.join()
        sys.setswitchinterval(before)
    return Stacks(dict(counts), time.monotonic() - began)


def _stack(frame: FrameType | None) -> tuple[str, ...]:
    names: list[str] = []
    while frame is not None:
        code = frame.f_code
        names.append(f"{code.co_qualname} ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})")
        frame = frame.f_back
    return tuple(reversed(names[:DEEPEST]))


def table(rows: Iterable[FunctionTime]) -> str:
    """For a terminal."""
    lines = [f"{'calls':>10}  {'own':>10}  {'with what it called':>20}  function"]
    for row in rows:
        own, total = figure(row.own_ms, "ms"), figure(row.total_ms, "ms")
        lines.append(f"{row.calls:>10,}  {own:>10}  {total:>20}  {row.name}  {row.where}")
    return "\n".join(lines)


# ── the flame graph ───────────────────────────────────────────────────────────────────────────────────────────────────

WIDTH, ROW, LEAST = 1200.0, 18.0, 0.5
"""Pixels: of all samples, of a row; narrower boxes are left out."""


@dataclass(slots=True)
class _Box:
    name: str
    count: int
    children: dict[str, _Box]


def flame_graph(stacks: Stacks, title: str = "Where the time goes") -> str:
    """An SVG that needs nothing else: a box for each function in its callers, as wide as it was seen; its text on
    hovering."""
    root = _Box("all", stacks.samples, {})
    for stack, count in stacks.counts.items():
        box = root
        for name in stack:
            box = box.children.setdefault(name, _Box(name, 0, {}))
            box.count += count
    boxes: list[str] = []
    depth = _draw(root, 0.0, 0, max(1, root.count), boxes)
    height = (depth + 1) * ROW + 40
    said = f"{escape(title)}: {stacks.samples:,} samples in {figure(stacks.elapsed_s, 's')}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" font-family="monospace" '
        f'font-size="11" role="img" aria-label="{escape(title)}">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n<text x="8" y="18">{said}</text>\n'
        + "\n".join(boxes)
        + "\n</svg>\n"
    )


def _draw(box: _Box, left: float, depth: int, whole: int, boxes: list[str]) -> int:
    """Adds the box and what is in it; how deep that goes."""
    width = WIDTH * box.count / whole
    if width < LEAST:
        return depth
    top = 30 + depth * ROW
    shown = box.name if len(box.name) * 6.7 < width else box.name[: max(0, int(width / 6.7) - 1)]
    hue = 20 + sum(map(ord, box.name)) % 40
    boxes.append(
        f'<g><title>{escape(box.name)}: {box.count:,} samples, {box.count / whole:.1%}</title><rect x="{left:.1f}" '
        f'y="{top:.0f}" width="{width:.1f}" height="{ROW - 1:.0f}" fill="hsl({hue} 80% 72%)"/>'
        f'<text x="{left + 3:.1f}" y="{top + 13:.0f}">{escape(shown)}</text></g>'
    )
    deepest = depth
    for child in _by_name(box.children.values()):
        deepest = max(deepest, _draw(child, left, depth + 1, whole, boxes))
        left += WIDTH * child.count / whole
    return deepest


def _by_name(boxes: Iterable[_Box]) -> Sequence[_Box]:
    return sorted(boxes, key=lambda box: box.name)
