"""``pytest`` runs the tests and ``pytest --benchmark-only`` the benchmarks; a path that is named is taken as named."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return None
    other = "tests" if config.getoption("benchmark_only", default=False) else "benchmarks"
    return True if config.rootpath / other in collection_path.parents else None
