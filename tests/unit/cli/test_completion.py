"""Shell completion, by the shells themselves: what is offered for a command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from perfsuite.cli import COMMANDS, SHORT, main
from perfsuite.phases import GROUPS, built_in
from terminals import PACKAGE

pytest.importorskip("shtab")


@cache
def script(shell: str) -> str:
    command = [sys.executable, "-m", "perfsuite", "completion", shell]
    return subprocess.run(command, env={"PYTHONPATH": str(PACKAGE)}, capture_output=True, text=True, check=True).stdout


def offered(folder: Path, *words: str) -> set[str]:
    """What bash offers for the last of the words, by the function that is registered for the command."""
    text = f"""
{script("bash")}
COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
COMP_CWORD={len(words) - 1}
registered=$(complete -p perfsuite)
function_of=${{registered#*-F }}
${{function_of%% *}} perfsuite "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-i"], input=text, cwd=folder, capture_output=True, text=True, check=False
    )
    return {line.strip() for line in done.stdout.splitlines() if line.strip()}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash(tmp_path: Path) -> None:
    (tmp_path / "results-1.json").touch()
    (tmp_path / "folder").mkdir()
    assert offered(tmp_path, "perfsuite", "") >= COMMANDS.keys() | SHORT.keys()
    assert offered(tmp_path, "perfsuite", "det") == {"detect"}
    assert offered(tmp_path, "perfsuite", "run", "--pro") >= {"--profile"}
    assert all(one.startswith("--pro") for one in offered(tmp_path, "perfsuite", "run", "--pro"))
    assert offered(tmp_path, "perfsuite", "run", "--profile", "") == {"quick", "standard", "full"}
    assert offered(tmp_path, "perfsuite", "run", "comp") == {name for name in built_in() if name.startswith("comp")}
    assert offered(tmp_path, "perfsuite", "run", "") >= set(GROUPS)
    assert offered(tmp_path, "perfsuite", "report", "res") == {"results-1.json"}
    assert "folder" in {one.rstrip("/") for one in offered(tmp_path, "perfsuite", "run", "--output", "fo")}
    assert offered(tmp_path, "perfsuite", "nothing", "--pro") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_its_shell(shell: str, tmp_path: Path) -> None:
    text = script(shell)
    assert "perfsuite" in text
    assert all(f"{word}" in text for word in ("chat-loop", "profile", "quick", "baseline"))
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    path = tmp_path / "script"
    path.write_text(text, encoding="utf-8")
    assert subprocess.run([found, "-n", str(path)], capture_output=True, check=False).stderr == b""


def test_without_shtab_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert 'pip install "perfsuite[completion]"' in capsys.readouterr().err


def test_another_shell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "ksh"]) == 2
    assert "ksh" in capsys.readouterr().err
