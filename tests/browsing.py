"""Pages in a real Chromium: how it is found and started, what a page complained of, what axe says of it.

Playwright's synchronous API keeps an event loop running in the thread that started it, where no ``asyncio.run`` works
any more.  So it has a thread of its own (Browsing), in which tests/browser/conftest.py runs the bodies of the tests
that open pages; fixtures and every other test stay in pytest's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

T = TypeVar("T")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-precise-memory-info",
]  # fmt: skip
PATIENCE_MS = 60_000
"""How long any one wait may take: a bound for what hangs, never a measure of what is quick."""


class Browsing:
    """Playwright and a Chromium, in a thread of their own.  Skips where one of them is not installed."""

    def __init__(self) -> None:
        pytest.importorskip("playwright", reason='needs Playwright: pip install -e ".[test]"')
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="browser")
        try:
            self.call(self._start)
        except BaseException:
            self._thread.shutdown()
            raise

    def call(self, action: Callable[[], T]) -> T:
        """What ``action`` returns or raises in the browser's thread."""
        return self._thread.submit(action).result()

    def close(self) -> None:
        """Ends Chromium, Playwright and the thread."""
        self.call(self._stop)
        self._thread.shutdown()

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright: Playwright = sync_playwright().start()
        try:
            self.browser: Browser = self._playwright.chromium.launch(
                executable_path=chromium(self._playwright), args=FLAGS, timeout=2 * PATIENCE_MS
            )
        except BaseException:
            self._playwright.stop()
            raise

    def _stop(self) -> None:
        self.browser.close()
        self._playwright.stop()


def chromium(playwright: Playwright) -> str:
    """The system's Chromium, or else the one that Playwright downloaded.  Skips where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    if Path(own := playwright.chromium.executable_path).exists():
        return own
    pytest.skip("needs Chromium: apt-get install chromium (or: python -m playwright install chromium)")


@dataclass
class Visit:
    """A page, and what it said: ``messages`` is the console's (``type: text``), ``complaints`` what is wrong with it,
    which is the console's errors, errors that nobody caught, and requests that failed."""

    page: Page
    messages: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        def heard(message: Any) -> None:
            self.messages.append(f"{message.type}: {message.text}")
            if message.type == "error":
                self.complaints.append(f"console: {message.text} ({message.location.get('url', '')})")

        self.page.on("console", heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error.message}"))
        self.page.on(
            "requestfailed", lambda request: self.complaints.append(f"failed: {request.url} ({request.failure})")
        )


NewPage = Callable[..., Visit]
"""What the fixture ``new_page`` gives: ``new_page(dark=False, **options of Playwright's new_context)``."""


def axe(page: Page, context: str | None = None) -> list[str]:
    """What axe finds wrong with a page, or with the part that a CSS selector names: rule, meaning, place."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=context).response["violations"]
    return [
        f"{violation['id']}: {violation['help']}: {' '.join(str(node['target']) for node in violation['nodes'])}"
        for violation in found
    ]
