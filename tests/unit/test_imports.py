"""What is imported before a run measures: its processor time is the fixed cost of every run."""

from __future__ import annotations

import subprocess
import sys

BEFORE = (
    "perfsuite.cli.run, perfsuite.cli.driving, perfsuite.configuration, perfsuite.runner, perfsuite.targets.http.target"
)
HEAVY = ("numpy", "bokeh", "jinja2", "sqlalchemy", "httpx", "urllib.request", "http.client")


def imported(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_nothing_heavy_is_imported_before_a_run_measures() -> None:
    found = imported(f"import {BEFORE}; perfsuite.metric.catalogue(); perfsuite.phases.built_in()")
    assert "perfsuite.runner" in found
    assert sorted(found & set(HEAVY)) == []


def test_the_check_sees_what_is_imported() -> None:
    assert "urllib.request" in imported("import urllib.request")
