"""How soon metrics-TS.html shows something: the time until its first chart is drawn in Chromium, and until the last is.

    python benchmarks/first_chart.py [results-TS.json] [--loads 5]

Without a file it is the page of an hour's run, sampled every second.  The times are the browser's own, from the start
of its navigation; the goal is one second to the first chart.  Needs Playwright and Chromium
(`pip install -e ".[test]"`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfsuite.result import Result

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

GOAL_MS = 1000.0


def main() -> None:
    from playwright.sync_api import sync_playwright

    from browsing import FLAGS, chromium
    from perfsuite.reports.html import render
    from perfsuite.result import load

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", nargs="?", type=Path, help="a results-TS.json [an hour's run, made up]")
    parser.add_argument("--loads", type=int, default=5, metavar="N", help="how often the page is opened [5]")
    arguments = parser.parse_args()
    page = render(load(arguments.result) if arguments.result else an_hour())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "metrics.html"
        path.write_text(page, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium(playwright), args=FLAGS)
        first, last, charts = [], [], 0
        for _ in range(arguments.loads):
            context = browser.new_context()
            shown = context.new_page()
            shown.goto(path.as_uri())
            shown.wait_for_selector("html[data-charts=drawn]")
            first.append(shown.evaluate("performance.getEntriesByName('perfsuite-first-chart')[0].startTime"))
            last.append(shown.evaluate("performance.now()"))
            charts = shown.locator("[data-chart]").count()
            context.close()
        browser.close()
    print(f"page {len(page.encode()) / 1e6:.2f} MB, {charts} charts, opened {arguments.loads} times")
    spread = f"[{min(first):.0f}–{max(first):.0f}]"
    print(f"first chart after {statistics.median(first):.0f} ms {spread}, goal {GOAL_MS:.0f} ms")
    print(f"all charts after {statistics.median(last):.0f} ms")


def an_hour() -> Result:
    """A run of an hour by hand: two phases, each with metrics, resources and windows by second."""
    import results_made
    from perfsuite.result import MetricResult, PhaseResult, Resource, Result

    wave = [(float(t), 100.0 + t % 97) for t in range(3600)]
    windows: dict[str, list[int | float | None]] = {
        "t_s": [t for t, _ in wave], "due": [10] * 3600, "ok": [10] * 3600, "failed": [0] * 3600,
    }  # fmt: skip
    phases = [
        PhaseResult(
            name=name, verdict="passed", duration_s=3600.0, windows=windows,
            metrics=[MetricResult(name=f"m{i}", unit="ms", kind="gauge", series=wave[i:]) for i in range(4)],
            resources={f"r{i}": Resource(unit="bytes", series=wave[i:]) for i in range(4)},
        )
        for name in ("baseline", "load")
    ]  # fmt: skip
    return Result(run=results_made.run(), environment=results_made.environment(), phases=phases)


if __name__ == "__main__":
    main()
