"""What the browser monitor costs a page in Chromium, and a long real talk: ``python benchmarks/browser_monitor.py``.

``cost`` (the default): a page gets 200 messages a second, half of them audio, from a server on the loopback, in turns
with and without the monitor; the main thread's CPU time is Chromium's own (CDP's TaskDuration), drawing included.
Fails when the monitor takes more than 1 % of the page's time, or says of itself less than a quarter of what it takes.

``talk --minutes 8``: a healthy conversation on the real clock, and its report; fails when anything is raised.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browsing import Browsing
from talking import CLIENT, event, speaks, talking

MONITOR = (files("perfsuite.realtime") / "monitor.js").read_text(encoding="utf-8")
RATE = 200
LIMIT = 0.01
PLAY = """
address => new Promise(resolve => {
  const socket = window.socket = new WebSocket(`ws://${address}/`);
  socket.onopen = () => resolve(0);
  socket.onmessage = event => {
    const message = JSON.parse(event.data);
    window.heard = (window.heard ?? 0) + 1;
    if (message.type === "response.audio.delta" && window.perfsuite) perfsuite.audioChunkProcessed();
  };
})
"""


def main_thread(session: Any) -> tuple[float, float]:
    """Now, and for how long the page's main thread has worked until then; seconds, of CPU time."""
    metrics = {row["name"]: row["value"] for row in session.send("Performance.getMetrics")["metrics"]}
    return time.monotonic(), metrics["TaskDuration"]


def share(browsing: Browsing, monitored: bool, seconds: float) -> tuple[float, float]:
    """The share of its main thread's time that a page is busy, and the monitor's own word for its part."""
    context = browsing.browser.new_context()
    with talking(lambda _connection, _message: None) as talk:
        page = context.new_page()
        if monitored:
            page.add_init_script(MONITOR)
        page.goto(f"http://{talk.address}/")
        page.evaluate(PLAY, talk.address)
        messages = [event("response.audio.delta", delta="A" * 4000), event("response.text.delta", delta="word")]
        page.wait_for_timeout(1000)
        if monitored:
            page.evaluate("perfsuite.clear()")
        session = context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        stop = threading.Event()

        def send() -> None:
            due = time.monotonic()
            for number in range(int(seconds * RATE)):
                due += 1 / RATE
                stop.wait(max(0.0, due - time.monotonic()))
                talk.say(messages[number % 2])

        sending = threading.Thread(target=send)
        began, busy_before = main_thread(session)
        sending.start()
        page.wait_for_timeout(seconds * 1000)
        ended, busy_after = main_thread(session)
        stop.set()
        sending.join()
        own = 0.0
        if monitored:
            cost = page.evaluate("perfsuite.logs().cost")
            own = cost["share"]
    context.close()
    return (busy_after - busy_before) / (ended - began), own


def cost(browsing: Browsing, seconds: float, turns: int) -> int:
    """Prints the shares, in turns; 1 when the monitor takes more than it may."""
    differences, owns = [], []
    for turn in range(turns):
        without, _ = share(browsing, False, seconds)
        with_it, own = share(browsing, True, seconds)
        differences.append(with_it - without)
        owns.append(own)
        print(f"{turn + 1}: page {without:.2%}, with the monitor {with_it:.2%}; it says {own:.2%} itself", flush=True)
    difference, own = statistics.median(differences), statistics.median(owns)
    print(
        f"at {RATE} messages a second the monitor takes {difference:.2%} of the page's time; it says {own:.2%} itself"
    )
    return int(difference > LIMIT or own > LIMIT)


def talk(browsing: Browsing, minutes: float) -> int:
    """Holds a conversation and prints its report; 1 when something was raised."""
    context = browsing.browser.new_context()
    with talking(speaks(chunks=20)) as server:
        page = context.new_page()
        page.add_init_script(MONITOR)
        page.add_init_script(CLIENT)
        page.goto(f"http://{server.address}/")
        page.evaluate("address => client.connect(address)", server.address)
        until = time.monotonic() + minutes * 60
        while time.monotonic() < until:
            page.evaluate("client.ask()")
            page.wait_for_timeout(2000)
        logs = page.evaluate("perfsuite.logs()")
        print(page.evaluate("perfsuite.analyze()"))
    context.close()
    warned = [entry["message"] for entry in logs["events"] if entry["name"] == "warning"]
    print(f"\n{json.dumps(logs['cost'])}; {logs['totals']['responses']} responses; warnings: {warned or 'none'}")
    return int(bool(warned) or logs["totals"]["interruptions"] > 0 or logs["totals"]["errors"] > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["cost", "talk"], default="cost")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=8)
    options = parser.parse_args()
    browsing = Browsing()
    try:
        if options.what == "talk":
            return browsing.call(lambda: talk(browsing, options.minutes))
        return browsing.call(lambda: cost(browsing, options.seconds, options.turns))
    finally:
        browsing.close()


if __name__ == "__main__":
    sys.exit(main())
