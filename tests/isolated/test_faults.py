"""Faults from outside: calls that fail, kills, damaged files.  All of them by ``benchmarks/failing.py``, ``kills.py``,
``faults.py`` and ``tests/fuzz/files.py``; here some of each, and what shows that those find what is wrong."""

from __future__ import annotations

import errno
import importlib.util
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from perfsuite.history.store import History
from perfsuite.pythonpath import VARIABLE, joined, package
from perfsuite.result import load

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/result-v1-full.json"
PATIENCE_S = 600


def run(*command: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program of this project, with its files in a folder."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", VARIABLE: joined([package()]), "TMPDIR": str(folder)},
        timeout=PATIENCE_S,
    )


def module(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, made)
    spec.loader.exec_module(made)
    return made


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize(
    ("scenarios", "error", "every"),
    [("init-baselines,cache,report", "EIO", 4), ("history export", "ENOSPC", 4), ("history add", "EIO", 40)],
)
def test_calls_that_fail_are_named_and_harm_nothing(scenarios: str, error: str, every: int, tmp_path: Path) -> None:
    done = run(ROOT / "benchmarks/failing.py", "--only", scenarios, "--errors", error, "--every", every,
               folder=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "all were taken as they should be"
    for line in lines[:-1]:
        assert int(line.partition(" made to fail")[0].split()[-1]) > 0, line


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return module(ROOT / "benchmarks/failing.py", monkeypatch)


def test_what_is_wrong_after_a_fault_is_found(failing: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    place = failing.Place(folder, failing.Scenario(("report",), ("*.md",)))
    result = folder / "results-20261121_101500.json"
    shutil.copy(GOLDEN, result)
    with History(str(folder / "history.db")) as history:
        history.record(load(GOLDEN))
    (tmp_path / "said").write_text("perfsuite: cannot write a.json: Input/output error\n")

    def found(code: int, error: int = errno.EIO) -> list[str]:
        return list(failing.offences(place, code, 0, "write /a.json", error))

    assert found(1) == []
    assert found(70) == ["it ended with 70"]
    assert found(failing.HUNG)[0] == "it hung"
    assert found(1, errno.ENOSPC) == ["it ended with 1 and did not say what failed, and why"]
    (tmp_path / "said").write_text("Traceback (most recent call last):\n")
    assert found(0) == ["a traceback", "there is no *.md, and nothing was said"]
    (tmp_path / "said").write_text("cannot write a.json: Input/output error\n")
    (folder / ".a.md.tmp").write_text("")
    assert found(0) == [".a.md.tmp was left behind"]
    result.write_bytes(GOLDEN.read_bytes()[:1000])
    (folder / "a.html").write_text("<html>")
    assert [one.partition(" ")[0] for one in found(0)] == [result.name, "a.html", ".a.md.tmp"]
    with History(str(folder / "history.db")) as history, history._database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM perfsuite_runs")
    assert "history.db has lost what it had" in found(0)


def test_a_client_killed_at_any_instant_leaves_what_can_be_read(tmp_path: Path) -> None:
    done = run(ROOT / "benchmarks/kills.py", "--kills", 3, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 results can be read, 0 cannot" in done.stdout
    assert "\n0 temporary folders are left" in done.stdout


def test_a_result_that_is_damaged_by_a_kill_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kills = module(ROOT / "benchmarks/kills.py", monkeypatch)
    (tmp_path / "results-1.partial.json").write_bytes(GOLDEN.read_bytes()[:-100])
    with pytest.raises(kills.PerfsuiteError, match="cut off"):
        kills.what_is_left(tmp_path)
    (tmp_path / "history.db").write_bytes(b"SQLite format 3\0" + bytes(4080))
    with pytest.raises(kills.sqlite3.DatabaseError):
        kills.intact(tmp_path / "history.db")


def test_damaged_files_are_refused_by_name(tmp_path: Path) -> None:
    done = run(ROOT / "tests/fuzz/files.py", "--cases", 30, "--keep", tmp_path / "kept", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 damaged files, none of them harmed anything" in done.stdout


def test_what_a_damaged_file_does_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = module(ROOT / "tests/fuzz/files.py", monkeypatch)
    assert files.offence(2, "perfsuite: a.json is no result", "a.json") is None
    assert files.offence(0, "", "a.json") is None
    assert "did not name" in files.offence(2, "perfsuite: no result", "a.json")
    assert "traceback" in files.offence(1, "Traceback …: a.json", "a.json")
    assert "signal 9" in files.offence(-9, "", "a.json")

    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests/fuzz")!r})
import files
def eats(): bytearray(2 * files.MEMORY_BYTES)
def raises(): raise KeyError("a.json")
for does in (eats, raises):
    print(files.offence(*files.ended(Path(), does), "a.json"))
"""
    done = run("-c", program, folder=tmp_path)  # not forked here, where other tests may have left threads
    assert done.stdout.split("\n")[:2] == ["a traceback", "a traceback"], done.stderr
    data = json.dumps({"a": [1, 2, {"b": "c"}]}).encode()
    made = {files.of_json(data, random.Random(seed)) for seed in range(200)}
    assert len(made) > 100  # the mutations do damage
    assert data not in files.of_toml(data, random.Random(1))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_table_of_faults_holds(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    done = run(ROOT / "benchmarks/faults.py", "--only", "folder,history", "--markdown", page, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = page.read_text("utf-8")
    assert text.count("| yes |") == 4
    assert "NO |" not in text


def test_the_page_of_faults_is_the_command_s(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = module(ROOT / "benchmarks/faults.py", monkeypatch)
    page = (ROOT / "docs/faults.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert rows[0] == f"| {' | '.join(faults.HEADINGS)} |"
    assert [row[2:].partition(" | ")[0] for row in rows[2:]] == list(faults.FAULTS)
    assert all(row.endswith("| yes |") for row in rows[2:])
    assert faults.LATER in page


def test_a_fault_that_was_not_held_ends_the_table_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = module(ROOT / "benchmarks/faults.py", monkeypatch)
    monkeypatch.setattr(faults, "FAULTS", ("a",))
    monkeypatch.setattr(faults, "import_all", lambda *_, **__: 0)
    monkeypatch.setattr(sys, "argv", ["faults.py", "--only", "folder"])
    for held, code in ((True, 0), (False, 1)):
        monkeypatch.setitem(faults.ROWS, "folder", lambda _, held=held: iter([faults.Row("a", "b", "c", held)]))
        assert faults.main() == code
    assert "NOT HELD  a: c" in capsys.readouterr().out
    traced = faults.Ended(1, "Traceback (most recent call last):", None)
    assert not traced.orderly
    assert not faults.Ended(faults.HUNG, "", None).orderly
    assert not faults.historical("a", faults.Ended(0, "this run is not in the history", None)).held
