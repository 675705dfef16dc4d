"""The one file that pages load is what its parts make."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

ROOM = Path(str(files("perfsuite.realtime")))
GOLDEN = Path(__file__).parents[2] / "golden/realtime"


def test_monitor_is_what_its_parts_make() -> None:
    parts = runpy.run_path(str(ROOM / "parts/assemble.py"))
    assert {path.stem for path in (ROOM / "parts").glob("*.js")} == set(parts["ORDER"])
    assert (ROOM / "monitor.js").read_text(encoding="utf-8") == parts["assembled"](), (
        "run: python python/perfsuite/realtime/parts/assemble.py"
    )


def test_parts_are_readable() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in ROOM.glob("parts/*.js")}
    assert {name: lines for name, lines in lengths.items() if lines > 430} == {}


@pytest.mark.skipif(shutil.which("tsc") is None, reason="needs TypeScript: npm install -g typescript@5")
def test_the_types_in_its_comments_hold(tmp_path: Path) -> None:
    """Every part's, by the TypeScript compiler, at its strictest."""
    command = ["tsc", "--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022",
               "--lib", "es2022,dom,dom.iterable"]  # fmt: skip
    done = subprocess.run([*command, ROOM / "monitor.js"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.js"
    monitor = (ROOM / "monitor.js").read_text(encoding="utf-8")
    wrong.write_text(monitor.replace("takeChunk(one);", "take(one);"), encoding="utf-8")
    done = subprocess.run([*command, wrong], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "not assignable to parameter of type 'Message'" in done.stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node: apt-get install nodejs")
def test_the_report_is_the_golden_one_without_a_page(tmp_path: Path) -> None:
    """The analysis is pure: it needs nothing that only a page has."""
    rules = (ROOM / "rules.json").read_text(encoding="utf-8")
    analysis = (ROOM / "parts/analysis.js").read_text(encoding="utf-8")
    script = tmp_path / "report.js"
    script.write_text(
        f"'use strict'; const RULES = {rules};\n{analysis}\n"
        "const fs = require('fs');\n"
        "for (const path of process.argv.slice(2)) {\n"
        "  const golden = JSON.parse(fs.readFileSync(path));\n"
        "  require('assert').deepStrictEqual(reportOf(golden.logs).split('\\n'), golden.report, path);\n"
        "}\n",
        encoding="utf-8",
    )
    paths = sorted(GOLDEN.glob("*.json"))
    assert len(paths) >= 5
    done = subprocess.run(["node", script, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wrong = tmp_path / "wrong.json"
    golden = json.loads(paths[0].read_text(encoding="utf-8"))
    golden["logs"]["totals"]["errors"] += 1
    wrong.write_text(json.dumps(golden), encoding="utf-8")
    assert subprocess.run(["node", script, wrong], capture_output=True, check=False).returncode != 0
