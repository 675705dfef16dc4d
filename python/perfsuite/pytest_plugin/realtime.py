"""The fixture ``realtime_page``: pages in Chromium, with the monitor in them before their own scripts run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page, Playwright

MONITOR = Path(__file__).parents[1] / "realtime" / "monitor.js"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-precise-memory-info",
]  # fmt: skip


@contextmanager
def pages() -> Iterator[Callable[[str], Page]]:
    """Opens a page by its URL, in a Chromium that ends with the block.

    Skips the test, with the command that helps, where Playwright or Chromium is missing.  A test with an event loop
    running cannot use it: Playwright's synchronous pages have one of their own.
    """
    pytest.importorskip("playwright", reason="realtime_page needs Playwright: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container's root has no other sandbox than the container.
        flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else FLAGS
        browser = playwright.chromium.launch(executable_path=_chromium(playwright), args=flags)
        try:

            def opened(url: str) -> Page:
                page = browser.new_context().new_page()
                page.add_init_script(path=MONITOR)
                page.goto(url)
                return page

            yield opened
        finally:
            browser.close()


def _chromium(playwright: Playwright) -> str:
    """The system's, or else the one that Playwright downloaded."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    if Path(own := playwright.chromium.executable_path).exists():
        return own
    pytest.skip("realtime_page needs Chromium: apt-get install chromium (or: python -m playwright install chromium)")
