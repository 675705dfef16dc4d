"""The command line is tested, not what it runs."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from played import Played


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    runner = Played()
    module = ModuleType("perfsuite.runner")
    module.execute_async = runner.execute_async  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "perfsuite.runner", module)
    return runner
