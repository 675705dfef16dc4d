"""What the browser monitor costs a page in Chromium, and a long real talk: ``python benchmarks/browser_monitor.py``.

``cost`` (the default): a page gets 200 messages a second, half of them audio, from a server on the loopback, in turns
with and without the monitor; the main thread's CPU time is Chromium's own (CDP's TaskDuration), drawing included.
Fails when the monitor takes more than 1 % of the page's time, or says of itself less than a quarter of what it takes.

``talk --minutes 10``: a healthy conversation on the real clock, spoken by ``perfsuite serve`` and heard with Web Audio,
and its report; fails when anything is raised, or when what the page holds grows.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browsing import Browsing
from talking import SPEAKER, event, talking

MONITOR = (files("perfsuite.realtime") / "monitor.js").read_text(encoding="utf-8")
RATE = 200
LIMIT = 0.01
PACE_MS, TOKENS = 20, 100
LOOKS = 30
MOST_GROWTH_MB = 1.0
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
    return int(difference > LIMIT or own > LIMIT or own < difference / 4)


@contextmanager
def voice() -> Iterator[str]:
    """``perfsuite serve`` in a process of its own, which answers with two seconds of a tone: the URL of its socket."""
    command = [sys.executable, "-m", "perfsuite", "serve", "--engine", "paced", "--port", "0", "--model",
               f"voice:150:{PACE_MS}", "--tokens", str(TOKENS), "--tokens-per-chunk", "5"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().replace("http", "ws", 1) + "/v1/realtime?model=voice"
        finally:
            process.terminate()


def kept(session: Any) -> tuple[float, float]:
    """What a page holds after its garbage was collected: MB of heap, nodes."""
    session.send("HeapProfiler.collectGarbage")
    nodes = session.send("Memory.getDOMCounters")["nodes"]
    return session.send("Runtime.getHeapUsage")["usedSize"] / 1048576, nodes


def talk(browsing: Browsing, minutes: float) -> int:
    """Holds a conversation that is heard with Web Audio, and prints its report; 1 when anything is raised or grows."""
    context = browsing.browser.new_context()
    heaps: list[float] = []
    with voice() as url, talking(lambda _connection, _message: None) as server:
        page = context.new_page()
        page.add_init_script(MONITOR)
        page.add_init_script(SPEAKER)
        page.goto(f"http://{server.address}/")
        page.mouse.click(1, 1)  # sound needs a user who has done something
        page.evaluate("url => speaker.connect(url, 'buffers')", url)
        page.evaluate("perfsuite.configure({autoReconnect: true})")
        session = context.new_cdp_session(page)
        until, look = time.monotonic() + minutes * 60, 0.0
        while (now := time.monotonic()) < until:
            page.evaluate("speaker.ask()")
            page.wait_for_function("speaker.ended === speaker.started")  # who listens speaks when the other has spoken
            page.wait_for_timeout(TOKENS * PACE_MS / 2)
            if now >= look:
                look = now + minutes * 60 / LOOKS
                heap, nodes = kept(session)
                heaps.append(heap)
                print(f"{(now - until) / 60 + minutes:5.1f} min: {heap:.2f} MB of heap, {nodes:g} nodes", flush=True)
        logs = page.evaluate("perfsuite.logs()")
        report = page.evaluate("perfsuite.analyze()")
        print(report)
    context.close()
    warned = [entry["message"] for entry in logs["events"] if entry["name"] == "warning"]
    waiting = [one["audioChunksCount"] for one in logs["samples"]]
    third = len(heaps) // 3
    # The lists of the logs fill in the first minutes, and are bounded.
    grown = min(heaps[-third:]) - min(heaps[third : 2 * third])
    totals = logs["totals"]
    print(
        f"\n{minutes:g} minutes, {totals['responses']} answers, {totals['messagesReceived']:,} messages, "
        f"{totals['audioChunksProcessed']:,} of {totals['audioChunksReceived']:,} chunks played; waiting at most "
        f"{max(waiting)}, at the end {waiting[-1]}; kept {len(logs['messages'])} messages; heap {grown:+.2f} MB "
        f"from the second third to the last; cost {logs['cost']['share']:.2%}; warnings: {warned or 'none'}"
    )
    healthy = not warned and not totals["interruptions"] and "Issues Detected:\n- None" in report
    return int(not healthy or grown > MOST_GROWTH_MB)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["cost", "talk"], default="cost")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10)
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
