"""Conversations of several minutes on a clock that the test moves: what is wrong with each is found, named, and met by
its safeguard; with nothing wrong nothing is said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import pairwise
from typing import Any

from browsing import NewPage, Visit
from talking import CLIENT, Answer, Talk, event, speaks, talking

MONITOR = (files("perfsuite.realtime") / "monitor.js").read_text(encoding="utf-8")
TURN_MS = 5000


def silent(_connection: Any, _message: str | bytes) -> None:
    """Says nothing."""


class Conversation:
    """A page that talks, and its clock, which stands still unless the test moves it."""

    def __init__(self, visit: Visit, talk: Talk) -> None:
        self.visit, self.page, self.talk = visit, visit.page, talk
        self.page.clock.install(time=0)
        self.page.add_init_script(MONITOR)
        self.page.add_init_script(CLIENT)
        self.page.goto(f"http://{talk.address}/")
        self.page.clock.pause_at(3_600_000)
        self._browser = self.page.context.new_cdp_session(self.page)
        self._browser.send("Performance.enable")
        self.page.evaluate("perfsuite.clear()")
        self.page.evaluate("address => client.connect(address)", talk.address)

    def turns(self, number: int, then: str = "0", heap: bool = False, turn_ms: int = TURN_MS) -> None:
        """Asks, hears the answer to its end, does ``then``, and lets the rest of the turn pass."""
        for _ in range(number):
            self.page.evaluate("client.ask()")
            self.page.evaluate(then)
            if heap:
                metrics = self._browser.send("Performance.getMetrics")["metrics"]
                self.heap_is(next(row["value"] for row in metrics if row["name"] == "JSHeapUsedSize"))
            self.page.clock.run_for(turn_ms)

    def heap_is(self, used: float) -> None:
        """Gives the page the heap's size, which Playwright's clock has taken away with the rest of ``performance``."""
        self.page.evaluate(
            "used => Object.defineProperty(performance, 'memory', {configurable: true, value: "
            "{usedJSHeapSize: used, jsHeapSizeLimit: 4096 * 1048576}}) && 0",
            used,
        )

    def pass_ms(self, duration: int) -> None:
        self.page.clock.run_for(duration)

    def hear(self, message: str) -> None:
        """Has the server say something, and waits until the page has it."""
        before = "new Promise(resolve => client.socket.addEventListener('message', resolve, {once: true}))"
        self.page.evaluate(f"window.came = {before}; 0")
        self.talk.say(message)
        self.page.evaluate("window.came.then(() => 0)")

    def logs(self) -> dict[str, Any]:
        logs: dict[str, Any] = self.page.evaluate("perfsuite.logs()")
        return logs

    def warnings(self) -> list[str]:
        """The safeguards that spoke, in order."""
        return [entry["safeguard"] for entry in self.logs()["events"] if entry["name"] == "warning"]

    def interruptions(self) -> list[str]:
        return [entry["reason"] for entry in self.logs()["events"] if entry["name"] == "interruption"]

    def issues(self) -> list[str]:
        report: str = self.page.evaluate("perfsuite.analyze()")
        return report.partition("Issues Detected:\n")[2].partition("\n\n")[0].splitlines()

    def until_heard(self, word: str) -> None:
        """Waits until the server has heard of it."""
        give_up = time.monotonic() + 60
        while not any(word in str(message) for message in self.talk.heard):
            assert time.monotonic() < give_up, f"the server never heard of {word}"
            self.page.evaluate("fetch('/').then(answer => answer.text()).then(() => 0)")

    def until_reconnected(self) -> None:
        """Waits until the monitor has noted it: a socket opens in the browser's time, not in the test's."""
        give_up = time.monotonic() + 60
        while not self.logs()["totals"]["reconnections"]:
            assert time.monotonic() < give_up, "never connected again"
            self.page.evaluate("fetch('/').then(answer => answer.text()).then(() => 0)")


@contextmanager
def conversing(new_page: NewPage, answer: Answer) -> Iterator[Conversation]:
    with talking(answer) as talk:
        yield Conversation(new_page(), talk)


def test_a_healthy_conversation_raises_nothing(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=5)) as conversation:
        conversation.page.evaluate("client.workMs = 5")
        conversation.turns(30, then="window.garbage = new Array(30000).fill(Math.random())", heap=True, turn_ms=14_000)
        logs = conversation.logs()
        assert logs["session"]["durationMs"] >= 7 * 60_000
        assert logs["totals"]["audioChunksProcessed"] == 30 * 5
        assert logs["totals"]["processingMs"]["count"] == 30 * 6
        assert logs["totals"]["processingMs"]["max"] == 5
        assert logs["totals"]["responses"] == 30
        assert len(logs["samples"]) >= 7 * 60
        assert (conversation.warnings(), conversation.interruptions()) == ([], [])
        assert conversation.issues() == ["- None"]
        assert [message for message in conversation.visit.messages if "perfsuite" in message] == []
        assert conversation.visit.complaints == []


def test_growing_audio_chunks(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=5)) as conversation:
        page = conversation.page
        page.evaluate("client.chunksProcessed = 1; perfsuite.configure({onCleanup: told => { window.told = told }})")
        conversation.turns(25)
        assert conversation.logs()["samples"][-1]["audioChunksCount"] == 100
        assert "audioChunkCleanup" not in conversation.warnings()
        assert "earlyWarning" in conversation.warnings()
        conversation.turns(1)
        assert conversation.warnings()[-1] == "audioChunkCleanup"
        assert page.evaluate("window.told.count") == 101
        assert page.evaluate("window.told.ids.length") == 101
        logs = conversation.logs()
        assert logs["totals"]["audioChunksCleaned"] == 101
        assert logs["samples"][-1]["audioChunksCount"] < 10
        issues = "\n".join(conversation.issues())
        assert "Audio chunks accumulate: 101 waited at once (limit 100)." in issues
        assert "Growing audio chunks: audioChunksCount rises steadily" in issues
        assert conversation.interruptions() == []


def test_accumulation_that_goes_on_is_interrupted(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=60)) as conversation:
        conversation.page.evaluate("client.chunksProcessed = 0")
        conversation.turns(2)
        assert (conversation.warnings(), conversation.interruptions()) == (["audioChunkCleanup"], [])
        conversation.turns(2)
        assert conversation.warnings().count("audioChunkCleanup") == 2
        assert conversation.interruptions() == ["automatic"]
        conversation.until_heard("response.cancel")


def test_nobody_is_asked_to_cancel_what_is_over(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=1)) as conversation:
        conversation.turns(1)
        come = "for (let i = 0; i < 101; i++) perfsuite.audioChunkReceived(i)"
        conversation.page.evaluate(come)
        conversation.pass_ms(1000)
        conversation.page.evaluate(come)
        conversation.pass_ms(1000)
        assert conversation.interruptions() == ["automatic"]
        conversation.page.evaluate("client.socket.send('the last word')")
        conversation.until_heard("the last word")
        assert not any("response.cancel" in str(message) for message in conversation.talk.heard)


def test_a_slow_consumer(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=1)) as conversation:
        page = conversation.page
        conversation.turns(32, then="client.workMs += 15")
        assert set(conversation.warnings()) == {"earlyWarning"}
        assert any("Increasing message latencies" in issue for issue in conversation.issues())
        page.evaluate("client.workMs = 4900")
        conversation.turns(1)
        assert "eventProcessingTimeout" not in conversation.warnings()
        page.evaluate("client.workMs = 8000")
        conversation.turns(1)
        conversation.pass_ms(4000)
        assert conversation.warnings().count("eventProcessingTimeout") == 2
        (first, *_) = [
            entry for entry in conversation.logs()["events"] if entry.get("safeguard") == "eventProcessingTimeout"
        ]
        assert first["state"]["kind"] == "response.audio.delta"
        assert first["state"]["eventQueueSize"] == 2
        assert first["state"]["sinceMs"] > 5000
        assert len(first["state"]["waiting"]) == 2
        assert any("Event processing timeout: 2 of the messages" in issue for issue in conversation.issues())
        assert conversation.logs()["samples"][-1]["eventQueueSize"] == 0


def test_a_queue_that_grows(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=40)) as conversation:
        conversation.page.evaluate("client.workMs = 700")
        conversation.turns(1)
        assert "latency" in conversation.warnings()
        assert not any("Slow consumer" in issue for issue in conversation.issues())
        conversation.page.evaluate("client.workMs = 4500")
        conversation.page.evaluate("client.ask().then(() => client.ask())")
        conversation.pass_ms(TURN_MS)
        assert "- Slow consumer: 82 messages waited unprocessed at once (limit 50)." in conversation.issues()


def test_a_leak(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=1)) as conversation:
        page = conversation.page
        page.evaluate("perfsuite.configure({thresholds: {heapBytes: 90 * 1048576}})")
        leak = "(window.leaked ??= []).push(new Array(524288).fill(Math.random())); 0"
        conversation.turns(10, then=leak, heap=True)
        assert "memoryUsage" not in conversation.warnings()
        conversation.turns(20, then=leak, heap=True)
        assert "memoryUsage" in conversation.warnings()
        issues = "\n".join(conversation.issues())
        assert "Memory leak: usedJSHeapSize rises steadily" in issues
        assert "Memory usage: the heap reached" in issues
        assert "(limit 90.0 MB)" in issues


def test_memory_is_warned_of_above_500_mb(new_page: NewPage) -> None:
    with conversing(new_page, speaks()) as conversation:
        conversation.heap_is(500 * 1048576)
        conversation.pass_ms(3000)
        assert conversation.warnings() == []
        conversation.heap_is(501 * 1048576)
        conversation.pass_ms(3000)
        assert conversation.warnings() == ["memoryUsage"]
        conversation.heap_is(3800 * 1048576)  # little is left: fewer chunks may wait
        conversation.pass_ms(5000)
        assert conversation.logs()["thresholds"]["audioChunks"] == 25


def test_a_silent_server(new_page: NewPage) -> None:
    with conversing(new_page, silent) as conversation:
        conversation.page.evaluate("client.ask(); 0")
        conversation.pass_ms(10_000)
        assert (conversation.warnings(), conversation.interruptions()) == ([], [])
        conversation.pass_ms(1000)
        assert (conversation.warnings(), conversation.interruptions()) == (["responseTimeout"], ["timeout"])
        logs = conversation.logs()
        assert logs["responses"][0]["interrupted"] == "timeout"
        assert logs["responses"][0]["timeToFirstResponseMs"] is None
        assert (logs["totals"]["interruptions"], logs["totals"]["responseTimeouts"]) == (1, 1)
        conversation.until_heard("response.cancel")
        assert any(issue.startswith("- Silent server: 1 of the responses") for issue in conversation.issues())
        conversation.pass_ms(60_000)
        assert len(conversation.interruptions()) == 1


def test_a_server_that_falls_silent_and_a_page_that_interrupts(new_page: NewPage) -> None:
    with conversing(new_page, silent) as conversation:
        conversation.page.evaluate("perfsuite.configure({onInterrupt: told => { window.told = told.reason }})")
        conversation.page.evaluate("client.ask(); 0")
        for _ in range(3):
            conversation.pass_ms(9000)
            conversation.hear(event("response.text.delta", delta="hm"))
        assert conversation.interruptions() == []
        conversation.pass_ms(12_000)
        assert conversation.interruptions() == ["timeout"]
        assert conversation.page.evaluate("window.told") == "timeout"
        assert conversation.logs()["responses"][0]["timeToFirstResponseMs"] == 9000
        assert not any("response.cancel" in str(message) for message in conversation.talk.heard)


def test_a_slow_network_gets_more_time(new_page: NewPage) -> None:
    with conversing(new_page, silent) as conversation:
        for turn in range(4):
            conversation.page.evaluate("client.ask(); 0")
            conversation.pass_ms((7000, 9500)[turn % 2])
            conversation.hear(event("response.text.delta", delta="at last"))
            conversation.hear(event("response.done"))
        conversation.pass_ms(5000)
        limit = conversation.logs()["thresholds"]["responseMs"]
        assert 12_000 < limit <= 30_000
        conversation.page.evaluate("client.ask(); 0")
        conversation.pass_ms(12_000)
        assert conversation.interruptions() == []
        conversation.pass_ms(20_000)
        assert conversation.interruptions() == ["timeout"]
        assert any("Slow first response" in issue for issue in conversation.issues())


def closed(conversation: Conversation) -> None:
    """Drops the connection, and waits until the page knows."""
    conversation.page.evaluate(
        "window.gone = new Promise(resolve => client.socket.addEventListener('close', resolve)); 0"
    )
    conversation.talk.drop()
    conversation.page.evaluate("window.gone.then(() => 0)")


def test_a_dropped_socket(new_page: NewPage) -> None:
    with conversing(new_page, silent) as conversation:
        conversation.page.evaluate("client.ask(); 0")
        conversation.until_heard("response.create")
        closed(conversation)
        assert conversation.interruptions() == ["dropped"]
        logs = conversation.logs()
        assert (logs["totals"]["uncleanCloses"], logs["totals"]["reconnections"]) == (1, 0)
        assert logs["responses"][0]["interrupted"] == "dropped"
        assert logs["samples"][-1]["readyState"] == 3
        assert any(issue.startswith("- Dropped connection: 1") for issue in conversation.issues())


def test_a_farewell_is_no_drop(new_page: NewPage) -> None:
    with conversing(new_page, speaks()) as conversation:
        conversation.turns(1)
        conversation.page.evaluate(
            "new Promise(resolve => { client.socket.onclose = () => resolve(); client.socket.close(1000) })"
        )
        conversation.pass_ms(20_000)
        assert conversation.interruptions() == []
        assert conversation.issues() == ["- None"]
        assert [entry["wasClean"] for entry in conversation.logs()["events"] if entry["name"] == "close"] == [True]


def test_a_plain_socket_is_connected_again_with_its_context(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=2)) as conversation:
        page = conversation.page
        page.evaluate("perfsuite.configure({autoReconnect: true})")
        page.evaluate("""client.socket.send('{"type":"conversation.item.create","item":"remember me"}')""")
        conversation.turns(2)
        closed(conversation)
        heard = len(conversation.talk.heard)
        page.evaluate("window.again = new Promise(resolve => { client.done = resolve }); 0")
        conversation.pass_ms(100)
        page.evaluate("window.again.then(() => 0)")  # what was said before is said again, and answered
        conversation.until_reconnected()
        conversation.turns(2)  # by the old socket, which hands on
        logs = conversation.logs()
        assert len(conversation.talk.connections) == 2
        assert "remember me" in str(conversation.talk.heard[heard])
        assert logs["totals"]["reconnections"] == 1
        assert page.evaluate("client.seen.filter(kind => kind === 'response.done').length") >= 5
        assert logs["samples"][-1]["readyState"] == 1


def test_a_page_connects_again_in_its_own_way_with_growing_pauses(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=2)) as conversation:
        page = conversation.page
        page.evaluate("""
            window.calls = [];
            perfsuite.configure({onReconnect: context => {
              calls.push({at: performance.now(), ...context, socket: null});
              if (calls.length < 4) throw new Error('not yet');
              return client.connect(new URL(context.url).host);
            }})
        """)
        conversation.turns(2)
        closed(conversation)
        conversation.pass_ms(10_000)
        page.evaluate(
            "client.socket.readyState === 1 ? 0 : "
            "new Promise(resolve => client.socket.addEventListener('open', () => resolve(0)))"
        )
        conversation.until_reconnected()
        page.evaluate("client.ask()")
        calls = page.evaluate("window.calls")
        pauses = [round(after["at"] - before["at"]) for before, after in pairwise(calls)]
        assert pauses == [500, 1000, 2000]
        assert {call["reason"] for call in calls} == {"dropped"}
        kinds = [(message["direction"], message["kind"]) for message in calls[0]["conversation"]]
        assert kinds == [("sent", "response.create"), ("received", "response.done")] * 2
        assert conversation.logs()["totals"]["reconnections"] == 1


def test_a_long_conversation_is_connected_again_in_a_pause(new_page: NewPage) -> None:
    with conversing(new_page, speaks(chunks=2)) as conversation:
        conversation.page.evaluate("perfsuite.configure({autoReconnect: true, reconnectAfterMs: 420000})")
        conversation.turns(20, turn_ms=20_000)
        assert len(conversation.talk.connections) == 1
        conversation.turns(2, turn_ms=20_000)
        conversation.until_reconnected()
        conversation.page.evaluate("client.ask()")
        logs = conversation.logs()
        assert len(conversation.talk.connections) == 2
        assert [entry["message"] for entry in logs["events"] if entry["name"] == "reconnect"] == ["long conversation"]
        assert conversation.interruptions() == []
        assert logs["totals"]["uncleanCloses"] == 0
