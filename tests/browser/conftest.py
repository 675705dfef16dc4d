"""Pages in one Chromium, each in a context of its own that ends with its test."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import TYPE_CHECKING, Any

import pytest

from browsing import PATIENCE_MS, Browsing, NewPage, Visit

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext


@pytest.fixture(scope="session")
def browsing() -> Iterator[Browsing]:
    """The browser and its thread."""
    opened = Browsing()
    yield opened
    opened.close()


@pytest.fixture
def new_page(browsing: Browsing) -> Iterator[NewPage]:
    """Opens pages; to be called by the test, whose body runs in the browser's thread."""
    contexts: list[BrowserContext] = []

    def opened(*, dark: bool = False, **options: Any) -> Visit:
        context = browsing.browser.new_context(color_scheme="dark" if dark else "light", **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        return Visit(context.new_page())

    def close() -> None:
        for context in contexts:
            context.close()

    yield opened
    browsing.call(close)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs the body of a test that opens pages in the browser's thread (see browsing.py)."""
    browsing = pyfuncitem.funcargs.get("browsing")
    if browsing is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in signature(pyfuncitem.obj).parameters}
    browsing.call(lambda: pyfuncitem.obj(**arguments))
    return True
