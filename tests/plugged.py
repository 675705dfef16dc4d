"""Tests of tests: pytest in a process of its own, with the plug-ins that are named and the project's, as installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python"
MODULES = {
    "benchmark": "pytest_benchmark.plugin",
    "asyncio": "pytest_asyncio.plugin",
    "xdist": "xdist.plugin",
    "codspeed": "pytest_codspeed.plugin",
    "perfsuite": "perfsuite.pytest_plugin",
}
_OUTCOME = re.compile(r"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL) \S*?::(\S+)(?: - (.*))?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run: the exit code, what was printed, and each test's outcome and message by its name."""

    code: int
    out: str
    outcomes: dict[str, tuple[str, str]]

    def of(self, name: str) -> str:
        """A test's outcome."""
        assert name in self.outcomes, self.out
        return self.outcomes[name][0]

    def why(self, name: str) -> str:
        """What a test failed with, its first line."""
        assert name in self.outcomes, self.out
        return self.outcomes[name][1]


def run(
    folder: Path,
    text: str,
    *options: str,
    plugins: tuple[str, ...] = ("perfsuite",),
    ini: str = "",
    columns: int = 400,
    environment: dict[str, str] | None = None,
) -> Ran:
    """Runs the tests of ``text`` in ``folder`` with these plug-ins and no others."""
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n", encoding="utf-8")
    loaded = [part for name in plugins for part in ("-p", MODULES[name])]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PERFSUITE_", "COV_"))}
    variables = {
        **own,
        "PYTHONPATH": os.pathsep.join([str(PACKAGE), *filter(None, sys.path)]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "COLUMNS": str(columns),
        "PYTHONUTF8": "1",
        **(environment or {}),
    }
    variables = {name: value for name, value in variables.items() if value}
    report = () if "no:terminal" in options else ("-rA",)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *report, "-p", "no:cacheprovider", *loaded, *options],
        cwd=folder,
        env=variables,
        capture_output=True,
        timeout=300,
        check=False,
    )
    out = done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")
    outcomes = {name: (outcome, why or "") for outcome, name, why in _OUTCOME.findall(out)}
    return Ran(done.returncode, out, outcomes)


def installed(folder: Path) -> Path:
    """A folder to be put on the path, in which the project is installed as far as entry points go."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = folder / f"perfsuite-{project['version']}.dist-info"
    about.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: perfsuite\nVersion: {project['version']}\n"
    (about / "METADATA").write_text(head, encoding="utf-8")
    points = project["entry-points"]["pytest11"]
    lines = ["[pytest11]", *(f"{name} = {module}" for name, module in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
