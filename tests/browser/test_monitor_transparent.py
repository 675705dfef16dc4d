"""A page works with the monitor exactly as it does without: the same script sees the same in both."""

from __future__ import annotations

from importlib.resources import files

import pytest

from browsing import NewPage
from talking import PAGE, speaks, talking

MONITOR = (files("perfsuite.realtime") / "monitor.js").read_text(encoding="utf-8")

BEHAVIOURS = {
    "constants, names, classes": """
        const socket = new WebSocket(url);
        class Mine extends WebSocket { constructor(url) { super(url); this.mine = true; } ask() { return "asked"; } }
        const mine = new Mine(url);
        const seen = [
          WebSocket.CONNECTING, WebSocket.OPEN, WebSocket.CLOSING, WebSocket.CLOSED, WebSocket.name, WebSocket.length,
          typeof WebSocket, socket instanceof WebSocket, socket instanceof EventTarget,
          socket.constructor === WebSocket,
          Object.getPrototypeOf(socket) === WebSocket.prototype, Object.prototype.toString.call(socket),
          mine instanceof Mine, mine instanceof WebSocket, mine.mine, mine.ask(), mine.constructor === Mine,
          Object.keys(socket), Object.keys(WebSocket), Object.keys(WebSocket.prototype).includes("send"),
          WebSocket.prototype.send.name, WebSocket.prototype.send.length, socket.addEventListener.name,
          socket.addEventListener.length, socket.binaryType, socket.url === url, socket.protocol, "onmessage" in socket,
          Reflect.construct(WebSocket, [url], Mine) instanceof Mine,
        ];
        for (const wrong of [() => WebSocket(url), () => new WebSocket(), () => new WebSocket("nonsense://x"),
                             () => socket.send(), () => socket.send("too early"), () => socket.addEventListener(),
                             () => socket.addEventListener("message"), () => socket.addEventListener("message", "text"),
                             () => socket.close(1), () => WebSocket.prototype.send.call({}, "x")]) {
          try { wrong(); seen.push("nothing"); } catch (error) { seen.push(error.name, error.constructor.name); }
        }
        return seen;
    """,
    "listeners of every kind": """
        const seen = [], socket = new WebSocket(url);
        const note = name => function (event) {
          seen.push([name, this === socket, event.target === socket, event.currentTarget === socket, event.data]);
        };
        const removed = note("removed"), twice = note("twice"), captured = note("captured");
        const object = { handleEvent(event) { seen.push(["object", this === object, event.data.length]); } };
        const late = {};
        const aborter = new AbortController();
        socket.onmessage = note("replaced");
        const handler = note("onmessage");
        socket.onmessage = handler;
        seen.push(socket.onmessage === handler, socket.onopen);
        socket.addEventListener("message", removed);
        socket.addEventListener("message", twice); socket.addEventListener("message", twice);
        socket.addEventListener("message", captured, true);
        socket.addEventListener("message", captured, {capture: false});
        socket.addEventListener("message", object);
        socket.addEventListener("message", late);
        socket.addEventListener("message", note("once"), {once: true});
        socket.addEventListener("message", note("aborted"), {signal: aborter.signal});
        socket.addEventListener("message", null);
        late.handleEvent = note("late");
        socket.removeEventListener("message", removed);
        socket.removeEventListener("message", captured, true);
        socket.removeEventListener("message", () => 0);
        await new Promise(resolve => socket.addEventListener("open", resolve));
        const done = () => new Promise(resolve => socket.addEventListener("message", function end(event) {
          if (event.data.includes("done")) { socket.removeEventListener("message", end); resolve(); }
        }));
        socket.send('{"type":"response.create"}');
        await done();
        aborter.abort();
        socket.onmessage = null;
        seen.push("second", socket.onmessage);
        socket.send('{"type":"response.create"}');
        await done();
        socket.onmessage = {};
        seen.push(typeof socket.onmessage);
        socket.onmessage = "text";
        seen.push(socket.onmessage);
        return seen;
    """,
    "what handlers throw": """
        const seen = [], socket = new WebSocket(url);
        window.onerror = message => { seen.push(message); return true; };
        window.onunhandledrejection = event => { seen.push(String(event.reason)); event.preventDefault(); };
        socket.onmessage = async () => { throw new Error("from an async handler"); };
        socket.addEventListener("message", () => { throw new Error("from a listener"); });
        socket.addEventListener("message", {});
        socket.addEventListener("message", () => Promise.reject(new Error("a promise")));
        await new Promise(resolve => { socket.onopen = resolve; });
        await new Promise(resolve => {
          socket.addEventListener("message", event => event.data.includes("done") && resolve());
          socket.send('{"type":"response.create"}');
        });
        await new Promise(resolve => setTimeout(resolve, 200));
        return seen.sort();
    """,
    "binary, close and dispatched events": """
        const seen = [], socket = new WebSocket(url, []);
        socket.binaryType = "arraybuffer";
        await new Promise(resolve => { socket.onopen = resolve; });
        seen.push(socket.send(new Uint8Array([1, 2, 3])), socket.send(new Blob(["x"])));
        socket.addEventListener("message", event => seen.push(["dispatched", event.data]));
        seen.push(socket.dispatchEvent(new MessageEvent("message", {data: "made up"})));
        seen.push(socket.dispatchEvent(new Event("message", {cancelable: true})));
        const closed = new Promise(resolve => { socket.onclose = resolve; });
        socket.close(3001, "enough");
        const event = await closed;
        seen.push(event.code, event.reason, event.wasClean, socket.readyState);
        try { socket.send("late"); seen.push("sent"); } catch (error) { seen.push(error.name); }
        return seen;
    """,
}


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_page_sees_the_same_with_and_without(new_page: NewPage, name: str) -> None:
    seen = []
    with talking(speaks(chunks=2, characters=10)) as talk:
        for script in ("", MONITOR, MONITOR + MONITOR):
            page = new_page().page
            if script:
                page.add_init_script(script)
            page.goto(f"http://{talk.address}/")
            seen.append(page.evaluate(f"async url => {{ {BEHAVIOURS[name]} }}", f"ws://{talk.address}/"))
            assert page.evaluate("typeof window.perfsuite") == ("object" if script else "undefined")
    assert len(seen[0]) > 4
    assert seen[1] == seen[0]
    assert seen[2] == seen[0]


