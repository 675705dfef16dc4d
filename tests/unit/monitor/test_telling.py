"""Who is told of an alarm."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from perfsuite.analysis.alarms import Alarm
from perfsuite.monitor import telling
from perfsuite.monitor.telling import MOST_WAITING, TRIES, Teller

PATIENCE_S = 60.0
FIRED = Alarm("error_rate", "criterion", 0.0, "error_rate is 50 %")


def told(teller: Teller, *alarms: Alarm) -> None:
    async def tell() -> None:
        task = asyncio.create_task(teller.run())
        for alarm in alarms:
            teller.tell(alarm)
        await teller.finish(PATIENCE_S)
        task.cancel()

    asyncio.run(tell())


class Hook:
    """A web address that answers as it is told, and keeps what it got."""

    def __init__(self, statuses: list[int]) -> None:
        got: list[tuple[str, bytes]] = []
        self.got = got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                status = statuses.pop(0)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    ("statuses", "tries", "reached"),
    [([200], 1, True), ([500, 200], 2, True), ([500] * TRIES, TRIES, False), ([302] * TRIES, TRIES, False)],
)
def test_a_webhook_is_tried_so_often(
    monkeypatch: pytest.MonkeyPatch, statuses: list[int], tries: int, reached: bool
) -> None:
    monkeypatch.setattr(telling, "PAUSE_S", 0.0)
    hook, said = Hook(statuses), list[str]()
    told(Teller("http://x", webhook=hook.url, say=said.append), FIRED)
    hook.close()
    assert [path for path, _ in hook.got] == ["/hook"] * tries
    assert json.loads(hook.got[0][1]) == {
        "state": "firing",
        "name": "error_rate",
        "kind": "criterion",
        "text": "error_rate is 50 %",
        "since": "1970-01-01T00:00:00+00:00",
        "resolved": None,
        "target": "http://x",
    }
    assert said[0] == "alert firing: error_rate is 50 %"
    assert any("did not reach the webhook" in text for text in said) is not reached


def test_a_command_gets_json_on_its_stdin_and_no_shell(tmp_path: Path) -> None:
    taken = tmp_path / "taken; $(x)"
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"
    told(Teller("http://x", command=[sys.executable, "-c", code, str(taken)], say=lambda text: None), FIRED)
    assert json.loads(taken.read_text())["state"] == "firing"


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import time; time.sleep(600)"])
def test_a_command_that_fails_or_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(telling, "COMMAND_TIMEOUT_S", 0.5)
    said: list[str] = []
    told(Teller("http://x", command=[sys.executable, "-c", code], say=said.append), FIRED)
    assert "did not reach the command" in said[-1]


def test_the_log_has_a_line_for_each(tmp_path: Path) -> None:
    log = tmp_path / "alerts.log"
    resolved = Alarm("error_rate", "criterion", 0.0, "error_rate is 0 %", 60.0)
    told(Teller("http://x", log=log, say=lambda text: None), FIRED, resolved)
    assert [json.loads(line)["state"] for line in log.read_text().splitlines()] == ["firing", "resolved"]


def test_what_waits_is_bounded() -> None:
    async def tell() -> Teller:
        teller = Teller("http://x", webhook="http://127.0.0.1:9/", say=lambda text: None)
        for _ in range(MOST_WAITING + 7):
            teller.tell(FIRED)
        return teller

    assert asyncio.run(tell()).dropped == 7
