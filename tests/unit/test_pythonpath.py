"""A Python that is started finds this one's modules from whatever folder, or none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from perfsuite import pythonpath


def test_folders_go_before_and_behind_and_each_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["mine", "", "/first"]))
    made = pythonpath.joined(first=["/first", "here"], last=["/last", "mine"])
    assert made.split(os.pathsep) == ["/first", str(tmp_path / "here"), str(tmp_path / "mine"), "/last"]
    assert pythonpath.joined(last=["/last"], environment={}) == "/last"
    assert pythonpath.joined(environment={}) == ""


def test_what_is_here_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_alone.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    code = "import mine_alone, perfsuite"
    for path, found in ((pythonpath.joined(first=["", pythonpath.package()]), 0), (pythonpath.joined(), 1)):
        environment = {**pythonpath.without(), pythonpath.VARIABLE: path}
        done = subprocess.run([sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, check=False)
        assert done.returncode == found, done.stderr


def test_what_leads_elsewhere_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/x")
    monkeypatch.setenv("PYTHONHOME", "/x")
    monkeypatch.setenv("KEPT", "1")
    left = pythonpath.without()
    assert not {"PYTHONPATH", "PYTHONHOME"} & set(left)
    assert left["KEPT"] == "1"
    assert "KEPT" not in pythonpath.without({"KEPT"})
