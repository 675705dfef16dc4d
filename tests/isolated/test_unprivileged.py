"""Tests of permissions, which root skips, once more in a process that dropped root's right to override them."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from compilers import ROOT
from privileges import UNBOUND

TESTS = (
    "tests/unit/reports/test_fileset.py::test_a_read_only_folder",
    "tests/unit/test_embeddings.py::test_permissions",
    "tests/unit/history/test_history_store.py::test_a_folder_that_may_not_be_written_to_is_read",
    "tests/unit/suites/test_database_suite.py::test_a_file_that_may_not_be_written_is_said_to_be",
)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv: apt-get install util-linux")
@pytest.mark.skipif(not UNBOUND, reason="this user has no such right: the tests themselves have run")
def test_without_the_right_to_override_permissions() -> None:
    command = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", sys.executable, "-m", "pytest", "-q"]
    done = subprocess.run([*command, "-p", "no:cacheprovider", *TESTS], capture_output=True, text=True, check=False,
                          cwd=ROOT)  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
