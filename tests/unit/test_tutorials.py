"""The tutorial notebooks, executed as a reader would: each cell runs, what it asserts holds, and it shows something."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perfsuite.pythonpath import VARIABLE, joined, package

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("pandas")
pytest.importorskip("polars")
pytest.importorskip("pyarrow")

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
EXECUTE = """
import sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
try:
    nbclient.NotebookClient(notebook, timeout=540, startup_timeout=300, kernel_name="python3").execute()
finally:
    nbformat.write(notebook, "executed.ipynb")
"""


def executed(source: Path, folder: Path) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """What came of it, and its cells of code with their outputs; everything it writes is in ``folder``."""
    variables = {
        **os.environ,
        VARIABLE: joined([package()]),
        "PERFSUITE_HISTORY": "off",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "NO_COLOR": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    work = folder / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(source)],
        cwd=work,
        env=variables,
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert (work / "executed.ipynb").exists(), done.stderr
    return done, code_of(work / "executed.ipynb")


def code_of(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def shown(cells: list[dict[str, Any]], kind: str) -> list[str]:
    """The outputs of a MIME type, as text."""
    found = [output["data"][kind] for cell in cells for output in cell["outputs"] if kind in output.get("data", {})]
    return ["".join(one) if isinstance(one, list) else json.dumps(one) for one in found]


def test_they_are_stored_as_they_are_written() -> None:
    """Without outputs: those are of a machine and a day, and would be all of each change that is looked at."""
    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    assert [path.stem for path in paths] == ["measure_a_memory", "measure_a_service"]
    for path in paths:
        for cell in code_of(path):
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
        assert sum("\nassert " in "".join(cell["source"]) for cell in code_of(path)) >= 4


@pytest.mark.parametrize("name", ["measure_a_service", "measure_a_memory"])
def test_a_tutorial_runs(name: str, tmp_path: Path) -> None:
    done, cells = executed(NOTEBOOKS / f"{name}.ipynb", tmp_path)
    wrong = [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert [f"{one['ename']}: {one['evalue']}" for one in wrong] == []
    assert done.returncode == 0, done.stderr
    assert all(cell["execution_count"] for cell in cells)
    pages = shown(cells, "text/html")
    assert any("<strong>" in page and "margin" in page for page in pages)  # a Result shows itself
    assert any("dataframe" in page for page in pages)
    if name == "measure_a_service":
        (charts,) = [script for script in shown(cells, "application/javascript") if '"ttft"' in script]
        assert "root_ids" in charts


def test_an_assertion_that_does_not_hold_is_seen(tmp_path: Path) -> None:
    notebook = json.loads((NOTEBOOKS / "measure_a_memory.ipynb").read_text(encoding="utf-8"))
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"][:1]
    notebook["cells"][0]["source"] = ["import perfsuite\n", "assert perfsuite.Histogram().count == 1"]
    wrong = tmp_path / "wrong.ipynb"
    wrong.write_text(json.dumps(notebook), encoding="utf-8")
    done, cells = executed(wrong, tmp_path)
    assert done.returncode != 0
    assert [output["ename"] for output in cells[0]["outputs"] if output["output_type"] == "error"] == ["AssertionError"]
