"""Every hot path beside its peers, in one run: ``python benchmarks/peers.py [NAME…] [--markdown]``.

The contenders are those of the ``benchmarks/test_*.py`` files: each function there with ``contenders`` in its name, or
each row of the file's ``PEERS``, is a contest.  The rounds are interleaved, so that a machine that slows down does so
for all; the figure is the minimum of the rounds, the ratio the median of the ratios round by round.  A peer that is not
installed is named.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).resolve().parent
OURS = "perfsuite"
SAMPLE_S = 0.004
ROUNDS = 9
SLOW_S = 0.2
SLOW_ROUNDS = 3


@dataclass
class Contest:
    """One table of the output."""

    name: str
    contenders: dict[str, tuple[Callable[[], object], int]]
    missing: dict[str, str]
    times: dict[str, list[float]] = field(default_factory=dict)

    def run(self) -> None:
        """Times every contender, in turn, round after round; nanoseconds an operation."""
        calls: dict[str, int] = {}
        for label, (call, _) in self.contenders.items():
            call()
            began = time.perf_counter()
            call()
            once = time.perf_counter() - began
            calls[label] = max(1, int(SAMPLE_S / max(once, 1e-9)))
            self.times[label] = []
        slow = {
            label
            for label, (call, _) in self.contenders.items()
            if calls[label] == 1 and self._seconds(call) > SLOW_S
        }
        for number in range(ROUNDS):
            for label, (call, operations) in self.contenders.items():
                if label in slow and number >= SLOW_ROUNDS:
                    continue
                repeats = calls[label]
                began = time.perf_counter_ns()
                for _ in range(repeats):
                    call()
                self.times[label].append((time.perf_counter_ns() - began) / repeats / operations)

    @staticmethod
    def _seconds(call: Callable[[], object]) -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """(contender, time of an operation, times as slow as ours), the quickest first."""
        ours = self.times.get(OURS)
        for label, times in sorted(self.times.items(), key=lambda item: min(item[1])):
            ratio = statistics.median(a / b for a, b in zip(times, ours, strict=False)) if ours else float("nan")
            yield label, readable(min(times)), "1" if label == OURS else f"{ratio:.3g}"
        for label, reason in sorted(self.missing.items()):
            yield label, "missing", reason


def readable(nanoseconds: float) -> str:
    """A time with three figures."""
    for unit, size in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)):
        if nanoseconds < 1000.0 * size or unit == "s":
            return f"{nanoseconds / size:.3g} {unit}"
    raise AssertionError("unreachable")


def contests(names: list[str]) -> Iterator[Contest]:
    """The contests of the benchmark files, all or those whose name contains one of ``names``."""
    sys.path.insert(0, str(FOLDER))
    for path in sorted(FOLDER.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        subject = path.stem.removeprefix("test_")
        for title, make in listed(module):
            name = f"{subject}: {title}" if title else subject
            if not names or any(part in name for part in names):
                yield Contest(name, make(), dict(getattr(module, "missing", {})))


def listed(module: ModuleType) -> Iterator[tuple[str, Callable[[], dict[str, tuple[Callable[[], object], int]]]]]:
    """The contests of a file: its ``PEERS``, else its functions by name."""
    if hasattr(module, "PEERS"):
        yield from module.PEERS
        return
    for attribute in sorted(vars(module)):
        if "contenders" in attribute.lower() and callable(getattr(module, attribute)) and attribute.islower():
            yield attribute.replace("contenders", "").strip("_").replace("_", " "), getattr(module, attribute)


def main() -> int:
    """Prints a table for each contest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="contests whose name contains one of these; none: all")
    parser.add_argument("--markdown", action="store_true", help="as Markdown, one line a contest")
    arguments = parser.parse_args()
    if arguments.markdown:
        print("| path | perfsuite | beside it, times as slow |\n| --- | --- | --- |")
    for contest in contests(arguments.names):
        contest.run()
        rows = list(contest.rows())
        if arguments.markdown:
            own = next((figure for label, figure, _ in rows if label == OURS), "missing")
            known = [row for row in rows if row[0] != OURS and row[1] != "missing"]
            others = ", ".join(f"{label} {ratio}" for label, _, ratio in known)
            print(f"| {contest.name} | {own} | {others} |", flush=True)
            continue
        print(f"\n{contest.name}")
        for label, figure, ratio in rows:
            print(f"  {label:32} {figure:>12}  {ratio if figure == 'missing' else '× ' + ratio}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
