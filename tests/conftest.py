"""What no test may touch, the history of whoever runs them, and what none may inherit."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No limit on the time of an example, or on that of making one: these are other programs' doing.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

RERUNS, IN_ALL = 2, 6
"""A test that fails is run again so often, with so many in all; it is named RERUN at the end, with its traceback: on a
machine that others share, one in some thousands is late.  A defect fails every time, and many at once are no noise."""


def pytest_configure(config: pytest.Config) -> None:
    """Where pytest-rerunfailures is installed, and nothing else is asked for."""
    if config.pluginmanager.hasplugin("rerunfailures") and config.getoption("reruns") is None:
        config.option.reruns = RERUNS
        config.option.max_suite_reruns = IN_ALL
        config.option.rerun_show_tracebacks = True


@pytest.fixture(autouse=True, scope="session")
def _history_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        folder: Path = tmp_path_factory.mktemp("data")
        patch.setenv("XDG_DATA_HOME", str(folder))
        patch.delenv("PERFSUITE_HISTORY", raising=False)
        yield


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """A shell starts what it runs in the background with SIGINT ignored, and its children's children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
