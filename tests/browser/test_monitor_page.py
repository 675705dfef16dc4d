"""The monitor's page in a real browser: its charts and their tables, and what it does while the monitor is away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from browsing import NewPage, Visit, axe
from perfsuite.live.page import MONITOR
from perfsuite.pythonpath import VARIABLE, joined, package

PARTS = [panel.part for panel in MONITOR]
FILLED = (
    "parts => parts.every(part => Bokeh.documents.some(d => (d.get_model_by_name(part)?.data.t_ms ?? []).length > 0))"
)
KEEPS_THE_LAST = """
window.EventSource = class extends EventSource {
  constructor(...given) {
    super(...given)
    this.addEventListener("message", (event) => { window.lastData = event.data })
  }
}
"""
STATE_AND_TABLES = """
() => {
  const cells = (row) => [...row.cells].map((cell) => cell.textContent)
  const rows = (details) => [...details.querySelectorAll("tbody tr")].map(cells)
  const tables = [...document.querySelectorAll("details[data-part]")]
  return [window.lastData, Object.fromEntries(tables.map((details) => [details.dataset.part, rows(details)]))]
}
"""
UPDATES = "() => Number(document.documentElement.dataset.updates)"


@contextmanager
def monitoring(folder: Path, port: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A monitor of the reference, whose alert fires at once, and its page's address."""
    monitor = subprocess.Popen(
        [sys.executable, "-m", "perfsuite", "monitor", "--rate=20", "-t", "response_time.p95<1ms", f"--port={port}",
         f"--store={folder / 'kept.db'}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
        env={**os.environ, VARIABLE: joined([package()])},
    )  # fmt: skip
    try:
        assert monitor.stdout is not None
        url = monitor.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        yield url, monitor
    finally:
        monitor.kill()
        monitor.communicate()


def looked_at(visit: Visit, url: str) -> None:
    """Waits until every chart has something, and an alert is told of."""
    visit.page.goto(url)
    visit.page.wait_for_function(FILLED, arg=PARTS)
    visit.page.wait_for_selector("#alerts .firing")


def status(visit: Visit, begins: str) -> None:
    visit.page.wait_for_function(
        "begins => document.querySelector('#status').textContent.startsWith(begins)", arg=begins
    )


def moves(visit: Visit) -> None:
    """Waits for further states."""
    seen = visit.page.evaluate(UPDATES)
    visit.page.wait_for_function(f"seen => ({UPDATES})() > seen + 2", arg=seen)


def test_nobody_complains_of_it_light_or_dark(new_page: NewPage, tmp_path: Path) -> None:
    with monitoring(tmp_path, "0") as (url, monitor):
        visits = [new_page(), new_page(dark=True)]
        for visit in visits:
            looked_at(visit, url)
            visit.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for visit, line in zip(visits, ("#0060A8", "#56B4E9"), strict=True):
            moves(visit)
            assert visit.page.locator(".bk-Figure").count() == len(PARTS)
            drawn = "Bokeh.documents.map(d => [...d._all_models.values()].find(m => m.type === 'Line').line_color)"
            colours = {json.dumps(colour) for colour in visit.page.evaluate(drawn)}
            assert all(line in colour for colour in colours), colours
            assert axe(visit.page) == []
        with urllib.request.urlopen(f"{url}metrics", timeout=60) as answer:
            assert b'perfsuite_monitor_requests_total{outcome="completed"}' in answer.read()
        monitor.send_signal(signal.SIGTERM)
        for visit in visits:
            status(visit, "The monitor has ended")
            assert axe(visit.page) == []
            assert [text for text in visit.complaints if "ERR_CONNECTION_REFUSED" not in text] == []
        assert monitor.wait(60) == 0


def test_its_tables_say_what_the_stream_says(new_page: NewPage, tmp_path: Path) -> None:
    with monitoring(tmp_path, "0") as (url, _):
        visit = new_page()
        visit.page.add_init_script(KEEPS_THE_LAST)
        looked_at(visit, url)
        visit.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        moves(visit)
        text, tables = visit.page.evaluate(STATE_AND_TABLES)  # both of one moment
        state: dict[str, dict[str, list[float | None]]] = json.loads(text)
        assert list(tables) == PARTS
        for panel in MONITOR:
            rows, columns = tables[panel.part], state[panel.part]
            assert len(rows) == len(columns["t_ms"]) > 0
            for row, t_ms, *values in zip(
                reversed(rows), columns["t_ms"], *(columns[name] for name in panel.columns), strict=True
            ):
                assert t_ms is not None
                assert row[0] == datetime.fromtimestamp(t_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
                for cell, value in zip(row[1:], values, strict=True):
                    assert (cell == "–") == (value is None)
                    assert value is None or float(cell.replace(",", "")) == pytest.approx(value, rel=1e-3)


def test_it_finds_a_monitor_that_was_started_again(new_page: NewPage, tmp_path: Path) -> None:
    visit = new_page()
    with monitoring(tmp_path, "0") as (url, monitor):
        looked_at(visit, url)
        monitor.kill()
        status(visit, "The connection is lost")
        assert visit.page.locator("#alerts .firing").count() == 1  # what was seen is still there
    with monitoring(tmp_path, url.rstrip("/").rpartition(":")[2]) as (again, monitor):
        assert again == url
        visit.page.wait_for_function(
            "() => !document.querySelector('#status').textContent.startsWith('The connection is lost')"
        )
        moves(visit)
        monitor.send_signal(signal.SIGTERM)  # it ends of itself this time
        status(visit, "The monitor has ended")
        assert monitor.wait(60) == 0
    with monitoring(tmp_path, url.rstrip("/").rpartition(":")[2]):
        visit.page.wait_for_function(
            "() => !document.querySelector('#status').textContent.startsWith('The monitor has ended')"
        )
        moves(visit)
    assert [text for text in visit.complaints if "net::ERR_" not in text] == []
