"""The live page in a real browser: it moves while a run measures, and says when that is over."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browsing import NewPage, axe
from perfsuite.pythonpath import VARIABLE, joined, package

UPDATES = 8
LENGTH = (
    "() => Bokeh.documents.flatMap(d => ['requests', 'quantiles', 'distribution'].map(n => d.get_model_by_name(n)))\
.filter(s => s).map(s => Object.values(s.data)[0].length)"
)


@contextmanager
def running(folder: Path, duration: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A run with a page, and the page's address."""
    run = subprocess.Popen(
        [sys.executable, "-m", "perfsuite", "run", "load", "--live", f"--duration={duration}", "--concurrency=2",
         "-o", str(folder), "--history=off"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder,
        env={**os.environ, VARIABLE: joined([package()])},
    )  # fmt: skip
    try:
        assert run.stderr is not None
        found = re.search(r"live at (\S+)", run.stderr.readline())
        assert found is not None
        yield found[1], run
    finally:
        run.kill()
        run.communicate()


def test_it_moves_while_a_run_measures(new_page: NewPage, tmp_path: Path) -> None:
    with running(tmp_path, "4m") as (url, run):
        visits = [new_page(), new_page(dark=True)]
        for visit in visits:
            visit.page.goto(url)
        for visit in visits:
            page = visit.page
            page.wait_for_function("n => Number(document.documentElement.dataset.updates) >= n", arg=UPDATES)
            said = page.locator("#counts").inner_text()
            page.wait_for_function("said => document.querySelector('#counts').innerText !== said", arg=said)
            page.wait_for_function(f"() => Math.min(...({LENGTH})()) > 1")  # past its warm-up
            drawn = page.evaluate(LENGTH)
            assert len(drawn) == 3
            page.wait_for_function(f"drawn => String(({LENGTH})()) !== String(drawn)", arg=drawn)
        run.send_signal(signal.SIGINT)
        for visit in visits:
            page = visit.page
            page.wait_for_function(
                "() => document.querySelector('#status').textContent.startsWith('The run has ended')"
            )
            assert "metrics-" in page.locator("#status").inner_text()
            assert page.locator("#metrics tr").count() > 0
            assert min(page.evaluate(LENGTH)) > 1
        assert run.wait(60) == 130
        for visit in visits:  # the pages stay when their server is gone
            assert visit.page.locator("#chart-requests .bk-Figure").count() == 1
            assert axe(visit.page) == []
            assert visit.complaints == []
