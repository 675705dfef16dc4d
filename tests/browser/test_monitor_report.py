"""The monitor's report in the page: the golden ones, its own logs by the schema, the three buttons."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from browsing import NewPage, Visit, axe
from perfsuite.realtime.analysis import report
from perfsuite.realtime.logs import parse
from talking import Talk, speaks, talking

ROOM = files("perfsuite.realtime")
MONITOR = (ROOM / "monitor.js").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOM / "logs.schema.json").read_text(encoding="utf-8"))
GOLDEN = sorted((Path(__file__).parents[1] / "golden/realtime").glob("*.json"))

TALK = """
address => new Promise(resolve => {
  const socket = window.socket = new WebSocket(`ws://${address}/`);
  socket.onopen = () => socket.send('{"type":"response.create"}');
  socket.onmessage = event => {
    if (event.data.includes("delta")) perfsuite.audioChunkProcessed();
    if (event.data.includes("response.done")) resolve();
  };
})
"""


def monitored(new_page: NewPage, talk: Talk, **options: Any) -> Visit:
    visit = new_page(**options)
    visit.page.add_init_script(MONITOR)
    visit.page.goto(f"http://{talk.address}/")
    return visit


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_reports(new_page: NewPage, path: Path) -> None:
    golden = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(golden["logs"], SCHEMA)
    visit = new_page()
    visit.page.add_init_script(MONITOR)
    visit.page.goto("about:blank")
    assert visit.page.evaluate("logs => perfsuite.report(logs)", golden["logs"]).split("\n") == golden["report"]


@pytest.mark.parametrize("dark", [False, True])
def test_the_three_buttons(new_page: NewPage, dark: bool) -> None:
    with talking(speaks(chunks=5)) as talk:
        visit = monitored(new_page, talk, dark=dark)
        page = visit.page
        page.evaluate(TALK, talk.address)

        page.get_by_role("button", name="Analyze Performance").click()
        lines = page.locator('[data-perfsuite="report"]').inner_text().splitlines()
        assert lines[0] == "Performance Analysis Report"
        assert [line.partition(":")[0] for line in lines if line.startswith("- ")][:10] == [
            "- Average Processing Time", "- Maximum Processing Time", "- Audio Latency Trend",
            "- Message Latency Trend", "- Audio Chunks Accumulation", "- WebSocket Buffered Amount",
            "- Event Queue Size", "- Time to First Response", "- Interruption Count", "- Total Errors",
        ]  # fmt: skip
        assert "- Audio Chunks Accumulation: 0" in lines
        assert axe(page) == []

        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download Logs").click()
        assert downloading.value.suggested_filename.startswith("perfsuite-logs-")
        logs = json.loads(Path(downloading.value.path()).read_text(encoding="utf-8"))
        jsonschema.validate(logs, SCHEMA)
        assert logs["totals"]["messagesReceived"] == 6
        assert logs["totals"]["messagesSent"] == 1
        assert logs["totals"]["audioChunksProcessed"] == 5
        assert [entry["kind"] for entry in logs["messages"]] == [
            "response.create", *["response.audio.delta"] * 5, "response.done",
        ]  # fmt: skip
        assert logs["responses"][0]["interrupted"] is None
        assert logs["samples"][-1].keys() >= {"audioChunksCount", "wsBufferedAmount", "readyState", "usedJSHeapSize"}
        assert logs["samples"][-1]["readyState"] == 1

        page.get_by_role("button", name="Clear Logs").click()
        cleared = page.evaluate("perfsuite.logs()")
        assert cleared["session"]["id"] != logs["session"]["id"]
        assert (cleared["totals"]["messagesReceived"], cleared["messages"]) == (0, [])
        assert page.locator('[data-perfsuite="report"]').inner_text() == ""
        assert visit.complaints == []


def test_python_says_the_same_of_the_page_s_logs(new_page: NewPage) -> None:
    with talking(speaks()) as talk:
        page = monitored(new_page, talk).page
        page.evaluate(TALK, talk.address)
        said = page.evaluate(
            "() => { const logs = perfsuite.logs(); return [JSON.stringify(logs), perfsuite.report(logs)]; }"
        )
    logs = parse(said[0].encode(), "the page")
    assert logs is not None
    assert report(logs) == said[1]


def test_lists_are_bounded_and_totals_are_not(new_page: NewPage) -> None:
    with talking(speaks(chunks=2600, characters=1)) as talk:
        page = monitored(new_page, talk).page
        page.evaluate(TALK, talk.address)
        logs = page.evaluate("perfsuite.logs()")
    jsonschema.validate(logs, SCHEMA)
    assert len(logs["messages"]) == 2000
    assert logs["messages"][-1]["kind"] == "response.done"
    assert logs["dropped"]["messages"] == 602
    assert logs["totals"]["messagesReceived"] == 2601
    assert [entry["t"] for entry in logs["messages"]] == sorted(entry["t"] for entry in logs["messages"])
