"""What the plug-in costs those who do not use it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from plugged import PACKAGE, installed, run

MODULES = """
import sys

def test_modules():
    with open("modules", "w") as file:
        file.write("\\n".join(sys.modules))
"""


def modules(
    folder: Path, *options: str, plugins: tuple[str, ...], environment: dict[str, str] | None = None
) -> set[str]:
    done = run(folder, MODULES, *options, plugins=plugins, environment=environment)
    assert done.code == 0, done.out
    return set((folder / "modules").read_text().split())


def test_a_run_that_uses_nothing_imports_one_module(tmp_path: Path) -> None:
    without = modules(tmp_path, plugins=())
    assert modules(tmp_path, plugins=("perfsuite",)) - without == {"perfsuite", "perfsuite.pytest_plugin"}


def test_installing_the_package_registers_it(tmp_path: Path) -> None:
    place = installed(tmp_path / "site")
    path = os.pathsep.join([str(place), str(PACKAGE), *filter(None, sys.path)])
    found = modules(tmp_path, plugins=(), environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "", "PYTHONPATH": path})
    assert {name for name in found if name.partition(".")[0] == "perfsuite"} == {"perfsuite", "perfsuite.pytest_plugin"}