REPLACED = """
const Native = window.WebSocket;
window.WebSocket = class Replaced extends Native {
  constructor(...args) { super(...args); this.replaced = true; }
};
"""


@pytest.mark.parametrize("order", ["before", "after"])
def test_pages_that_replaced_websocket(new_page: NewPage, order: str) -> None:
    with talking(speaks(chunks=3)) as talk:
        page = new_page().page
        page.add_init_script(REPLACED + MONITOR if order == "before" else MONITOR + REPLACED)
        page.goto(f"http://{talk.address}/")
        replaced = page.evaluate(
            """url => new Promise(resolve => {
              const socket = new WebSocket(url);
              socket.onopen = () => socket.send('{"type":"response.create"}');
              socket.onmessage = event => event.data.includes("done") && resolve(socket.replaced);
            })""",
            f"ws://{talk.address}/",
        )
        logs = page.evaluate("perfsuite.logs()")
    assert replaced is True
    assert (logs["totals"]["messagesSent"], logs["totals"]["messagesReceived"]) == (1, 4)
    assert logs["totals"]["processingMs"]["count"] == 4


def test_a_strict_page(new_page: NewPage) -> None:
    """No inline style or script, no markup from text: the panel is there, styled, and nothing is refused."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws:; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    with talking(speaks(), headers={"Content-Security-Policy": policy}) as talk:
        visit = new_page()
        visit.page.add_init_script(MONITOR)
        visit.page.goto(f"http://{talk.address}/")
        assert visit.page.get_by_role("button", name="Analyze Performance").is_visible()
        style = "getComputedStyle(document.querySelector('perfsuite-monitor')).position"
        assert visit.page.evaluate(style) == "fixed"
        visit.page.get_by_role("button", name="Analyze Performance").click()
        report = visit.page.locator('[data-perfsuite="report"]').inner_text()
        assert report.startswith("Performance Analysis Report")
        with visit.page.expect_download():
            visit.page.get_by_role("button", name="Download Logs").click()
        refused = [complaint for complaint in visit.complaints if "favicon" not in complaint]
        assert refused == []


def test_by_a_tag_and_several_times(new_page: NewPage) -> None:
    tags = f"<script>{MONITOR}</script>" * 2
    with talking(speaks(), page=PAGE.replace("</main>", f"</main>{tags}")) as talk:
        visit = new_page()
        visit.page.goto(f"http://{talk.address}/")
        visit.page.evaluate(
            f"const tag = document.createElement('script'); tag.text = {MONITOR!r}; document.head.append(tag)"
        )
        assert visit.page.locator("perfsuite-monitor").count() == 1
        assert visit.page.get_by_role("button", name="Clear Logs").count() == 1
        assert visit.complaints == []


def test_frames_have_logs_of_their_own_and_no_panel(new_page: NewPage) -> None:
    with talking(speaks()) as talk:
        visit = new_page()
        visit.page.add_init_script(MONITOR)
        visit.page.goto(f"http://{talk.address}/")
        visit.page.evaluate(
            "new Promise(resolve => { const frame = document.createElement('iframe'); frame.title = 'inner'; "
            "frame.src = '/inner'; frame.onload = () => resolve(); document.querySelector('main').append(frame) })"
        )
        inner = visit.page.frames[1]
        inner.evaluate(
            "url => new Promise(resolve => { const socket = new WebSocket(url); socket.onopen = () => resolve() })",
            f"ws://{talk.address}/",
        )
        opened = "perfsuite.logs().events.filter(entry => entry.name === 'open').length"
        assert inner.evaluate(opened) == 1
        assert visit.page.evaluate(opened) == 0
        assert inner.locator("perfsuite-monitor").count() == 0
        assert visit.page.locator("perfsuite-monitor").count() == 1


def test_wrong_options_are_named(new_page: NewPage) -> None:
    page = new_page().page
    page.add_init_script(MONITOR)
    page.goto("about:blank")
    tried = "options => { try { perfsuite.configure(options); return 'taken' } catch (error) { return error.message } }"
    assert "no option onCleanUp; there are thresholds, onCleanup" in page.evaluate(tried, {"onCleanUp": None})
    assert "no threshold audio; there are audioChunks" in page.evaluate(tried, {"thresholds": {"audio": 1}})
    assert "threshold audioChunks is a number" in page.evaluate(tried, {"thresholds": {"audioChunks": "many"}})
    assert "onCleanup is a function" in page.evaluate(tried, {"onCleanup": "text"})
    assert page.evaluate(tried, {"thresholds": {"audioChunks": 50}, "adapt": False, "panel": False}) == "taken"
    assert page.evaluate("perfsuite.logs().thresholds.audioChunks") == 50
    assert page.locator("perfsuite-monitor").count() == 0
