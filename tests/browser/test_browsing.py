"""The tests' own eyes: a page's complaints are heard, axe finds what is wrong, and light is not dark."""

from __future__ import annotations

import asyncio
import threading

import pytest

from browsing import Browsing, NewPage, axe

GOOD = (
    '<!doctype html><html lang="en"><title>A page</title><style>@media (prefers-color-scheme: dark) '
    "{ body { background: #111; color: #eee } }</style><main><h1>A page</h1></main></html>"
)


def test_a_page_that_is_well_complains_of_nothing(new_page: NewPage) -> None:
    visit = new_page()
    visit.page.set_content(GOOD)
    visit.page.evaluate("console.log('well')")
    assert visit.messages == ["log: well"]
    assert visit.complaints == []
    assert axe(visit.page) == []


def test_complaints_are_heard(new_page: NewPage) -> None:
    visit = new_page()
    visit.page.route("http://page.test/", lambda route: route.fulfill(body=GOOD, content_type="text/html"))
    visit.page.route("http://page.test/missing.js", lambda route: route.abort())
    visit.page.goto("http://page.test/")
    with visit.page.expect_event("pageerror"):
        visit.page.evaluate("console.error('wrong'); setTimeout(() => { throw new Error('nobody caught me') })")
    visit.page.evaluate("fetch('/missing.js').catch(() => 0)")
    said = "\n".join(visit.complaints)
    assert "console: wrong" in said
    assert "uncaught: nobody caught me" in said
    assert "failed: http://page.test/missing.js" in said


def test_axe_finds_what_is_wrong_in_a_shadow_too(new_page: NewPage) -> None:
    visit = new_page()
    visit.page.set_content(GOOD.replace("</main>", "<div id=host></div></main>"))
    visit.page.evaluate(
        "document.querySelector('#host').attachShadow({mode: 'open'}).innerHTML = '<button></button><img src=data:,>'"
    )
    rules = [violation.partition(":")[0] for violation in axe(visit.page)]
    assert rules == ["button-name", "image-alt"]


@pytest.mark.parametrize(("dark", "background"), [(False, "rgba(0, 0, 0, 0)"), (True, "rgb(17, 17, 17)")])
def test_light_and_dark(new_page: NewPage, dark: bool, background: str) -> None:
    visit = new_page(dark=dark)
    visit.page.set_content(GOOD)
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == background


def test_pages_share_nothing(new_page: NewPage) -> None:
    pages = [new_page().page for _ in range(2)]
    for page in pages:
        page.route("http://page.test/", lambda route: route.fulfill(body=GOOD, content_type="text/html"))
        page.goto("http://page.test/")
    pages[0].evaluate("localStorage.setItem('mine', '1')")
    assert pages[1].evaluate("localStorage.length") == 0


def test_other_tests_keep_their_event_loops(browsing: Browsing) -> None:
    """This body runs beside Playwright's loop; pytest's own thread, where fixtures and other tests run, has none."""
    assert asyncio.get_running_loop().is_running()
    outcome: list[object] = []
    elsewhere = threading.Thread(target=lambda: outcome.append(asyncio.run(asyncio.sleep(0, "awaited"))))
    elsewhere.start()
    elsewhere.join()
    assert outcome == ["awaited"]
    assert threading.current_thread() is not threading.main_thread()


@pytest.fixture
def awaited_beside(new_page: NewPage) -> str:
    return asyncio.run(asyncio.sleep(0, "awaited"))


def test_fixtures_may_await(new_page: NewPage, awaited_beside: str) -> None:
    assert awaited_beside == "awaited"
