"""The fixture ``realtime_page`` in a pytest of its own: its browser has a loop in the thread that started it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from plugged import run
from talking import speaks, talking

PAGES = """
import asyncio
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest


class Pages(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<title>shop</title><script>window.first = typeof window.perfsuite</script><h1>shop</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_monitor(realtime_page, url):
    page = realtime_page(url)
    assert page.title() == "shop"
    assert page.evaluate("window.first") == "object"
    assert "Performance Analysis Report" in page.evaluate("window.perfsuite.analyze()")
    page.evaluate("window.perfsuite.audioChunkReceived('a')")
    other = realtime_page(url)
    assert other.evaluate("window.perfsuite.logs()") != page.evaluate("window.perfsuite.logs()")


def test_no_loop_is_left():
    asyncio.run(asyncio.sleep(0))
"""


@pytest.mark.usefixtures("new_page")  # which skips, and says how to get a browser, where there is none
def test_a_page_has_the_monitor_before_its_own_scripts(tmp_path: Path) -> None:
    done = run(tmp_path, PAGES)
    assert done.code == 0, done.out
    assert [done.of(name) for name in ("test_monitor", "test_no_loop_is_left")] == ["PASSED"] * 2


TALKS = """
<!doctype html><html lang="en"><title>shop</title><h1>shop</h1><button onclick="talk()">Talk</button><script>
function talk() {
  const socket = new WebSocket(`ws://${location.host}/`);
  socket.onopen = () => socket.send('{"type":"response.create"}');
  socket.onmessage = event => { if (event.data.includes(".delta") && PLAYS) perfsuite.audioChunkProcessed(); };
}
</script></html>
"""


@pytest.mark.usefixtures("new_page")
@pytest.mark.parametrize("plays", [True, False])
def test_the_readme_s_own(tmp_path: Path, plays: bool) -> None:
    """Its test passes for a page that plays what comes, and fails for one that lets it pile up."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```py\n(.*?)```", readme, re.DOTALL) if "realtime_page" in block)
    with talking(speaks(chunks=120, characters=10), page=TALKS.replace("PLAYS", str(plays).lower())) as talk:
        code = code.replace("http://localhost:3000/", f"http://{talk.address}/")
        arrived = "page.wait_for_function('perfsuite.logs().totals.messagesReceived === 121')"
        done = run(tmp_path, code.replace("page.wait_for_timeout(60_000)", arrived))
    assert done.of("test_a_talk") == ("PASSED" if plays else "FAILED"), done.out
    assert plays or "Audio chunks accumulate: 101 waited at once (limit 100)" in done.out


def test_without_a_browser_it_skips_and_says_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    nowhere = {"PATH": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    done = run(tmp_path, "def test_page(realtime_page):\n    pass\n", environment=nowhere)
    assert done.code == 0
    assert "apt-get install chromium" in done.out
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['playwright'] = None\n")
    done = run(tmp_path, "def test_page(realtime_page):\n    pass\n")
    assert done.code == 0
    assert "pip install playwright" in done.out
